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

_aten = torch.ops.aten


class Link(NamedTuple):
    """A link along a dimension: torch's function, its two kernels that write where they are told, and how to tell."""

    plain: Callable[[Tensor, int], Tensor]
    forward: Any
    backward: Any
    into: str


SOFTMAX = Link(torch.softmax, _aten._softmax.out, _aten._softmax_backward_data.out, "grad_input")
LOG_SOFTMAX = Link(torch.log_softmax, _aten._log_softmax.out, _aten._log_softmax_backward_data.out, "out")


class Pooled(torch.autograd.Function):
    """link(z), and the product of its Jacobian with what comes back."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, link: Link, dim: int) -> Tensor:
        """ŷ or s."""
        out = apart(link, z, dim)
        ctx.save_for_backward(z, out)
        ctx.link, ctx.dim = link, dim
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Torch's own, or where it is to be differentiated again, the gradient of torch's function."""
        z, out = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *torch.autograd.grad(ctx.link.plain(z, ctx.dim), z, grad, create_graph=True), None, None
        into = {ctx.link.into: memory.empty(tuple(z.shape), z.dtype)}
        return ctx.link.backward(grad, out, ctx.dim, z.dtype, **into), None, None


def apart(link: Link, z: Tensor, dim: int) -> Tensor:
    """link(z) in memory of its own."""
    out: Tensor = link.forward(z, dim, False, out=memory.empty(tuple(z.shape), z.dtype))
    return out


def along(link: Link, z: Tensor, dim: int) -> Tensor:
    """link(z), with its graph where one may be wanted."""
    if torch.is_grad_enabled() and z.requires_grad:
        return Pooled.apply(z, link, dim)  # type: ignore[no-untyped-call,no-any-return]
    return apart(link, z, dim)
