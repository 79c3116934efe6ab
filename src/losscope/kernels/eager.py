"""torch's own operators where they give the same numbers, and the reference's formulas over them elsewhere.

The fallback of every call that no fused kernel serves: any device, any dtype, ``torch.func``, ``torch.compile``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losscope.kernels import chunked, reference
from losscope.kernels.options import BinaryOptions, CategoricalOptions, Stats
from losscope.kernels.readable import readable

sigmoid = torch.sigmoid
log_sigmoid = F.logsigmoid
softmax = torch.softmax
log_softmax = torch.log_softmax
logsumexp = torch.logsumexp
linear_logits = reference.linear_logits


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor:
    """Torch's own, unless a row is ignored: its −inf or NaN must not reach the gradient of the others."""
    if not _nothing_ignored(y, options):
        return reference.nll_loss(s, y, weight, options)
    return F.nll_loss(s, y, _as(weight, s), ignore_index=options.ignore_index, reduction=options.reduction)


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> Tensor | tuple[Tensor, Stats]:
    """Torch's own for what it computes right: index targets without smoothing, none of them ignored."""
    if target.is_floating_point() or not _is_plain(options) or not _nothing_ignored(target, options):
        return reference.cross_entropy(z, target, weight, options, torch.log_softmax)
    return F.cross_entropy(z, target, _as(weight, z), ignore_index=options.ignore_index, reduction=options.reduction)


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
) -> Tensor | tuple[Tensor, Stats]:
    """A chunk of the logits at a time where they are more than a chunk, and all of them where they are not."""
    if chunked.serves(x, linear_weight, target, weight):
        layer = chunked.Layer(x, linear_weight, linear_bias)
        return chunked.linear_cross_entropy(layer, target, weight, options, cross_entropy)
    z = reference.autocast(linear_logits(x, linear_weight, linear_bias))
    return cross_entropy(z, target, weight, options)


def binary_cross_entropy_with_logits(
    z: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, options: BinaryOptions
) -> Tensor:
    """The reference's formula over torch's log-sigmoid, which is exact for masks (torch's own loss is NaN there)."""
    return reference.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options, F.logsigmoid)


def binary_cross_entropy(probability: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Torch's own."""
    return F.binary_cross_entropy(probability, target, _as(weight, probability), reduction=reduction)


def mse_loss(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Torch's own, which weighs by hand as the reference does."""
    if weight is not None:
        return reference.mse_loss(z, target, weight, reduction)
    return F.mse_loss(z, target, reduction=reduction)


def mean_squared_log_error(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The squared error of the logarithm."""
    return mse_loss(z, target.log(), weight, reduction)


def _is_plain(options: CategoricalOptions) -> bool:
    """Nothing that torch lacks, and no smoothing (torch gives inf there when a class is masked)."""
    return not (
        options.label_smoothing
        or options.focal_gamma
        or options.z_loss
        or options.return_stats
        or options.softcap is not None
        or options.normalizer is not None
    )


def _nothing_ignored(target: Tensor, options: CategoricalOptions) -> bool:
    """Known only where the values can be read; elsewhere the reference hides ignored rows in any case."""
    return readable(target) and not bool((target == options.ignore_index).any())


def _as(weight: Tensor | None, z: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(z.dtype)
