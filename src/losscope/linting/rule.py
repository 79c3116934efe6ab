"""The registry: a rule is its data and one function, and the decorator is the one place that makes it known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from losscope.errors import InputError
from losscope.linting.context import Context
from losscope.linting.finding import Figure, Finding, Severity

Check = Callable[["Rule", Context], Iterator[Finding]]

CATEGORICAL = frozenset({"cross_entropy", "nll_loss"})
BINARY = frozenset({"binary_cross_entropy_with_logits", "binary_cross_entropy"})
ALL = CATEGORICAL | BINARY | {"value"}


@dataclass(frozen=True)
class Rule:
    """One mistake: its name, the losses it can happen to, and the function that looks for it.

    Attributes:
        name: as in ``select`` and ``ignore``.
        severity: of its findings, unless one says another.
        losses: the likelihoods it applies to.
        check: yields the findings.
        by_default: asked without being selected by name.
        presumes: what it reads is only meaningful where the outputs are what the loss takes: it is not asked where an
            error of a rule on the ``kind`` of the outputs says otherwise. One cause, one finding.
        kind: it is such a rule.
    """

    name: str
    severity: Severity
    losses: frozenset[str]
    check: Check
    by_default: bool = True
    presumes: bool = False
    kind: bool = False

    def found(
        self, title: str, sentence: str, remedy: str, severity: Severity | None = None, /, **evidence: Figure
    ) -> Finding:
        """A finding of this rule."""
        return Finding(self.name, severity or self.severity, title, sentence, remedy, evidence)


RULES: dict[str, Rule] = {}


def rule(
    name: str,
    severity: Severity,
    losses: Iterable[str] = ALL,
    *,
    by_default: bool = True,
    presumes: bool = False,
    kind: bool = False,
) -> Callable[[Check], Check]:
    """Make the function below it the rule of this name."""

    def register(check: Check) -> Check:
        RULES[name] = Rule(name, severity, frozenset(losses), check, by_default, presumes, kind)
        return check

    return register


def chosen(select: Iterable[str] | None, ignore: Iterable[str] | None) -> list[Rule]:
    """The rules to ask: all that are on by default or the selected ones, without the ignored ones.

    Raises:
        InputError: there is no rule of a name.
    """
    selected = None if select is None else _known(select)
    ignored = _known(ignore or ())
    wanted = [r for r in RULES.values() if (r.by_default if selected is None else r.name in selected)]
    return [r for r in wanted if r.name not in ignored]


def _known(names: Iterable[str]) -> set[str]:
    names = {names} if isinstance(names, str) else set(names)
    for name in sorted(names - RULES.keys()):
        raise InputError("lint", f"names of rules: {', '.join(RULES)}", repr(name), "choose from these")
    return names
