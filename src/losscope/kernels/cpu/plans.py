"""Of calls in float32, in one piece, reduced to one number: what their shape and options decide is decided once.

For of a small call Python is most of the price, and of a larger one whose data push it out of the caches some of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from losscope.kernels.cpu import compiled, memory, team
from losscope.kernels.cpu.autograd import Job, gradient_of
from losscope.kernels.cpu.team import NOTHING, SUSPECT

DTYPE, ELEMENT = torch.float32, 4  # bytes


class Suspect(Exception):
    """A target may be out of range."""


class Plan:
    """A kernel and its arguments, in which each call fills in where its tensors lie.

    Args:
        kernel: what computes the loss.
        arguments: everything else that it is told; `gradient` says whether one is wanted.
        size: how many raw outputs there are.
        threads: at most so many.
        job: (target, weight) to the same loss of any z and upstream gradient.
        survey: a kernel that looks at the targets beforehand.
    """

    def __init__(
        self,
        kernel: Callable[[Any], None],
        arguments: Any,
        size: int,
        threads: int,
        job: Callable[[Tensor, Tensor | None], Job],
        survey: Callable[[Any], None] | None = None,
    ) -> None:
        threads = min(threads, arguments.chunks)
        self._call = team.caller(*_function(kernel, arguments), threads)
        self._survey = None if survey is None else _function(survey, arguments).call
        self._arguments, self._scratch_size = arguments, threads * getattr(arguments, "scratch_size", 0)
        self._empty_like: Callable[..., Tensor] | None = None
        if arguments.gradient:
            self._empty_like = memory.empty_like if size * ELEMENT >= memory.SMALLEST else torch.empty_like
        self._spare: list[team.Work] = []  # that no call uses, whatever its thread
        self.job = job

    def run(self, z: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The loss, and its gradient where one is wanted; Suspect where a target may be out of range."""
        loss, gradient = torch.empty_like(_scalar()), None
        try:
            work = self._spare.pop()
        except IndexError:
            work = self._new()
        a, address, counters, _ = work
        a.z, a.target, a.result = z.data_ptr(), target.data_ptr(), loss.data_ptr()
        if self._empty_like is not None:
            gradient = self._empty_like(z)
            a.gradient = gradient.data_ptr()
        if weight is not None:
            a.weight = weight.data_ptr()
        if self._scratch_size:
            scratch = _borrow(self._scratch_size)
            a.scratch = scratch.data_ptr()
        counters[:] = NOTHING
        if self._survey is not None:
            self._survey(address)
        if not counters[SUSPECT]:
            self._call(address)
        refused = counters[SUSPECT]
        self._spare.append(work)
        if self._scratch_size:
            _idle.append(scratch)
        if refused:
            raise Suspect
        return loss, gradient

    def _new(self) -> team.Work:
        """Another set of arguments."""
        return team.work_of(type(self._arguments).from_buffer_copy(self._arguments))


_idle: list[Tensor] = []  # scratch that no call uses, for plans of any shape


def _borrow(size: int) -> Tensor:
    """Scratch of so many numbers: one that is idle where it is large enough, else a new one in its place."""
    try:
        scratch = _idle.pop()
    except IndexError:
        return torch.empty(size, dtype=DTYPE, device="cpu")
    return scratch if scratch.numel() >= size else torch.empty(size, dtype=DTYPE, device="cpu")


@cache
def _scalar() -> Tensor:
    return torch.empty((), dtype=DTYPE, device="cpu")


def _function(kernel: Callable[[Any], None], arguments: ctypes.Structure) -> compiled.Function:
    return compiled.function(kernel, type(arguments), DTYPE)


class PlainLoss(torch.autograd.Function):
    """A planned loss of z."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, target: Tensor, weight: Tensor | None, plan: Plan) -> Tensor:
        """The loss, and the gradient for an upstream of 1."""
        loss, ctx.gradient = plan.run(z, target, weight)
        ctx.save_for_backward(z, target, weight)
        ctx.plan = plan
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        """upstream · ∂loss/∂z."""
        return gradient_of(ctx, upstream, lambda saved: ctx.plan.job(*saved[1:])), None, None, None


# Without Function.apply, whose look for transforms, of which there are none here, takes a microsecond.
_apply: Callable[..., Tensor] = super(torch.autograd.Function, PlainLoss).apply


def loss_of(plan: Plan, z: Tensor, target: Tensor, weight: Tensor | None, wanted: bool) -> Tensor | None:
    """The loss, with its graph where a gradient is wanted; None where a target may be out of range."""
    try:
        return _apply(z, target, weight, plan) if wanted else plan.run(z, target, weight)[0]
    except Suspect:
        return None
