"""A summary in a terminal: a compact table."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from losscope.summary.result import (
    BinarySummary,
    Calibration,
    CategoricalSummary,
    ClassMeasures,
    RegressionSummary,
    SummaryResult,
)

_CLASSES = 12  # that are shown
_WORST = 5

Line = tuple[str, str]


def text(result: SummaryResult) -> str:
    """The table without colour, 100 columns wide."""
    console = Console(file=io.StringIO(), width=100, color_system=None, legacy_windows=False)
    console.print(table(result))
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined,no-any-return]


def table(result: SummaryResult) -> Group:
    """What a person wants to know first, then the classes, then the worst samples."""
    parts = [_overview(result)]
    if isinstance(result, (CategoricalSummary, BinarySummary)):
        parts.append(_classes(result.classes))
    if result.worst:
        parts.append(_worst(result))
    return Group(*parts)


def _overview(result: SummaryResult) -> Table:
    grid = Table(title=Text(f"Summary of {result.loss_name}"), show_header=False, title_justify="left")
    grid.add_column(style="bold")
    grid.add_column(justify="left")
    for name, value in [*_counts(result), *_measures(result)]:
        grid.add_row(name, value)
    return grid


def _counts(result: SummaryResult) -> Iterator[Line]:
    ignored = f", {result.num_ignored:,} ignored" if result.num_ignored else ""
    yield "samples", f"{result.num_counted:,} counted{ignored}"
    if result.num_infinite or result.num_nan:
        yield "not finite", f"{result.num_infinite:,} infinite and {result.num_nan:,} NaN losses"


def _measures(result: SummaryResult) -> Iterator[Line]:
    if isinstance(result, CategoricalSummary):
        yield from _categorical(result)
    elif isinstance(result, BinarySummary):
        yield from _binary(result)
    elif isinstance(result, RegressionSummary):
        yield from _regression(result)


def _categorical(r: CategoricalSummary) -> Iterator[Line]:
    yield "loss L_mean", f"{r.loss:.6g} nats"
    yield "mean ℓ", f"{r.nll:.6g} nats without options; a guess has ln {r.num_classes} = {r.chance:.4g}"
    ranks = ", ".join(f"top-{k} {a:.2%}" for k, a in r.top_k.items() if k > 1)
    yield "accuracy", f"{r.accuracy:.2%}" + (f" ({ranks})" if ranks else "")
    yield "macro F1", f"{r.classes.macro_f1:.4f}; balanced accuracy {r.classes.balanced_accuracy:.2%}"
    yield "confidence", f"mean max ŷ {r.confidence:.2%}; mean entropy {r.entropy:.4g} nats"
    yield "calibration", _ece(r.calibration)
    if r.temperature is not None:
        t = r.temperature
        beyond = " or beyond" if t.at_edge else ""
        yield "temperature", f"T = {t.temperature:.3f}{beyond}: mean ℓ {t.nll:.6g} nats, ECE {t.ece:.4f}"


def _binary(r: BinarySummary) -> Iterator[Line]:
    yield "loss L_mean", f"{r.loss:.6g} nats"
    yield "mean ℓ", f"{r.nll:.6g} nats without options; a guess has ln 2 = {r.chance:.4g}"
    yield "accuracy", f"{r.accuracy:.2%} of the labels"
    yield "macro F1", f"{r.classes.macro_f1:.4f} at ŷ = 1/2"
    yield "mean entropy", f"{r.entropy:.4g} nats"
    yield "calibration", _ece(r.calibration)


def _regression(r: RegressionSummary) -> Iterator[Line]:
    yield "loss L_mean", f"{r.loss:.6g}; always the mean: {r.chance:.6g}"
    yield "R²", f"{r.r2:.4f}"
    yield "bias", f"{r.bias:.6g} ({r.unit})"
    yield "RMSE, MAE", f"{r.rmse:.6g}, {r.mae:.6g} ({r.unit})"


def _ece(c: Calibration) -> str:
    return f"ECE {c.ece:.4f}; by chance alone {c.null.low:.4f} to {c.null.high:.4f} (mean {c.null.mean:.4f})"


def _classes(classes: ClassMeasures) -> Table:
    order = classes.mean_loss.nan_to_num(-1.0).argsort(descending=True, stable=True).tolist()
    grid = Table(title="By class, the largest loss first", title_justify="left")
    for name in ("class", "support", "predicted", "precision", "recall", "F1", "mean ℓ"):
        grid.add_column(name, justify="left" if name == "class" else "right")
    for h in order[:_CLASSES]:
        measures = (classes.precision[h], classes.recall[h], classes.f1[h], classes.mean_loss[h])
        counts = (f"{int(classes.support[h]):,}", f"{int(classes.predicted[h]):,}")
        grid.add_row(Text(classes.name(h)), *counts, *(f"{float(m):.4f}" for m in measures))
    if len(order) > _CLASSES:
        grid.caption = f"and {len(order) - _CLASSES:,} more"
    return grid


def _worst(result: SummaryResult) -> Table:
    grid = Table(title="The worst samples", title_justify="left")
    for name in ("sample", "ℓ", "target", "decision", "ŷ target", "ŷ decision"):
        grid.add_column(name, justify="right")
    for s in result.worst[:_WORST]:
        place = ", ".join(str(i) for i in (s.index, *s.position))
        ends = ("" if p is None else f"{p:.3g}" for p in (s.target_probability, s.decision_probability))
        grid.add_row(place, f"{s.loss:.4f}", _said(result, s.target), _said(result, s.decision), *ends)
    return grid


def _said(result: SummaryResult, value: float) -> Text:
    return Text(result.classes.name(int(value)) if isinstance(result, CategoricalSummary) else f"{value:g}")
