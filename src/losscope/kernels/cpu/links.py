"""Links of many logits: torch's own kernels, writing to memory that is kept for the next call.

What a link gives is as large as what it takes, and fresh pages for it, twice with its gradient, cost several times the
exponentials themselves: see :mod:`losscope.kernels.cpu.memory`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from losscope.kernels.cpu import memory
from losscope.kernels.readable import is_batch

_aten = torch.ops.aten


class Link(NamedTuple):
    """A link along a dimension: torch's backward, its two kernels that write where they are told, and how to tell."""

    jacobian: Callable[[Tensor, Tensor, int, torch.dtype], Tensor]
    forward: Any
    backward: Any
    into: str


SOFTMAX = Link(_aten._softmax_backward_data, _aten._softmax.out, _aten._softmax_backward_data.out, "grad_input")
LOG_SOFTMAX = Link(
    _aten._log_softmax_backward_data, _aten._log_softmax.out, _aten._log_softmax_backward_data.out, "out"
)


class Pooled(torch.autograd.Function):
    """link(z), and the product of its Jacobian with what comes back."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, link: Link, dim: int) -> Tensor:
        """ŷ or s."""
        out = apart(link, z, dim)
        ctx.save_for_backward(out)
        ctx.link, ctx.dim = link, dim
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Torch's own, in kept memory unless it is to be differentiated again; of many at once, in new memory."""
        (out,) = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batch(grad):
            return ctx.link.jacobian(grad, out, ctx.dim, out.dtype), None, None
        into = {ctx.link.into: memory.empty(tuple(out.shape), out.dtype)}
        return ctx.link.backward(grad, out, ctx.dim, out.dtype, **into), None, None


def apart(link: Link, z: Tensor, dim: int) -> Tensor:
    """link(z) in memory of its own."""
    out: Tensor = link.forward(z, dim, False, out=memory.empty(tuple(z.shape), z.dtype))
    return out


def along(link: Link, z: Tensor, dim: int) -> Tensor:
    """link(z), with its graph where one may be wanted."""
    if torch.is_grad_enabled() and z.requires_grad:
        return Pooled.apply(z, link, dim)  # type: ignore[no-untyped-call,no-any-return]
    return apart(link, z, dim)
