"""The truth of every row: an index and its one-hot row, or a soft target, with label smoothing where it is on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losscope.explain.rows import class_rows
from losscope.explain.step import Trail
from losscope.kernels.reference import as_index, hide, upcast
from losscope.targets import one_hot


def class_target(at: Trail, target: Tensor, ignore_index: int, like: Tensor) -> str:
    """y, t and v of an index target, or q of a soft one; the symbol of the distribution comes back."""
    if target.is_floating_point():
        at.add(
            "q",
            "soft target",
            "q_{ih}",
            "q_ih",
            upcast(class_rows(target)),
            "The truth as a distribution over the classes.",
            "ih",
        )
        return "q"
    y = at.add("y", "target index", "y_i", "y_i", target.flatten().long(), "The true class, 0-based.", "i")
    at.add(
        "t",
        "one-hot target",
        "t_{ih} = [h = y_i]",
        "t_ih = [h = y_i]",
        one_hot(y, like.shape[1], dtype=like.dtype, ignore_index=ignore_index),
        "The same truth as a distribution: all of it on one class (nowhere in an ignored row).",
        "ih",
    )
    return "t"


def smoothed(at: Trail, target: str, zed: str, epsilon: float, counted: Tensor) -> str:
    """q̃, the target mixed with the uniform distribution."""
    if not epsilon:
        return target
    z, q = at[zed], at[target]
    open_ = z.isneginf().logical_not().to(q.dtype)
    masks = " (a masked class gets nothing)" if bool((open_ == 0).any()) else ""
    at.add(
        "q̃",
        "smoothed target",
        rf"\tilde{{q}}_{{ih}} = {1 - epsilon:g}\, {target}_{{ih}} + {epsilon:g} / K_i",
        f"q̃_ih = {1 - epsilon:g} {target}_ih + {epsilon:g} / K_i",
        hide((1 - epsilon) * q + epsilon * open_ / open_.sum(1, keepdim=True), ~counted.unsqueeze(1)),
        f"Label smoothing: a share ε = {epsilon:g} of the truth is spread evenly over the K_i classes "
        f"whose logit is not −inf{masks}.",
        "ih",
    )
    return "q̃"


def validity(at: Trail, ignore_index: int) -> Tensor:
    """v_i of an index target."""
    y = at["y"]
    counted = as_index(y) != ignore_index
    ignored = int((~counted).sum())
    at.add(
        "v",
        "validity",
        rf"v_i = [y_i \neq {ignore_index}]",
        f"v_i = [y_i ≠ {ignore_index}]",
        counted.to(torch.int64),
        f"{ignored:,} of {len(y):,} targets are ignored: their loss and gradient are 0, whatever their logits hold."
        if ignored
        else "Every target counts.",
        "i",
    )
    return counted


def weight_of_target(at: Trail, weight: Tensor | None, dtype: torch.dtype, counted: Tensor) -> Tensor:
    """w_{y_i}: the weight of the true class."""
    y = hide(at["y"], ~counted)
    return at.add(
        "w",
        "class weight",
        "w_{y_i}",
        "w_{y_i}",
        torch.ones_like(y, dtype=dtype) if weight is None else weight.to(dtype)[y],
        "No class weights are given: each sample counts once."
        if weight is None
        else "The weight of the true class: a sample of weight 2 counts as two.",
        "i",
    )


def counted_words(weight: Tensor | None, each: Tensor) -> str:
    """The divisor of the mean of index targets, in words."""
    return f"the {'number' if weight is None else 'weights'} of the samples that count, {float(each.sum()):g}"


def chance(classes: int) -> str:
    """What a guess costs that takes every class to be equally likely."""
    return f"Guessing evenly among {classes:,} classes costs ln {classes:,} = {math.log(classes):.4f}."
