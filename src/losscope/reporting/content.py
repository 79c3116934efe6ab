"""A report: everything the page says, as data, before any of it is written."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import plotly.graph_objects as go
from torch import Tensor, nn

from losscope.figures import for_summary
from losscope.io import Source
from losscope.io.given import FILE, Path, check_at_hand, opened
from losscope.linting import Finding
from losscope.losses import Loss, as_loss
from losscope.reporting.advice import Advice, advice, first_of_all
from losscope.reporting.data import InMemory, check_rows
from losscope.reporting.findings import look, plain
from losscope.reporting.given import given
from losscope.reporting.samples import Sample, choose, take_apart
from losscope.reporting.writing import check_page, write_texts
from losscope.summary import Summary, SummaryResult, summarize
from losscope.summary.data import Data
from losscope.summary.streaming import stream


@dataclass(frozen=True, eq=False)
class Report:
    """What a loss says about outputs and targets.

    Attributes:
        title: what it is about.
        loss: the loss.
        given: name and text of what was given.
        summary: what was measured.
        samples: chosen samples, step by step.
        findings: of the linter, as plain data, the worst first.
        images: an image (h, w) in 0…1 for each of the worst samples and of the chosen, by their index.
    """

    title: str
    loss: Loss
    given: list[tuple[str, str]]
    summary: SummaryResult
    samples: list[Sample]
    findings: list[dict[str, Any]]
    images: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @property
    def advice(self) -> list[Advice]:
        """What to do next: what the linter found comes first, since the other numbers rest on it."""
        return [*first_of_all(self.findings), *advice(self.summary, self.loss)]

    @cached_property
    def figures(self) -> dict[str, go.Figure]:
        """The figures, by the name of their display."""
        return for_summary(self.summary)

    def html(self) -> str:
        """The page: one file that loads nothing."""
        from losscope.reporting.page import render

        return render(self)

    def to_dict(self) -> dict[str, Any]:
        """The same numbers, ready for JSON."""
        from losscope import __version__

        return {
            "losscope": __version__,
            "title": self.title,
            "given": dict(self.given),
            "loss": {"name": type(self.loss).__name__, "formula": self.loss.formula, "link": self.loss.link.name},
            "summary": self.summary.to_dict(),
            "findings": self.findings,
            "samples": [sample.to_dict() for sample in self.samples],
            "figures": {name: figure.layout.meta["description"] for name, figure in self.figures.items()},
            "advice": [one._asdict() for one in self.advice],
        }

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)

    def save(self, path: Path) -> pathlib.Path:
        """Writes the page, and beside it the same numbers with the ending .json; the page's path.

        Raises:
            InputError: the path is not one to write a page to.
        """
        page = pathlib.Path(path)
        check_page(page)
        write_texts({page.with_suffix(".json"): self.to_json(), page: self.html()})
        return page


def report(
    loss: Loss | nn.Module | str,
    z: Tensor | Source | Path,
    y: Tensor | Path | None = None,
    path: Path = "report.html",
    *,
    outputs: str | None = None,
    targets: str | None = None,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
    samples: int = 3,
    rows: Sequence[int] | None = None,
    findings: Iterable[Finding] | None = None,
) -> Report:
    """One self-contained page about what raw outputs say, with report.json beside it.

    Args:
        loss: a loss of losscope, its name, or a torch loss module.
        z: raw outputs (N, …), as the loss takes them; or the file that holds them, of any kind that ``summarize``
            reads, or a :class:`losscope.io.Source`. A file is read a few rows at a time;
            ranks share its rows out, and tensors are this rank's own, as of ``summarize``.
        y: targets (N, …), as the loss takes them; of a file, the targets' own file where they have one.
        path: of the page, which ends with .html; the numbers are beside it as .json.
        outputs: the name of z in the file, as :func:`losscope.io.open_source` takes it.
        targets: the name of the targets in the file, likewise.
        class_names: H names, of the classes or of the labels.
        title: what the page is about; the file's name unless given.
        samples: how many samples are shown step by step: the first, and the worst.
        rows: which samples are shown instead.
        findings: what ``losscope.lint`` found, where it has looked already.

    Returns:
        What the page says, as data.

    Raises:
        InputError: outputs, targets, names or loss do not fit each other, or the path cannot be written to.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> z, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
        >>> ls.report("cross_entropy", z, y, Path(folder.name) / "report.html").summary.accuracy
        0.5
        >>> folder.cleanup()
    """
    check_page(pathlib.Path(path))
    ours = as_loss(loss, where="report")
    data = _data(ours, z, y, outputs, targets)
    check_rows(data, rows or ())
    made = build(
        ours,
        data,
        class_names=class_names,
        title=title or _title(z),
        samples=samples,
        rows=rows,
        findings=findings,
        summary=summarize(ours, data, labels=class_names) if isinstance(data, Source) else None,
    )
    made.save(path)
    return made


def _data(loss: Loss, z: Tensor | Source | Path, y: Any, outputs: str | None, targets: str | None) -> Source | InMemory:
    if isinstance(z, FILE):
        return opened("report", z, y, outputs, targets).taken_as(indices=loss.takes_indices)
    check_at_hand("report", y, outputs, targets)
    return InMemory(z, y)


def _title(z: Tensor | Source | Path) -> str:
    return pathlib.Path(z).name if isinstance(z, str | os.PathLike) else "Outputs and targets"


def build(
    loss: Loss,
    data: Data,
    *,
    class_names: Sequence[str] | None = None,
    title: str = "Outputs and targets",
    samples: int = 3,
    rows: Sequence[int] | None = None,
    findings: Iterable[Finding] | None = None,
    images: Tensor | None = None,
    summary: SummaryResult | None = None,
) -> Report:
    """A report of rows that are at hand or in a file, read a few at a time.

    Args:
        loss: the loss.
        data: the rows.
        class_names: of the classes or of the labels.
        title: what the page is about.
        samples: how many samples are shown step by step.
        rows: which samples are shown instead.
        findings: what ``losscope.lint`` found, where it has looked already.
        images: (N, h, w), 0…1, a picture of each sample.
        summary: of these rows, where it has been measured already.

    Raises:
        InputError: something does not fit.
    """
    check_rows(data, rows or ())
    result = (
        stream(Summary(loss, labels=class_names, sync_on_compute=False), data).compute() if summary is None else summary
    )
    chosen = choose(result, samples, rows)
    shown = {*chosen, *(sample.index for sample in result.worst)}
    return Report(
        title,
        loss,
        given(loss, data, result),
        result,
        [take_apart(loss, data, i, why, class_names) for i, why in chosen.items()],
        [plain(finding) for finding in (look(loss, data) if findings is None else findings)],
        {} if images is None else {i: images[i] for i in shown},
    )
