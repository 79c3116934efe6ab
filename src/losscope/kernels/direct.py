"""The commonest calls go straight to a fused kernel or to torch's operators: of them those check what we check.

At (64, 1000) such an operator takes 2 to 40 microseconds, and our checks in Python take as long. So the call is made
first, where all that would be taken in silence is excluded by a few comparisons. None says that this was not such a
call, or that it was refused: the checks at the edge then say what was wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from losscope.kernels import dispatch
from losscope.kernels.options import BinaryOptions, CategoricalOptions
from losscope.kernels.readable import nothing_watches

_is_compiling, _forced_kernel = torch.compiler.is_dynamo_compiling, dispatch.forced
_dispatch_modes = torch._C._len_torch_dispatch_stack
_are_transforms_active, _is_grad_enabled = torch._C._are_functorch_transforms_active, torch.is_grad_enabled
_nll_loss: Callable[..., Tensor] = torch._C._nn.nll_loss  # type: ignore[attr-defined]
_cross_entropy: Callable[..., Tensor] = torch._C._nn.cross_entropy_loss
_NO_TARGET = int.from_bytes(b"losscope") - 2**63  # far from any index, and no number that stands for something
_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
_REFUSALS = (RuntimeError, LookupError, TypeError, ValueError, AttributeError)
_NO_EXTRAS, _PLAIN_BINARY = CategoricalOptions()[2:], BinaryOptions()[1:]


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor | None:
    """The negative log-likelihood: torch's operator reads no ignored row and refuses what is no index in range.

    A call takes 3 microseconds, of which :func:`_is_batch` would be a tenth: the commonest is looked at here.
    """
    try:
        if (
            type(s) is Tensor
            and s.dtype is torch.float32
            and s.ndim == 2
            and s.is_cpu
            and weight is None
            and type(ignore_index) is int
            and 0 < s.numel() < dispatch.LARGE_MEMORY
            and not _is_compiling()
            and _forced_kernel() is None
        ):
            return _nll_loss(s, y, None, _REDUCTIONS[reduction], ignore_index)
        if not _is_batch(s, y, weight, ignore_index):
            return None
        if s.requires_grad and s.numel() >= dispatch.LARGE_MEMORY and torch.is_grad_enabled():
            return None
        if s.ndim > 2 and not s.is_contiguous():  # torch's has no gradient there
            return None
        loss = torch._C._nn.nll_loss_nd(s, y, weight, _REDUCTIONS[reduction], ignore_index)  # type: ignore[arg-type]
        return _unless_nothing_weighs(loss, weight)
    except _REFUSALS:
        return None


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, extras: tuple[object, ...]
) -> Tensor | None:
    """Cross-entropy; `extras` are the options beside these.

    In training, and of many logits, it is for the fused kernel, and of few without `extras` for torch's operator. Of an
    ignored row that one's gradient may be 0·NaN: told to ignore what is no target, it refuses one that is.
    """
    try:
        if (
            type(z) is Tensor
            and z.dtype is torch.float32
            and z.is_cpu
            and type(ignore_index) is int
            and not _is_compiling()
            and not _are_transforms_active()  # they have another way to pick, and may not refuse
            and _forced_kernel() is None
        ):
            if type(target) is Tensor and _is_for_fused(z, target):
                fused = dispatch.plain()
                loss = (
                    None if fused is None else fused.cross_entropy(z, target, weight, ignore_index, reduction, extras)
                )
                if loss is not None:
                    return loss
            if (
                extras == _NO_EXTRAS
                and z.ndim > 1
                and target.dtype is torch.int64
                and ignore_index < 0
                and (weight is None or not weight.requires_grad)
                and 0 < z.numel() < dispatch.large_categorical(z)
            ):
                return _unless_nothing_weighs(
                    _cross_entropy(z, target, weight, _REDUCTIONS[reduction], _NO_TARGET), weight
                )
    except _REFUSALS:
        return None
    planned = dispatch.planned(z)
    return None if planned is None else planned.cross_entropy(z, target, weight, ignore_index, reduction, extras)


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
        if not _are_few(x, linear_weight) or not _is_whole(linear_bias, linear_weight):
            return None
        if options[2:] != _NO_EXTRAS or y.dtype is not torch.int64 or options.ignore_index >= 0:
            return None
        z = F.linear(x, linear_weight, linear_bias)
        return _unless_nothing_weighs(_cross_entropy(z, y, weight, _REDUCTIONS[options.reduction], _NO_TARGET), weight)
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
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    reduction: str,
    extras: tuple[object, ...],
) -> Tensor | None:
    """Of raw outputs; where it is torch's, that of an infinite one is not finite where 0·∞ is 0."""
    if not are_plain_labels(z, target, weight, pos_weight, reduction, extras):
        planned = dispatch.planned(z) if _are_without_options(weight, pos_weight, extras) else None
        return None if planned is None else planned.binary_cross_entropy_with_logits(z, target, reduction)
    if reduction == "none":
        return None
    try:
        if _is_fixed(target):
            fused = dispatch.plain()
            loss = None if fused is None else fused.binary_cross_entropy_with_logits(z, target, reduction)
            if loss is not None:
                return loss
        if z.numel() >= dispatch.LARGE or not _are_in_unit_interval(target):
            return None
        loss = torch.binary_cross_entropy_with_logits(z, target, None, None, _REDUCTIONS[reduction])
    except _REFUSALS:
        return None
    return loss if math.isfinite(loss.item()) else None


def are_plain_labels(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    reduction: str,
    extras: tuple[object, ...],
) -> bool:
    """Whether of these nothing is left to be looked at but the targets' values."""
    try:
        optionless = _are_without_options(weight, pos_weight, extras)
        return optionless and reduction in _REDUCTIONS and _are_alike(z, target)
    except _REFUSALS:
        return False


def _are_without_options(weight: Tensor | None, pos_weight: Tensor | None, extras: tuple[object, ...]) -> bool:
    try:
        return weight is None and pos_weight is None and extras == _PLAIN_BINARY
    except _REFUSALS:  # of a tensor, whose comparison is no truth
        return False


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
    if reduction == "none" or weight is not None or not _are_alike(z, target) or z.numel() >= dispatch.LARGE_MEMORY:
        return None
    loss = mse_loss(z, target.log(), None, reduction)
    return loss if loss is not None and math.isfinite(loss.item()) else None


def _unless_nothing_weighs(loss: Tensor, weight: Tensor | None) -> Tensor | None:
    """The loss; None where all that counts may weigh nothing, for torch's gradient is 0/0 then too."""
    return loss if weight is None or not bool(loss.detach().isnan().any()) else None


def _is_for_fused(z: Tensor, target: Tensor) -> bool:
    """A gradient to z alone is wanted, or z is large; and nothing has to see torch's operators."""
    wanted = z.requires_grad and _is_grad_enabled()
    return _is_fixed(target) and (wanted or z.numel() >= dispatch.large_categorical(z))


def _is_fixed(target: Tensor) -> bool:
    """It wants no gradient, and nothing has to see torch's operators."""
    return target.is_cpu and not target.requires_grad and nothing_watches()


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


def _are_in_unit_interval(target: Tensor) -> bool:
    """At least one target, and each in [0, 1]."""
    if target.numel() == 0:
        return False
    lowest, highest = torch.aminmax(target.detach() if target.requires_grad else target)
    return lowest.item() >= 0 and highest.item() <= 1


def _are_alike(z: Tensor, target: Tensor) -> bool:
    """float32 values of one shape on the CPU that can be looked at, in eager mode, and no kernel asked for by name."""
    return (
        type(z) is Tensor
        and type(target) is Tensor
        and z.dtype is torch.float32
        and target.dtype is torch.float32
        and z.shape == target.shape
        and z.is_cpu
        and target.is_cpu
        and not _is_compiling()
        and not _are_transforms_active()
        and not _dispatch_modes()
        and _forced_kernel() is None
    )
