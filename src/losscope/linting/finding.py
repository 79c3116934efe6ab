"""What a rule tells, and all that one call told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

Figure = float | int | str | bool


class Severity(StrEnum):
    """How bad it is: an ``error`` makes the loss wrong, a ``warning`` is a suspicion, ``info`` is worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_STYLE = {ERROR: "bold red", WARNING: "yellow", INFO: "cyan"}


@dataclass(frozen=True)
class Finding:
    """One mistake, or the suspicion of one.

    Attributes:
        rule: the rule's name.
        severity: error, warning or info.
        title: what is wrong, in one line.
        sentence: the evidence in words.
        evidence: the figures the sentence rests on.
        remedy: the line of code to write.
        docs: the rule's page.
    """

    rule: str
    severity: Severity
    title: str
    sentence: str
    remedy: str
    evidence: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def docs(self) -> str:
        """The rule's page, from the root of the project."""
        return f"docs/rules/{self.rule}.md"

    def to_dict(self) -> dict[str, object]:
        """As plain data."""
        return {
            "rule": self.rule,
            "severity": self.severity.value,
            "title": self.title,
            "sentence": self.sentence,
            "evidence": dict(self.evidence),
            "remedy": self.remedy,
            "docs": self.docs,
        }

    def __str__(self) -> str:
        return (
            f"{self.severity.value} {self.rule}: {self.title}\n  {self.sentence}\n"
            f"  remedy: {self.remedy}\n  more: {self.docs}"
        )


@dataclass(frozen=True)
class LintResult:
    """The findings of one call, the worst first.

    Attributes:
        findings: what was found.
        checked: the names of the rules that were asked.
    """

    findings: tuple[Finding, ...] = ()
    checked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """No finding is an error or a warning."""
        return all(finding.severity is INFO for finding in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules that found something."""
        return tuple(dict.fromkeys(finding.rule for finding in self.findings))

    def to_dict(self) -> dict[str, object]:
        """As plain data."""
        return {"ok": self.ok, "findings": [finding.to_dict() for finding in self.findings]}

    def to_json(self, indent: int | None = 2) -> str:
        """As JSON; a figure that is not finite is written as text, since JSON has no NaN."""
        return json.dumps(_finite(self.to_dict()), indent=indent, ensure_ascii=False)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.findings)) if self.findings else f"ok: {self._clean()}"

    def _clean(self) -> str:
        return f"{len(self.checked)} rules found nothing"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Colours in a terminal."""
        from rich.markup import escape as plain
        from rich.padding import Padding

        if not self.findings:
            yield f"[green]ok[/]: {self._clean()}"
        for finding in self.findings:
            kind = f"[{_STYLE[finding.severity]}]{finding.severity.value}[/]"
            yield f"{kind} [bold]{finding.rule}[/]: {plain(finding.title)}"
            yield Padding(plain(finding.sentence), (0, 0, 0, 2))
            yield Padding(f"[bold]remedy[/] {plain(finding.remedy)}", (0, 0, 0, 2))
            yield Padding(f"[dim]{finding.docs}[/]", (0, 0, 1, 2))

    def _repr_html_(self) -> str:
        """For a notebook."""
        if not self.findings:
            return f"<p>ok: {escape(self._clean())}</p>"
        return "<dl>" + "".join(map(_html, self.findings)) + "</dl>"


def _html(finding: Finding) -> str:
    return (
        f"<dt><b>{finding.severity.value}</b> <code>{escape(finding.rule)}</code>: {escape(finding.title)}</dt>"
        f"<dd>{escape(finding.sentence)}<br><code>{escape(finding.remedy)}</code></dd>"
    )


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return str(value)
    return value
