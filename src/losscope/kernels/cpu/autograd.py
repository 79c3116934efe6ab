"""One autograd function for every fused loss: its gradient is made on the way forward.

Where the upstream gradient is 1, as it is for `loss.backward()`, backward hands that gradient over. Any other upstream,
a second backward and `reduction="none"` compute it anew from the logits, rounded once. A backward that is itself
to be differentiated goes through the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from losscope.kernels.readable import is_batch


class Job(NamedTuple):
    """A loss with everything but its raw outputs fixed.

    Attributes:
        compute: (z, gradient wanted, upstream) to (loss, gradient, the rest).
        reference: z to the same loss in plain torch.
        gradient_in_forward: whether the gradient is made in the forward.
        constants: the tensors that are fixed; a gradient that is made later than the loss needs them as they were.
    """

    compute: Callable[[Tensor, bool, Tensor | None], Any]
    reference: Callable[[Tensor], Any]
    gradient_in_forward: bool
    constants: tuple[Tensor | None, ...] = ()


class FusedLoss(torch.autograd.Function):
    """loss(z), and beside it what else the kernel told."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, job: Job) -> Any:
        """The loss, and the gradient for an upstream of 1."""
        result = job.compute(z, job.gradient_in_forward, None)
        ctx.save_for_backward(z, *job.constants)
        ctx.job, ctx.gradient = job, result.gradient
        rest = tuple(result.stats) if getattr(result, "stats", None) is not None else ()
        ctx.mark_non_differentiable(*rest)
        return (result.loss, *rest)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> Any:
        """upstream · ∂loss/∂z."""
        return gradient_of(ctx, upstream, lambda _: ctx.job), None


def gradient_of(ctx: Any, upstream: Tensor, job: Callable[[tuple[Any, ...]], Job]) -> Tensor:
    """The one that was made on the way forward, or where it does not serve, one that the job of what was saved makes.

    What was saved is unpacked once: a checkpoint gives it no second time.
    """
    if (differentiable := torch.is_grad_enabled()) or is_batch(upstream):
        saved = ctx.saved_tensors
        return _differentiable(saved[0], upstream, job(saved), create_graph=differentiable)
    gradient, ctx.gradient = ctx.gradient, None
    if gradient is None or upstream.item() != 1:
        saved = ctx.saved_tensors
        gradient = job(saved).compute(saved[0], True, upstream.resolve_neg()).gradient
    return gradient  # type: ignore[no-any-return]


def _differentiable(z: Tensor, upstream: Tensor, job: Job, *, create_graph: bool) -> Tensor:
    """The gradient by torch's operators, with a graph of its own unless told otherwise."""
    with torch.enable_grad():
        gradient: Tensor = torch.autograd.grad(job.reference(z), z, upstream, create_graph=create_graph)[0]
    return gradient


def apply(z: Tensor, job: Job) -> tuple[Tensor, ...]:
    """The loss with its graph where a gradient may be wanted, else without any."""
    if torch.is_grad_enabled() and z.requires_grad:
        return FusedLoss.apply(z, job)  # type: ignore[no-untyped-call,no-any-return]
    result = job.compute(z, False, None)
    return (result.loss, *(getattr(result, "stats", None) or ()))
