"""The first things to read: a sentence and a handful of numbers, each beside what it is to be measured by."""

from __future__ import annotations

from typing import NamedTuple

from losscope.figures.numbers import number
from losscope.summary import BinarySummary, CategoricalSummary, RegressionSummary, SummaryResult


class Tile(NamedTuple):
    """A number with its name and what to compare it with."""

    name: str
    value: str
    beside: str


def lede(summary: SummaryResult) -> str:
    """The report in one sentence."""
    if not summary.num_counted:
        return "Every target is ignored, so there is no loss."
    if isinstance(summary, CategoricalSummary):
        return (
            f"Of {summary.num_counted:,} samples in {summary.num_classes:,} classes {summary.accuracy:.1%} are decided "
            f"right, at {number(summary.nll)} nats a sample, where a guess costs {number(summary.chance)}."
        )
    if isinstance(summary, BinarySummary):
        return (
            f"Of {summary.num_counted:,} labels {summary.accuracy:.1%} are decided right, at "
            f"{number(summary.nll)} nats a "
            f"label, where a guess costs {number(summary.chance)}."
        )
    assert isinstance(summary, RegressionSummary)
    return (
        f"{summary.num_counted:,} values are {number(summary.rmse)} off in root mean square ({summary.unit}); R² is "
        f"{summary.r2:.3g}."
    )


def tiles(summary: SummaryResult) -> list[Tile]:
    """The numbers of this kind of loss."""
    first = Tile("L_mean", number(summary.loss), "with every option of the loss")
    if not summary.num_counted:
        return [first]
    if isinstance(summary, CategoricalSummary):
        return _unlike(first, _categorical(summary))
    if isinstance(summary, BinarySummary):
        return _unlike(first, _binary(summary))
    assert isinstance(summary, RegressionSummary)
    return [
        first,
        Tile("root mean square residual", number(summary.rmse), summary.unit),
        Tile("bias", number(summary.bias), "mean of z − t; 0 is best"),
        Tile("R²", f"{summary.r2:.3g}", "1 is best, 0 is always saying the mean"),
    ]


def _unlike(first: Tile, others: list[Tile]) -> list[Tile]:
    """Without options the mean ℓ is L_mean: it is said once."""
    return others if others[0].value == first.value else [first, *others]


def _categorical(summary: CategoricalSummary) -> list[Tile]:
    top = {k: value for k, value in summary.top_k.items() if 1 < k < summary.num_classes}
    beside = ", ".join(f"top-{k} {value:.1%}" for k, value in top.items())
    return [
        Tile(
            "mean ℓ",
            number(summary.nll),
            f"nats; a guess costs ln\u00a0{summary.num_classes} = {number(summary.chance)}",
        ),
        Tile("accuracy", f"{summary.accuracy:.1%}", beside or f"balanced {summary.classes.balanced_accuracy:.1%}"),
        Tile("macro F1", f"{summary.classes.macro_f1:.3f}", "mean over the classes"),
        Tile("mean confidence", f"{summary.confidence:.1%}", f"accuracy is {summary.accuracy:.1%}"),
        Tile(
            "ECE",
            f"{number(summary.calibration.ece)}",
            f"{number(summary.calibration.null.low)} to {number(summary.calibration.null.high)} by chance alone",
        ),
    ]


def _binary(summary: BinarySummary) -> list[Tile]:
    return [
        Tile("mean ℓ", number(summary.nll), f"nats a label; a guess costs ln\u00a02 = {number(summary.chance)}"),
        Tile("accuracy", f"{summary.accuracy:.1%}", "of the labels, at ŷ > 1/2"),
        Tile("macro F1", f"{summary.classes.macro_f1:.3f}", "mean over the labels, at ŷ > 1/2"),
        Tile(
            "ECE",
            f"{number(summary.calibration.ece)}",
            f"{number(summary.calibration.null.low)} to {number(summary.calibration.null.high)} by chance alone",
        ),
    ]
