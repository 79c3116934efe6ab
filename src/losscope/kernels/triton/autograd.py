"""One autograd function for every fused loss, which never asks the device for a number.

The gradient of a sum or a mean is made on the way forward, for an upstream gradient of 1. Whether it was 1 only the
device knows: backward launches the kernel that makes the gradient anew from the logits, rounded once, and that kernel
returns at once where it was. With ``reduction="none"``, in a second backward, or where the logits' own memory shall
take the gradient, it is made in the backward alone. A backward that is itself to be differentiated goes through the
reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from losscope.errors import InputError
from losscope.kernels.options import Stats


class Forward(NamedTuple):
    """The reduced loss, the gradient for an upstream of 1, the statistics, and what the backward needs beside z."""

    loss: Tensor
    gradient: Tensor | None = None
    stats: Stats | None = None
    kept: Any = None


class Job(NamedTuple):
    """A loss with everything but its raw outputs fixed.

    Attributes:
        forward: (z, whether a gradient is wanted now) to what comes of it.
        backward: (z, upstream, gradient for an upstream of 1, what the forward kept) to the gradient times upstream,
            in the memory of the one given or in new one; that may be z itself.
        reference: z to the same loss in plain torch.
        early: whether the gradient is made in the forward.
        overwrites: whether the gradient takes z's memory.
        constants: the tensors that are fixed; a gradient that is made later than the loss needs them as they were.
    """

    forward: Callable[[Tensor, bool], Forward]
    backward: Callable[[Tensor, Tensor, Tensor | None, Any], Tensor]
    reference: Callable[[Tensor], Any]
    early: bool
    overwrites: bool = False
    constants: tuple[Tensor | None, ...] = ()


class FusedLoss(torch.autograd.Function):
    """loss(z), and beside it what else the kernel told."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, job: Job) -> Any:
        """The loss, and perhaps its gradient."""
        made = job.forward(z, job.early)
        ctx.save_for_backward(z, *job.constants)
        ctx.job, ctx.gradient, ctx.kept, ctx.spent = job, made.gradient, made.kept, False
        stats = made.stats or ()
        ctx.mark_non_differentiable(*stats)
        return (made.loss, *stats)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> Any:
        """upstream · ∂loss/∂z."""
        if ctx.spent:
            raise InputError(
                "inplace_backward=True",
                "one backward through the loss",
                "another, when the first one's gradient stands where the logits were",
                "leave inplace_backward out",
            )
        z, *_ = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable(ctx.job, z, upstream), None
        gradient, ctx.gradient = ctx.gradient, None
        result = ctx.job.backward(z, upstream.resolve_neg(), gradient, ctx.kept)
        if ctx.job.overwrites:
            increment_version(z)  # whoever saved the logits for a backward of their own learns it from torch
            ctx.spent = True
        return result, None


def _differentiable(job: Job, z: Tensor, upstream: Tensor) -> Tensor:
    """The gradient with a graph of its own."""
    with torch.enable_grad():
        gradient: Tensor = torch.autograd.grad(job.reference(z), z, upstream, create_graph=True)[0]
    return gradient


# Without Function.apply, whose look for transforms, of which there are none here, takes a microsecond.
_apply: Callable[..., tuple[Tensor, ...]] = super(torch.autograd.Function, FusedLoss).apply


def apply(z: Tensor, job: Job) -> tuple[Tensor, ...]:
    """The loss with its graph where a gradient may be wanted, else without any."""
    if torch.is_grad_enabled() and z.requires_grad:
        return _apply(z, job)
    made = job.forward(z, False)
    return (made.loss, *(made.stats or ()))
