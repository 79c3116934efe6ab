"""Sums and means of ℓ_i as numbers that stay on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.options import CategoricalOptions
from losscope.kernels.triton import totals
from losscope.kernels.triton.launch import TYPES, Work, launch

ONE_PROGRAM = 65536
"""Samples that one program is as quick with as torch's sums are."""

BLOCK, WARPS = 4096, 8
"""Samples that it takes at a time."""

MOST_PROGRAMS = 1024
"""Of a product that may have nothing to do."""


class Reduction(NamedTuple):
    """The divisor of Σ ℓ_i, and the derivative of the reduced loss by each ℓ_i: 0 where nothing counts.

    Tensors of one element, or numbers, which a kernel takes in float32.
    """

    divisor: Tensor | float
    scale: Tensor | float


def of_samples(
    target: Tensor, weight: Tensor | None, options: CategoricalOptions, samples: int, like: Tensor
) -> Reduction:
    """Σ v_i w_{y_i}, N for soft targets, the normalizer that is given, or 1 for a sum; in the dtype of ``like``."""
    if options.reduction != "mean":
        return by_number(1.0, like)
    if isinstance(options.normalizer, Tensor):
        return by_tensor(options.normalizer.detach().reshape(()).to(like))
    assert not isinstance(options.normalizer, str), "the losses count a global normalizer out"
    if options.normalizer is not None:
        return by_number(options.normalizer, like)
    if target.is_floating_point():
        return by_number(samples, like)
    if samples <= ONE_PROGRAM:
        return _by_count(target, weight, options.ignore_index, samples, like)
    if weight is None:
        return by_tensor((target != options.ignore_index).sum().to(like.dtype))
    return by_tensor(reference.divisor(target, weight, options, like.dtype).sum())


def by_number(divisor: float, like: Tensor) -> Reduction:
    """By a number that Python knows; the gradient of a sum over nothing is 0."""
    scale = 1 / divisor if divisor else 0.0
    if like.dtype != torch.float64:
        return Reduction(float(divisor), scale)
    return Reduction(like.new_full((), divisor), like.new_full((), scale))


def by_tensor(divisor: Tensor) -> Reduction:
    """By a number that only the device knows."""
    return Reduction(divisor, torch.where(divisor == 0, 0.0, 1 / divisor).to(divisor.dtype))


def _by_count(target: Tensor, weight: Tensor | None, ignore_index: int, samples: int, like: Tensor) -> Reduction:
    """As ``by_tensor`` of the divisor, in one launch."""
    numbers = like.new_empty(2)
    launch(counting(target, weight, ignore_index, samples, numbers))
    return Reduction(*numbers.unbind())


def counting(target: Tensor, weight: Tensor | None, ignore_index: int, samples: int, numbers: Tensor) -> Work:
    """What writes the divisor and the scale."""
    arguments = {
        "target": target.contiguous(),
        "weight": target if weight is None else weight.contiguous(),
        "numbers": numbers,
        "samples": samples,
        "ignore_index": ignore_index,
        "WEIGHTED": weight is not None,
        "REAL": TYPES[numbers.dtype],
        "BLOCK": BLOCK,
    }
    return Work(totals.count, 1, numbers, arguments, WARPS)


def reduced(losses: Tensor, reduction: str, divisor: Tensor | float, dtype: torch.dtype) -> Tensor:
    """ℓ_i, or their sum in float64 by the divisor: 0/0 is the NaN of a mean over nothing."""
    if reduction == "none":
        return losses.to(dtype)
    if losses.numel() > ONE_PROGRAM:
        return (losses.sum(dtype=torch.float64) / divisor).to(dtype)
    loss = losses.new_empty((), dtype=dtype)
    launch(dividing(losses, divisor, loss))
    return loss


def dividing(losses: Tensor, divisor: Tensor | float, loss: Tensor) -> Work:
    """What writes their sum by the divisor."""
    arguments = {"losses": losses, "divisor": divisor, "loss": loss, "samples": losses.numel(), "BLOCK": BLOCK}
    return Work(totals.quotient, 1, losses, arguments, WARPS)


def multiplied_unless_one(x: Tensor, factor: Tensor) -> Tensor:
    """X times a number that only the device knows, in place; where that is 1, x is not even read."""
    if not x.numel() or not x.is_contiguous():
        return x.mul_(factor)
    programs = min(-(-x.numel() // BLOCK), MOST_PROGRAMS)
    arguments = {"x": x, "factor": factor, "numbers": x.numel(), "BLOCK": BLOCK}
    launch(Work(totals.multiply, programs, x, arguments, WARPS))
    return x
