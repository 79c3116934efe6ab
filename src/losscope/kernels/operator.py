"""Cross-entropy as one operator of torch, ``losscope::cross_entropy``: how a compiled graph calls the fused CPU kernel.

torch.compile would walk the logits several times. The operator gives ℓ_i and, with an upstream that is known beforehand
(1 for a sum, 1/divisor for a mean), the gradient of Σ_i upstream_i ℓ_i in the same walk; its backward scales that, or
walks again with the upstream that came.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor

from losscope.kernels import indices, reference
from losscope.kernels.chunked.operator import is_for_scaling, kernel_module, upstream_of, wants_gradient
from losscope.kernels.layout import gradient_like
from losscope.kernels.options import CategoricalOptions, Stats
from losscope.kernels.readable import is_plain

Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""The loss, ∂/∂z, the five statistics; what is not wanted has no elements."""

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_HAS_NUMBA = find_spec("numba") is not None


def serves(z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions) -> bool:
    """CPU tensors in a graph that is being made, of which only the logits may want a gradient."""
    return (
        torch.compiler.is_compiling()
        and _HAS_NUMBA
        and is_plain(z)
        and z.is_cpu
        and z.ndim > 1
        and z.dtype in DTYPES
        and (not target.is_floating_point() or target.dtype == z.dtype)
        and not wants_gradient(target, weight, options.normalizer)
    )


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> Tensor | tuple[Tensor, Stats]:
    """The loss; the divisor is left to torch, outside the operator."""
    upstream = upstream_of(target, weight, options, reference.upcast(z).dtype)
    wanted = torch.is_grad_enabled() and z.requires_grad
    known = None if wanted and is_for_scaling(z) else upstream
    loss, _, *stats = _call(z, target, weight, known, wanted, options)
    if upstream is not None and known is None:
        loss = (upstream * loss).sum()
    if options.reduction == "mean" and upstream is not None:
        loss = loss.masked_fill(upstream == 0, torch.nan)
    return (loss.to(z.dtype), Stats(*stats)) if options.return_stats else loss.to(z.dtype)


def _call(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    upstream: Tensor | None,
    wanted: bool,
    options: CategoricalOptions,
) -> Outputs:
    """The options as an operator's schema can hold them."""
    ignore_index, _, smoothing, gamma, z_loss, softcap, _, stats = options
    numbers = ignore_index, smoothing, gamma, z_loss, softcap, stats
    return cast(Outputs, _cross_entropy(z, target, weight, upstream, wanted, *numbers))


@torch.library.custom_op("losscope::cross_entropy", mutates_args=())
def _cross_entropy(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    upstream: Tensor | None,
    wanted: bool,
    ignore_index: int,
    label_smoothing: float,
    focal_gamma: float,
    z_loss: float,
    softcap: float | None,
    return_stats: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """ℓ_i without an upstream, Σ_i upstream_i ℓ_i and its gradient with one."""
    options = CategoricalOptions(
        ignore_index, "none", label_smoothing, focal_gamma, z_loss, softcap, None, return_stats
    )
    indices.check("cross_entropy", target, z.shape[1], ignore_index)
    now = wanted and upstream is not None
    each = None if upstream is None or not now else upstream.expand(_samples(target).shape)
    loss, stats, dz, _ = kernel_module("cpu", z.device).apart(z, target, weight, options, each)
    total = loss if upstream is None else (upstream * loss).sum()
    told = [t.clone() for t in stats or ()]  # the columns of one tensor: an operator's results may not share memory
    optional = (dz, *(told or [None] * 5))
    return cast(Outputs, (total, *(z.new_empty(0) if t is None else t for t in optional)))


def _samples(target: Tensor) -> Tensor:
    """A tensor of one element per sample."""
    return target.select(1, 0) if target.is_floating_point() else target


@_cross_entropy.register_fake
def _shapes(  # type: ignore[no-untyped-def]
    z, target, weight, upstream, wanted, *options
) -> Outputs:
    dtype = reference.upcast(z.new_empty(0)).dtype
    losses = torch.empty_like(_samples(target), dtype=dtype)
    dz = gradient_like(z) if wanted and upstream is not None else z.new_empty(0)
    kinds = (torch.bool, torch.bool, dtype, dtype, dtype)
    stats = [torch.empty_like(losses, dtype=kind) if options[-1] else z.new_empty(0) for kind in kinds]
    return cast(Outputs, (losses if upstream is None else losses.new_empty(()), dz, *stats))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    """The gradient where the forward made it, else what it comes from."""
    z, target, weight, upstream, _, ignore_index, *numbers, _ = inputs
    ctx.options = CategoricalOptions(ignore_index, "none", *numbers)
    ctx.is_made = upstream is not None
    ctx.save_for_backward(*((output[1],) if ctx.is_made else (z, target, weight)))
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    """The gradient that the forward made, times what came; or the gradient of what came."""
    rest = (None,) * 10
    if grad is None:
        return None, *rest
    if ctx.is_made:
        (dz,) = ctx.saved_tensors
        return dz * grad.to(dz.dtype), *rest
    z, target, weight = ctx.saved_tensors
    return _call(z, target, weight, grad, True, ctx.options)[1], *rest


_cross_entropy.register_autograd(_backward, setup_context=_keep)
