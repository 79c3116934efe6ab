"""torch's own operators where they give the same numbers, and the reference's formulas over them elsewhere.

The fallback of every call that no fused kernel serves: any device, any dtype, ``torch.func``, ``torch.compile``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losscope.kernels import chunked, reference
from losscope.kernels.chunked import closed_form
from losscope.kernels.options import BinaryOptions, CategoricalOptions, LinearOptions, Stats
from losscope.kernels.readable import readable
from losscope.kernels.reference import class_dim, upcast

sigmoid = torch.sigmoid
log_sigmoid = F.logsigmoid
softmax = torch.softmax
log_softmax = torch.log_softmax
logsumexp = torch.logsumexp
linear_logits = reference.linear_logits
rows = closed_form.rows
again = closed_form.again

_TORCHS = CategoricalOptions()[3:]  # behind ignore_index, reduction and label_smoothing stands what torch lacks


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor:
    """Torch's own: a pick never reads the rows that are ignored. It has no gradient to the weight.

    Nor has it one to images whose classes are neighbours in memory ("grad_input must be contiguous").
    """
    if _is_learned(weight):
        return reference.nll_loss(s, y, weight, options)
    x = upcast(s if s.ndim < 3 else s.contiguous())
    loss = F.nll_loss(x, y, _as(weight, x), ignore_index=options.ignore_index, reduction=options.reduction)
    if _weighs_nothing(weight, loss):
        return reference.nll_loss(s, y, weight, options)
    return loss.to(s.dtype)


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> Tensor | tuple[Tensor, Stats]:
    """Torch's own where it is right: a mask makes its soft and smoothed losses NaN or inf, and then it is not."""
    if _is_torchs(z, target, options) and not _is_learned(weight):
        x = upcast(z)
        if not options.label_smoothing and not target.is_floating_point():
            pick = F.cross_entropy(
                x, target, _as(weight, x), ignore_index=options.ignore_index, reduction=options.reduction
            )
            if not _weighs_nothing(weight, pick):
                return pick if x is z else pick.to(z.dtype)
            return reference.cross_entropy(z, target, weight, options, torch.log_softmax)
        loss = F.cross_entropy(
            x,
            upcast(target),
            _as(weight, x),
            ignore_index=options.ignore_index,
            reduction=options.reduction,
            label_smoothing=options.label_smoothing,
        )
        if bool(loss.detach().isfinite().all()):
            return loss.to(z.dtype)
    return reference.cross_entropy(z, target, weight, options, torch.log_softmax)


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
    linear: LinearOptions,
) -> Tensor | tuple[Tensor, Stats]:
    """A chunk of the logits at a time where they are more than a chunk, and all of them where they are not."""
    if chunked.serves(x, linear_weight, target, weight, options):
        # What is being compiled finds the fused kernel when it runs.
        kernel = chunked.FUSED if torch.compiler.is_compiling() else "eager"
        layer = chunked.Layer(x, linear_weight, linear_bias)
        return chunked.linear_cross_entropy(layer, target, weight, options, kernel, linear)
    z = reference.autocast(linear_logits(x, linear_weight, linear_bias))
    return cross_entropy(z, target, weight, options)


def apart(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, upstream: Tensor | None
) -> chunked.Chunk:
    """ℓ_i, the statistics and the gradient of Σ_i upstream_i ℓ_i, without touching z."""
    chunk = rows(upcast(z).clone(), upcast(target), weight, options, upstream)
    return chunk._replace(dz=None if chunk.dz is None else chunk.dz.to(z.dtype))


def binary_cross_entropy_with_logits(
    z: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, options: BinaryOptions
) -> Tensor:
    """−ln σ(±z) where every label is 0 or 1, and the reference's formula over torch's log-sigmoid elsewhere.

    Torch's own loss is NaN at a mask, and has lost −ln σ(z) below the rounding of z.
    """
    if options != BinaryOptions(options.reduction) or pos_weight is not None or not _is_hard(target):
        return reference.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options, F.logsigmoid)
    x = upcast(z)
    s = F.logsigmoid(x * upcast(target).mul(2).sub_(1))
    s = s if weight is None else s * weight
    return -_reduce(s, options.reduction).to(torch.promote_types(z.dtype, target.dtype))


def binary_cross_entropy(probability: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Torch's own."""
    p = upcast(probability)
    return F.binary_cross_entropy(p, upcast(target), _as(weight, p), reduction=reduction).to(probability.dtype)


def mse_loss(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Torch's own, which weighs by hand as the reference does."""
    if weight is not None:
        return reference.mse_loss(z, target, weight, reduction)
    loss = F.mse_loss(upcast(z), upcast(target), reduction=reduction)
    return loss.to(torch.promote_types(z.dtype, target.dtype))


def mean_squared_log_error(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The squared error of the logarithm."""
    dtype = torch.promote_types(z.dtype, target.dtype)
    return mse_loss(z, upcast(target).log(), weight, reduction).to(dtype)


def _is_torchs(z: Tensor, target: Tensor, options: CategoricalOptions) -> bool:
    """Nothing that torch lacks, and values that can be read: what torch gets wrong must be seen."""
    if options[3:] != _TORCHS or not (readable(z) and readable(target)):
        return False
    return target.dtype == z.dtype if target.is_floating_point() else _ignored_are_finite(z, target, options)


def _ignored_are_finite(z: Tensor, y: Tensor, options: CategoricalOptions) -> bool:
    """An ignored row that holds −inf, inf or NaN would reach torch's gradient as 0·NaN."""
    if y.numel() == 0:
        return True
    lowest, highest = (y.view(-1) if y.is_contiguous() else y).aminmax()
    if not lowest.item() <= options.ignore_index <= highest.item():
        return True
    ignored = y == options.ignore_index
    return bool(z.detach().movedim(class_dim(z), -1)[ignored].sum().isfinite())


def _weighs_nothing(weight: Tensor | None, mean: Tensor) -> bool:
    """Whether all that counts may: torch's mean is 0/0 then, and so is its gradient, which shall be 0."""
    return weight is not None and readable(mean) and bool(mean.detach().isnan().any())


def _is_learned(weight: Tensor | None) -> bool:
    return weight is not None and weight.requires_grad


def _is_hard(t: Tensor) -> bool:
    """t − t² is 0 for 0 and 1 and above 0 in between, so one sum says it (comparing costs as much as the loss)."""
    return readable(t) and not t.requires_grad and not torch.addcmul(t, t, t, value=-1).sum()


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


def _as(weight: Tensor | None, z: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(z.dtype)


def labels_apart(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    options: BinaryOptions,
    wanted: bool,
    upstream: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """(the loss, its gradient times the upstream where it is wanted), outside autograd.

    ∂ℓ/∂z = −p q c(z) + (1 − q) c(−z), c(z) = (1 − ŷ) M + γ ŷ M (−ln ŷ) with M = (1 − ŷ)^γ and ŷ = σ(z).
    """
    loss = reference.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options, F.logsigmoid)
    if not wanted:
        return loss, None
    ignored = torch.zeros_like(target, dtype=torch.bool)
    if options.ignore_index is not None:
        ignored = target == options.ignore_index
    x, t = reference.hide(upcast(z), ignored), reference.hide(upcast(target), ignored)
    q = t * (1 - options.label_smoothing) + options.label_smoothing / 2
    slope = q.neg().mul(1 if pos_weight is None else pos_weight) * _falling(x, options.focal_gamma)
    slope = slope + (1 - q) * _falling(-x, options.focal_gamma)
    counted = (~ignored).to(slope.dtype)
    slope = slope * counted if weight is None else slope * weight * counted
    return loss, _scaled(slope, counted, options.reduction, upstream).to(z.dtype)


def _falling(x: Tensor, gamma: float) -> Tensor:
    """−∂/∂x of (1 − ŷ)^γ (−ln ŷ), ŷ = σ(x)."""
    p, other, log_p = torch.sigmoid(x), torch.sigmoid(-x), F.logsigmoid(x)
    return other.pow(gamma) * (other - gamma * reference.expectation(p, log_p))


def squares_apart(
    z: Tensor, target: Tensor, weight: Tensor | None, reduction: str, wanted: bool, upstream: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The same of the squared error: ∂ℓ/∂z = 2 w (z − y)."""
    loss = mse_loss(z, target, weight, reduction)
    if not wanted:
        return loss, None
    distance = upcast(z) - upcast(target)
    weights = torch.ones_like(distance) if weight is None else weight.to(distance.dtype)
    return loss, _scaled(2 * weights * distance, weights, reduction, upstream).to(z.dtype)


def _scaled(slope: Tensor, counted: Tensor, reduction: str, upstream: Tensor | None) -> Tensor:
    """Of each value's slope, the gradient of the reduced loss, times what came."""
    total = counted.sum() if reduction == "mean" else torch.ones((), device=slope.device)
    return slope * (1 if upstream is None else upstream) / total.masked_fill(total == 0, torch.inf)
