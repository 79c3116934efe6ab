"""The first things to read: a sentence and a handful of numbers, each beside what it is to be measured by."""

from __future__ import annotations

from typing import NamedTuple

from losscope.figures.numbers import counted, number, percent
from losscope.figures.residuals import residual
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
    if isinstance(summary, RegressionSummary):
        return _values(summary)
    assert isinstance(summary, CategoricalSummary | BinarySummary)
    of, each = _samples(summary)
    right = f"{percent(summary.accuracy)} {'is' if summary.num_counted == 1 else 'are'} decided right"
    return f"Of {of} {right}, at {number(summary.nll)} nats a {each}, where a guess costs {number(summary.chance)}."


def _values(summary: RegressionSummary) -> str:
    """What the finite ones say, and that there are others."""
    others = summary.num_infinite + summary.num_nan
    values = counted(summary.num_counted - others, "value is", "values are")
    off = f"{values} {number(summary.rmse)} off in root mean square ({summary.unit}); R² is {number(summary.r2)}."
    return f"{off} Left out {'is' if others == 1 else 'are'} {others:,} whose ℓ is not finite." if others else off


def _samples(summary: CategoricalSummary | BinarySummary) -> tuple[str, str]:
    """How many of what are decided, and what one of them is called."""
    if isinstance(summary, BinarySummary):
        return counted(summary.num_counted, "label"), "label"
    classes = counted(summary.num_classes, "class", "classes")
    return f"{counted(summary.num_counted, 'sample')} in {classes}", "sample"


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
        Tile("bias", number(summary.bias), f"mean of {residual(summary)}; 0 is best"),
        Tile("R²", number(summary.r2), "1 is best, 0 is always saying the mean"),
    ]


def _unlike(first: Tile, others: list[Tile]) -> list[Tile]:
    """Without options the mean ℓ is L_mean: it is said once. With some it is said that the mean ℓ has none of them."""
    plain, *rest = others
    if plain.value == first.value:
        return others
    return [first, plain._replace(beside=f"without them, in {plain.beside}"), *rest]


def _categorical(summary: CategoricalSummary) -> list[Tile]:
    top = {k: value for k, value in summary.top_k.items() if 1 < k < summary.num_classes}
    beside = ", ".join(f"top-{k} {percent(value)}" for k, value in top.items())
    return [
        Tile(
            "mean ℓ",
            number(summary.nll),
            f"nats; a guess costs ln\u00a0{summary.num_classes} = {number(summary.chance)}",
        ),
        Tile("accuracy", percent(summary.accuracy), beside or f"balanced {percent(summary.classes.balanced_accuracy)}"),
        Tile("macro F1", number(summary.classes.macro_f1), "mean over the classes"),
        Tile("mean confidence", percent(summary.confidence), f"accuracy is {percent(summary.accuracy)}"),
        Tile(
            "ECE",
            number(summary.calibration.ece),
            f"{number(summary.calibration.null.low)} to {number(summary.calibration.null.high)} by chance alone",
        ),
    ]


def _binary(summary: BinarySummary) -> list[Tile]:
    return [
        Tile("mean ℓ", number(summary.nll), f"nats a label; a guess costs ln\u00a02 = {number(summary.chance)}"),
        Tile("accuracy", percent(summary.accuracy), "of the labels, at ŷ > 1/2"),
        Tile("macro F1", number(summary.classes.macro_f1), "mean over the labels, at ŷ > 1/2"),
        Tile(
            "ECE",
            number(summary.calibration.ece),
            f"{number(summary.calibration.null.low)} to {number(summary.calibration.null.high)} by chance alone",
        ),
    ]
