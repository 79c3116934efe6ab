"""The commonest calls go straight to torch's operators: of them torch checks what we check.

At (64, 1000) such an operator takes 2 to 40 microseconds, and our checks in Python take as long. So the call is made
first, where all that torch would take in silence is excluded by a few comparisons. None says that this was not such a
call, or that torch refused it: the checks at the edge then say what was wrong with it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from losscope.kernels import dispatch
from losscope.kernels.options import BinaryOptions, CategoricalOptions
from losscope.kernels.readable import is_plain, readable

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
_REFUSALS = (RuntimeError, LookupError, TypeError, ValueError, AttributeError)
_PLAIN, _PLAIN_BINARY = CategoricalOptions()[2:], BinaryOptions()[1:]


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor | None:
    """The negative log-likelihood: torch's operator reads no ignored row and refuses what is no index in range."""
    try:
        if not _is_batch(s, y, weight, ignore_index):
            return None
        if s.requires_grad and s.numel() >= dispatch.LARGE_MEMORY and torch.is_grad_enabled():
            return None
        return torch._C._nn.nll_loss_nd(s, y, weight, _REDUCTIONS[reduction], ignore_index)  # type: ignore[arg-type]
    except _REFUSALS:
        return None


def cross_entropy(z: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor | None:
    """Cross-entropy of few logits; torch's gradient of an ignored row may be 0·NaN, so none may be among them."""
    try:
        if not _is_batch(z, y, weight, options.ignore_index) or z.numel() >= dispatch.large_categorical(z):
            return None
        return _cross_entropy(z, y, weight, options) if _is_torchs(y, options) else None
    except _REFUSALS:
        return None


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    y: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
) -> Tensor | None:
    """The same of a linear layer's few outputs."""
    try:
        if not _is_batch(x, y, weight, options.ignore_index) or torch.is_autocast_enabled(x.device.type):
            return None
        if not _are_few(x, linear_weight) or not _is_whole(linear_bias, linear_weight) or not _is_torchs(y, options):
            return None
        return _cross_entropy(F.linear(x, linear_weight, linear_bias), y, weight, options)
    except _REFUSALS:
        return None


def binary_cross_entropy(p: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor | None:
    """Of probabilities, which torch looks at itself; of the targets we do."""
    if weight is not None or not _are_alike(p, target) or not _are_in_unit_interval(target):
        return None
    try:
        return torch._C._nn.binary_cross_entropy(p, target, None, _REDUCTIONS[reduction])  # type: ignore[arg-type]
    except _REFUSALS:
        return None


def binary_cross_entropy_with_logits(
    z: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, options: BinaryOptions
) -> Tensor | None:
    """Of few raw outputs; of an infinite one torch's loss is not finite where 0·∞ is 0."""
    if weight is not None or pos_weight is not None or options[1:] != _PLAIN_BINARY or options.reduction == "none":
        return None
    if not _are_alike(z, target) or z.numel() >= dispatch.LARGE or not (readable(z) and _are_in_unit_interval(target)):
        return None
    try:
        loss = torch.binary_cross_entropy_with_logits(z, target, None, None, _REDUCTIONS[options.reduction])
    except _REFUSALS:
        return None
    return loss if math.isfinite(loss.item()) else None


def mse_loss(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor | None:
    """The squared error of equal shapes, so that nothing is broadcast."""
    if weight is not None or not _are_alike(z, target) or z.numel() >= dispatch.LARGE_MEMORY:
        return None
    try:
        return torch._C._nn.mse_loss(z, target, _REDUCTIONS[reduction])  # type: ignore[arg-type]
    except _REFUSALS:
        return None


def mean_squared_log_error(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor | None:
    """The squared error of the logarithm: finite only where every target is above 0."""
    if reduction == "none" or weight is not None or not _are_alike(z, target) or not readable(z):
        return None
    loss = mse_loss(z, target.log(), None, reduction) if readable(target) else None
    return loss if loss is not None and math.isfinite(loss.item()) else None


def _is_batch(z: Tensor, y: Tensor, weight: Tensor | None, ignore_index: int) -> bool:
    """A batch of float32 outputs on the CPU, in eager mode, and no kernel asked for by name."""
    return (
        type(z) is Tensor
        and z.dtype is torch.float32
        and z.ndim > 1
        and z.numel() > 0
        and z.is_cpu
        and y.is_cpu
        and type(ignore_index) is int
        and (weight is None or (weight.is_cpu and not weight.requires_grad))
        and dispatch.is_free()
    )


def _are_few(x: Tensor, linear_weight: Tensor) -> bool:
    """As many logits as torch's operators are quicker with."""
    plain = x.ndim == linear_weight.ndim == 2 and linear_weight.is_cpu
    return plain and len(x) * len(linear_weight) < dispatch.LARGE_CALL


def _is_whole(linear_bias: Tensor | None, linear_weight: Tensor) -> bool:
    """One bias for each output: torch would broadcast a single one."""
    return linear_bias is None or (linear_bias.is_cpu and linear_bias.shape == linear_weight.shape[:1])


def _is_torchs(y: Tensor, options: CategoricalOptions) -> bool:
    """Indices, no option that torch lacks or treats otherwise, and nothing ignored where a gradient may be wanted."""
    if options[2:] != _PLAIN or y.dtype is not torch.int64:
        return False
    if not torch.is_grad_enabled() and forward_ad._current_level < 0:
        return True
    return options.ignore_index < 0 and is_plain(y) and y.min().item() >= 0


def _are_in_unit_interval(target: Tensor) -> bool:
    """Targets that can be looked at, at least one, each in [0, 1]."""
    if not readable(target) or target.numel() == 0:
        return False
    lowest, highest = target.detach().reshape(-1).aminmax()
    return lowest.item() >= 0 and highest.item() <= 1


def _cross_entropy(z: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor:
    return torch._C._nn.cross_entropy_loss(z, y, weight, _REDUCTIONS[options.reduction], options.ignore_index)  # type: ignore[arg-type]


def _are_alike(z: Tensor, target: Tensor) -> bool:
    """float32 values of one shape on the CPU, in eager mode, and no kernel asked for by name."""
    return (
        type(z) is Tensor
        and type(target) is Tensor
        and z.dtype is torch.float32
        and target.dtype is torch.float32
        and z.shape == target.shape
        and z.is_cpu
        and target.is_cpu
        and dispatch.is_free()
    )
