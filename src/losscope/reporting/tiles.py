"""The first things to read: a sentence and a handful of numbers, each beside what it is to be measured by."""

from __future__ import annotations

from typing import NamedTuple

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
            f"right, at {summary.nll:.3g} nats a sample, where a guess costs {summary.chance:.3g}."
        )
    if isinstance(summary, BinarySummary):
        return (
            f"Of {summary.num_counted:,} labels {summary.accuracy:.1%} are decided right, at {summary.nll:.3g} nats a "
            f"label, where a guess costs {summary.chance:.3g}."
        )
    assert isinstance(summary, RegressionSummary)
    return (
        f"{summary.num_counted:,} values are {summary.rmse:.3g} off in root mean square ({summary.unit}); R² is "
        f"{summary.r2:.3g}."
    )


def tiles(summary: SummaryResult) -> list[Tile]:
    """The numbers of this kind of loss."""
    first = Tile("L_mean", f"{summary.loss:.4g}", "with every option of the loss")
    if not summary.num_counted:
        return [first]
    if isinstance(summary, CategoricalSummary):
        return [first, *_categorical(summary)]
    if isinstance(summary, BinarySummary):
        return [first, *_binary(summary)]
    assert isinstance(summary, RegressionSummary)
    return [
        first,
        Tile("root mean square residual", f"{summary.rmse:.4g}", summary.unit),
        Tile("bias", f"{summary.bias:.4g}", "mean of z − t; 0 is best"),
        Tile("R²", f"{summary.r2:.3g}", "1 is best, 0 is always saying the mean"),
    ]


def _categorical(summary: CategoricalSummary) -> list[Tile]:
    top = {k: value for k, value in summary.top_k.items() if 1 < k < summary.num_classes}
    beside = ", ".join(f"top-{k} {value:.1%}" for k, value in top.items())
    return [
        Tile("mean ℓ", f"{summary.nll:.4g}", f"nats; a guess costs ln {summary.num_classes} = {summary.chance:.3g}"),
        Tile("accuracy", f"{summary.accuracy:.1%}", beside or f"balanced {summary.classes.balanced_accuracy:.1%}"),
        Tile("macro F1", f"{summary.classes.macro_f1:.3f}", "mean over the classes"),
        Tile("mean confidence", f"{summary.confidence:.1%}", f"accuracy is {summary.accuracy:.1%}"),
        Tile(
            "ECE",
            f"{summary.calibration.ece:.4f}",
            f"{summary.calibration.null.low:.4f} to {summary.calibration.null.high:.4f} by chance alone",
        ),
    ]


def _binary(summary: BinarySummary) -> list[Tile]:
    return [
        Tile("mean ℓ", f"{summary.nll:.4g}", f"nats a label; a guess costs ln 2 = {summary.chance:.3g}"),
        Tile("accuracy", f"{summary.accuracy:.1%}", "of the labels, at ŷ > 1/2"),
        Tile("macro F1", f"{summary.classes.macro_f1:.3f}", "mean over the labels, at ŷ > 1/2"),
        Tile(
            "ECE",
            f"{summary.calibration.ece:.4f}",
            f"{summary.calibration.null.low:.4f} to {summary.calibration.null.high:.4f} by chance alone",
        ),
    ]
