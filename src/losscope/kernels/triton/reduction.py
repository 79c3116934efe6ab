"""Sums and means of ℓ_i as numbers that stay on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.options import CategoricalOptions


class Reduction(NamedTuple):
    """The divisor of Σ ℓ_i, and the derivative of the reduced loss by each ℓ_i: 0 where nothing counts."""

    divisor: Tensor
    scale: Tensor


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
    if weight is None:
        return by_tensor((target != options.ignore_index).sum().to(like.dtype))
    return by_tensor(reference.divisor(target, weight, options, like.dtype).sum())


def by_number(divisor: float, like: Tensor) -> Reduction:
    """By a number that Python knows; the gradient of a sum over nothing is 0."""
    return Reduction(like.new_full((), divisor), like.new_full((), 1 / divisor if divisor else 0.0))


def by_tensor(divisor: Tensor) -> Reduction:
    """By a number that only the device knows."""
    return Reduction(divisor, torch.where(divisor == 0, 0.0, 1 / divisor).to(divisor.dtype))


def reduced(losses: Tensor, reduction: str, divisor: Tensor) -> Tensor:
    """ℓ_i, or their sum in float64 by the divisor: 0/0 is the NaN of a mean over nothing."""
    return losses if reduction == "none" else losses.sum(dtype=torch.float64) / divisor
