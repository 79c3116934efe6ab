"""Index targets out of range: looked at at the edge, or by an operator, which has their values when a graph runs."""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor

from losscope.errors import InputError, describe, position


def check(where: str, y: Tensor, num_classes: int, ignore_index: int) -> None:
    """Every index on the CPU is in 0…H−1 or is ``ignore_index``; a GPU's kernels look themselves.

    Raises:
        InputError: one is not.
    """
    if not y.is_cpu or y.numel() == 0 or y.is_floating_point():
        return
    lowest, highest = extremes(y)
    if lowest >= 0 and highest < num_classes:
        return
    bad = ((y < 0) | (y >= num_classes)) & (y != ignore_index)
    if bool(bad.any()):
        _refuse(where, y, bad, num_classes, ignore_index)


def extremes(x: Tensor) -> tuple[float, float]:
    """The smallest and the largest value. Flat, because torch walks the elements one by one for more dimensions."""
    lowest, highest = (x.detach().view(-1) if x.is_contiguous() else x.detach()).aminmax()
    return lowest.item(), highest.item()


def _refuse(where: str, y: Tensor, bad: Tensor, num_classes: int, ignore_index: int) -> NoReturn:
    first = int(bad.flatten().int().argmax())
    value, place = int(y.flatten()[first]), position(first, tuple(y.shape))
    one_based = value == num_classes and int(y[y != ignore_index].min()) >= 1
    fix = (
        "the labels seem to start at 1: subtract 1"
        if one_based
        else f"pass ignore_index={value} if these samples are not to count, or check the number of classes"
    )
    raise InputError(
        where,
        f"class indices in 0…{num_classes - 1}, or ignore_index={ignore_index}",
        f"{value} at {place} (and {int(bad.sum()) - 1} more like it) in a target of {describe(y)}",
        fix,
    )
