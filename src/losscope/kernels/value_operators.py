"""Losses of single values as operators of torch: how a compiled graph calls the fused CPU kernels.

``losscope::binary_cross_entropy_with_logits`` and ``losscope::mse_loss`` give the loss and, for a sum or a mean, its
gradient in the same walk; backward scales that, or walks again with what came for each value.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor

from losscope.kernels.chunked.operator import is_for_scaling, kernel_module
from losscope.kernels.layout import repeats
from losscope.kernels.options import BinaryOptions
from losscope.kernels.readable import is_plain

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_HAS_NUMBA = find_spec("numba") is not None


def serves(z: Tensor, target: Tensor, *weights: Tensor | None) -> bool:
    """CPU tensors in a graph that is being made, laid out as the kernels read them; only z may want a gradient."""
    return (
        torch.compiler.is_compiling()
        and _HAS_NUMBA
        and is_plain(z)
        and z.is_cpu
        and z.dtype in DTYPES
        and target.dtype == z.dtype
        and target.shape == z.shape
        and z.is_contiguous()
        and target.is_contiguous()
        and all(w is None or repeats(w, z) for w in weights)
        and not (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (target, *weights)))
    )


def binary_cross_entropy_with_logits(
    z: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, options: BinaryOptions
) -> Tensor:
    """The loss as an operator."""
    reduction, *numbers = options
    made = _is_made_at_once(z, reduction)
    return cast(Tensor, _labels(z, target, weight, pos_weight, *numbers, reduction, made, None)[0])


def mse_loss(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The loss as an operator."""
    made = _is_made_at_once(z, reduction)
    return cast(Tensor, _squares(z, target, weight, reduction, made, None)[0])


def _is_made_at_once(z: Tensor, reduction: str) -> bool:
    """Whether the gradient is made with the loss."""
    return reduction != "none" and torch.is_grad_enabled() and z.requires_grad and not is_for_scaling(z)


@torch.library.custom_op("losscope::binary_cross_entropy_with_logits", mutates_args=())
def _labels(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    label_smoothing: float,
    focal_gamma: float,
    ignore_index: float | None,
    reduction: str,
    wanted: bool,
    upstream: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The loss, and where it is wanted the gradient of Σ upstream · loss, the upstream being 1 where none is given."""
    options = BinaryOptions(reduction, label_smoothing, focal_gamma, ignore_index)
    kernel = kernel_module("cpu", z.device)
    loss, dz = kernel.labels_apart(z, target, weight, pos_weight, options, wanted, upstream)
    return loss, z.new_empty(0) if dz is None else dz


@torch.library.custom_op("losscope::mse_loss", mutates_args=())
def _squares(
    z: Tensor, target: Tensor, weight: Tensor | None, reduction: str, wanted: bool, upstream: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same of the squared error."""
    loss, dz = kernel_module("cpu", z.device).squares_apart(z, target, weight, reduction, wanted, upstream)
    return loss, z.new_empty(0) if dz is None else dz


def _shapes(z: Tensor, *constants: Any) -> tuple[Tensor, Tensor]:
    """A loss and a gradient without values."""
    *_, reduction, wanted, _ = constants
    loss = torch.empty_like(z) if reduction == "none" else z.new_empty(())
    return loss, torch.empty_like(z) if wanted else z.new_empty(0)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """The gradient where the forward made it, else what it comes from."""
    *ctx.constants, ctx.made, _ = inputs
    tensors = [c for c in ctx.constants if isinstance(c, Tensor)]
    ctx.save_for_backward(*((output[1],) if ctx.made else tensors))
    ctx.constants = [None if isinstance(c, Tensor) else c for c in ctx.constants]
    ctx.are_tensors = [isinstance(c, Tensor) for c in inputs[:-2]]
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _differentiable(operator: Any) -> None:
    """Tell torch the shapes and the gradient of one of the operators."""

    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        rest = [None] * (len(ctx.constants) + 1)
        if grad is None:
            return None, *rest
        if ctx.made:
            (dz,) = ctx.saved_tensors
            return dz * grad, *rest
        tensors = iter(ctx.saved_tensors)
        constants = [next(tensors) if t else c for t, c in zip(ctx.are_tensors, ctx.constants, strict=True)]
        return operator(*constants, True, grad.contiguous())[1], *rest

    operator.register_fake(_shapes)
    operator.register_autograd(backward, setup_context=_keep)


_differentiable(_labels)
_differentiable(_squares)
