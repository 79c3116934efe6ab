"""Targets that are not what the loss takes: values, dtypes, shapes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from losscope.errors import describe, position
from losscope.kernels.reference import as_index
from losscope.linting.context import Context
from losscope.linting.finding import ERROR, INFO, Finding
from losscope.linting.reading import classes_last, expected_shape, integral
from losscope.linting.rule import ALL, BINARY, CATEGORICAL, Rule, rule
from losscope.linting.statistics import unique
from losscope.linting.tolerance import sum_tolerance
from losscope.targets import class_dim


@rule("target-dtype", ERROR)
def target_dtype(rule: Rule, c: Context) -> Iterator[Finding]:
    """Float indices, integer one-hot, integer labels: the loss says what it takes, and never guesses."""
    y = c.y
    if y.is_complex():
        fix = "y = y.real"
    elif c.categorical:
        fix = _categorical_dtype(c)
    elif y.is_floating_point() or c.likelihood == "value":
        return
    else:
        fix = "y = y.to(z.dtype)"
    if not fix:
        return
    takes = "class indices (integers), or probabilities of the outputs' shape (floating)"
    takes = takes if c.likelihood == "cross_entropy" else "class indices (integers)" if c.categorical else "floats"
    yield rule.found(
        f"the target's dtype is not what {c.likelihood} takes",
        f"the loss takes {takes}; the target is {describe(y)} beside outputs {describe(c.z)}",
        fix,
        dtype=str(y.dtype).removeprefix("torch."),
        target_shape=str(tuple(y.shape)),
        output_shape=str(tuple(c.z.shape)),
    )


def _categorical_dtype(c: Context) -> str:
    """What to do about the dtype of a categorical target; nothing where it is right."""
    if given_decisions(c):
        return ""
    y, same = c.y, c.y.shape == c.z.shape and c.z.ndim > 0
    if same and c.likelihood == "nll_loss":
        return "y = y.argmax(1)  # nll_loss takes indices only"
    if same:
        multi_hot = not bool((y.sum(class_dim(y)) == 1).all())
        one_hot = "y = y.to(z.dtype)  # or y.argmax(1), the index of the 1"
        return "" if y.is_floating_point() else "y = y.to(z.dtype)" if multi_hot else one_hot
    if y.dtype == torch.bool or (y.is_floating_point() and integral(y)):
        return "y = y.long()"
    return ""


@rule("target-shape", ERROR)
def target_shape(rule: Rule, c: Context) -> Iterator[Finding]:
    """The target has neither the shape of indices nor that of the outputs."""
    if _fits(c) or (c.categorical and classes_last(c.z, c.y)) or broadcasts(c) or given_decisions(c):
        return
    expected = expected_shape(c.z) if c.categorical else tuple(c.z.shape)
    yield rule.found(
        "the target's shape does not fit the outputs",
        f"outputs {tuple(c.z.shape)} take a target {expected}; it is {tuple(c.y.shape)}",
        _shape_fix(c, expected),
        output_shape=str(tuple(c.z.shape)),
        target_shape=str(tuple(c.y.shape)),
        expected_shape=str(expected),
    )


def _fits(c: Context) -> bool:
    if not c.categorical:
        return c.y.shape == c.z.shape
    return tuple(c.y.shape) == expected_shape(c.z) or c.y.shape == c.z.shape


def given_decisions(c: Context) -> bool:
    """The outputs have no class dimension because they are decisions: that is another rule's finding."""
    return c.categorical and c.z.ndim == c.y.ndim and not c.y.is_floating_point() and integral(c.z)


def _shape_fix(c: Context, expected: tuple[int, ...]) -> str:
    """The line of code for the most likely meaning of the target's shape."""
    y = c.y
    if y.ndim == len(expected) + 1 and 1 in y.shape and tuple(y.squeeze(class_dim(y)).shape) == expected:
        return "y = y.squeeze(1)  # drop the dimension of length 1"
    if c.z.ndim and y.ndim and y.shape[0] != c.z.shape[0]:
        return f"make the batches equal: {c.z.shape[0]} outputs and {y.shape[0]} targets"
    if not c.categorical and y.ndim == c.z.ndim - 1 and not y.is_floating_point():
        return "loss = ls.CrossEntropyLoss()  # if one of the classes is true; or m = ls.one_hot(y, num_classes)"
    if c.categorical and c.z.ndim == y.ndim:
        return "keep the class dimension of the outputs: z of shape (N, H) beside y of shape (N,)"
    return f"y = y.reshape({expected})" if y.numel() == _product(expected) else f"give a target of shape {expected}"


def _product(shape: tuple[int, ...]) -> int:
    return int(torch.tensor(shape).prod()) if shape else 1


@rule("broadcast-target", ERROR, ALL - CATEGORICAL)
def broadcast_target(rule: Rule, c: Context) -> Iterator[Finding]:
    """(N, 1) beside (N,) broadcasts to (N, N): every sample is compared with every target."""
    if not broadcasts(c):
        return
    shape = common_shape(c.z, c.y)
    assert shape is not None
    pairs = _product(shape)
    squeeze = c.z.numel() == c.y.numel()
    yield rule.found(
        "outputs and targets of different shapes: broadcasting pairs every sample with every target",
        f"outputs {tuple(c.z.shape)} beside targets {tuple(c.y.shape)} broadcast to {shape}: {pairs:,} pairs instead of"
        f" {c.z.numel():,}",
        f"y = y.reshape({tuple(c.z.shape)})" if squeeze else f"give a target of shape {tuple(c.z.shape)}",
        output_shape=str(tuple(c.z.shape)),
        target_shape=str(tuple(c.y.shape)),
        pairs=pairs,
    )


def broadcasts(c: Context) -> bool:
    """Shapes that differ and would be broadcast."""
    return not c.categorical and c.z.shape != c.y.shape and common_shape(c.z, c.y) is not None


def common_shape(a: Tensor, b: Tensor) -> tuple[int, ...] | None:
    """The shape that both broadcast to, if there is one."""
    try:
        return np.broadcast_shapes(tuple(a.shape), tuple(b.shape))
    except ValueError:
        return None


@rule("target-out-of-range", ERROR, CATEGORICAL)
def target_out_of_range(rule: Rule, c: Context) -> Iterator[Finding]:
    """An index outside 0…H−1 that is not ignored."""
    y, h = as_index(c.y), c.num_classes
    if c.z.ndim == 0 or y.numel() == 0 or y.is_complex() or y.ndim >= c.z.ndim or h == 1:
        return
    if y.is_floating_point() and not (integral(y) and bool(y.isfinite().all())):
        return
    if classes_last(c.z, y):
        h = c.z.shape[-1]
    bad = ((y < 0) | (y >= h)) & ~c.is_ignored(y)
    if not bool(bad.any()):
        return
    values = unique(y[bad])
    first = int(bad.flatten().int().argmax())
    place = position(first, tuple(y.shape))
    yield rule.found(
        f"a target is outside 0…{h - 1}, the {h} classes of the outputs",
        f"{int(bad.sum()):,} of {y.numel():,} targets are {_values(values)}, the first at {place}",
        _range_fix(y[~c.is_ignored(y)], values, h),
        out_of_range=int(bad.sum()),
        lowest=float(y.min()),
        highest=float(y.max()),
        classes=h,
    )


def _values(values: Tensor, most: int = 5) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:most].tolist())
    return shown + (f" and {len(values) - most} other values" if len(values) > most else "")


def _range_fix(counted: Tensor, bad: Tensor, h: int) -> str:
    """Labels from 1, a mark for void samples, ±1, or too few outputs."""
    low, high = int(counted.min()), int(counted.max())
    if high == h and low >= 1:
        return "y = y - 1  # the labels start at 1"
    if h == 2 and set(unique(counted).tolist()) <= {-1, 1}:
        return "y = (y + 1) // 2  # −1 and 1 become 0 and 1"
    if len(bad) == 1 and int(bad[0]) != h:
        return f"loss = ls.CrossEntropyLoss(ignore_index={int(bad[0])})  # if these samples are not to count"
    return f"give the last layer {high + 1} outputs, or map the labels to 0…{h - 1}"


@rule("multi-hot-target-for-cross-entropy", ERROR, CATEGORICAL)
def multi_hot_target_for_cross_entropy(rule: Rule, c: Context) -> Iterator[Finding]:
    """Rows of zeros and ones with more than one 1: several labels are true, but softmax lets one win."""
    y = c.y
    if y.shape != c.z.shape or y.ndim < 2 or y.numel() == 0 or given_decisions(c):
        return
    if not bool(((y == 0) | (y == 1)).all()):
        return
    ones = y.sum(1, dtype=torch.float64)
    several = int((ones > 1).sum())
    if several == 0:
        return
    yield rule.found(
        "multi-hot targets under a loss that lets one class win",
        f"{several:,} of {ones.numel():,} targets have more than one 1 (at most {int(ones.max())}): as a distribution"
        f" they sum to up to {int(ones.max())}, and softmax can give all the probability to one only",
        "loss = ls.BCEWithLogitsLoss()  # each label on its own; the target as floats",
        several=several,
        targets=ones.numel(),
        most=int(ones.max()),
    )


@rule("target-not-a-distribution", ERROR, {"cross_entropy"})
def target_not_a_distribution(rule: Rule, c: Context) -> Iterator[Finding]:
    """A soft target below 0, above 1, or not summing to one."""
    q = c.y
    if q.shape != c.z.shape or not q.is_floating_point() or q.numel() == 0 or given_decisions(c):
        return
    sums = q.sum(class_dim(q), dtype=torch.float64)
    tolerance = max(sum_tolerance(q.dtype, c.num_classes), 1e-3)
    off = int(((sums - 1).abs() > tolerance).sum())
    outside = int(((q < 0) | (q > 1)).sum())
    hard = bool(((q == 0) | (q == 1)).all())
    if (off == 0 and outside == 0) or (hard and bool((sums > 1).any())):
        return
    if hard:
        yield _rows_without_a_class(rule, off, sums.numel())
        return
    yield rule.found(
        "soft targets that are no distributions",
        f"{off:,} of {sums.numel():,} targets do not sum to one (from {float(sums.min()):.4g} to"
        f" {float(sums.max()):.4g}) and {outside:,} values are outside [0, 1]: a sample of sum 2 counts twice",
        "q = q / q.sum(1, keepdim=True)  # or ls.softmax(q, 1) where q are another model's raw outputs",
        off=off,
        outside=outside,
        lowest_sum=float(sums.min()),
        highest_sum=float(sums.max()),
    )


def _rows_without_a_class(rule: Rule, off: int, rows: int) -> Finding:
    return rule.found(
        "targets without a class: they add no loss but count in the mean",
        f"{off:,} of {rows:,} targets are all 0, and the mean divides by all {rows:,}",
        "loss = ls.CrossEntropyLoss(normalizer=q.sum())  # if they are not to count",
        INFO,
        off=off,
        rows=rows,
    )


@rule("target-outside-unit-interval", ERROR, BINARY)
def target_outside_unit_interval(rule: Rule, c: Context) -> Iterator[Finding]:
    """A binary target is a probability; with ±1 labels the loss has no minimum."""
    y = c.y
    if y.numel() == 0 or y.is_complex() or y.dtype == torch.bool:
        return
    bad = ~((y >= 0) & (y <= 1))
    if c.ignore_index is not None:
        bad &= y != c.ignore_index
    if not bool(bad.any()):
        return
    signs = bool(((y == 1) | (y == -1)).all())
    low, high = float(y.min()), float(y.max())
    yield rule.found(
        "binary targets outside [0, 1]" + (": the labels are ±1" if signs else ""),
        f"{int(bad.sum()):,} of {y.numel():,} targets are outside [0, 1]: from {low:.4g} to {high:.4g}. The loss"
        " ln(1 + e^z) − m z has no minimum for such an m",
        "m = (y + 1) / 2  # −1 and 1 become 0 and 1" if signs else "m = (y > 0).to(z.dtype)  # or scale y to [0, 1]",
        outside=int(bad.sum()),
        lowest=low,
        highest=high,
    )


@rule("weight-length", ERROR, ALL - {"value"})
def weight_length(rule: Rule, c: Context) -> Iterator[Finding]:
    """One weight for each class, or what broadcasts to the outputs."""
    for name in ("weight", "pos_weight"):
        weight = getattr(c.loss, name, None)
        if weight is None or c.z.ndim == 0 or _weight_fits(c, weight):
            continue
        h = c.z.shape[-1] if classes_last(c.z, c.y) else c.num_classes
        yield rule.found(
            f"{name} has not one number for each class",
            f"{name} is {describe(weight)}, and the outputs {tuple(c.z.shape)} have {h} classes",
            f"give {name} the shape ({h},), in the order of the outputs",
            weight_shape=str(tuple(weight.shape)),
            classes=h,
        )


def _weight_fits(c: Context, weight: Tensor) -> bool:
    if c.categorical:
        h = c.z.shape[-1] if classes_last(c.z, c.y) else c.num_classes
        return tuple(weight.shape) == (h,)
    return common_shape(weight, c.z) == tuple(c.z.shape)


@rule("loss-raises", ERROR)
def loss_raises(rule: Rule, c: Context) -> Iterator[Finding]:
    """The loss cannot be computed, for a reason no other rule knows: ``run_rules`` drops it beside any error."""
    error = c.raised
    if error is not None:
        yield rule.found(
            "the loss cannot be computed", f"{error.where} takes {error.expected}; it is given {error.got}", error.fix
        )
