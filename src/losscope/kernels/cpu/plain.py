"""Plain calls in training: index targets or labels without options, in one piece, of float32.

Of a small call Python is most of the price. So what the shape decides is decided once, and kept as a plan.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.cpu import classes, compiled, memory, team, values
from losscope.kernels.cpu.arguments import Categorical, Elementwise
from losscope.kernels.cpu.autograd import Job, gradient_of
from losscope.kernels.cpu.elementwise import over_labels
from losscope.kernels.cpu.indices import survey
from losscope.kernels.cpu.team import NOTHING, SUSPECT
from losscope.kernels.options import BinaryOptions, CategoricalOptions

DTYPE, ELEMENT = torch.float32, 4  # bytes
PLANS = 64  # kept at most
REDUCED = ("mean", "sum")


class Suspect(Exception):
    """A target may be out of range."""


class Work(NamedTuple):
    """The arguments of one call at a time."""

    arguments: Any
    address: int
    counters: Any
    memory: Any


class Plan:
    """A kernel and its arguments, in which each call fills in where its tensors lie.

    `_spare` holds the arguments that no call uses, whatever its thread.
    """

    def __init__(self, kernel: Any, arguments: Any, size: int, threads: int, scratch_size: int) -> None:
        threads = min(threads, arguments.chunks)
        self._call = team.caller(*_function(kernel, arguments), threads)
        self._arguments, self._scratch_size = arguments, threads * scratch_size
        is_small = size * ELEMENT < memory.SMALLEST
        self._empty_like: Callable[[Tensor], Tensor] = torch.empty_like if is_small else memory.empty_like
        self._survey: Callable[[int], None] | None = None  # of the targets, before the kernel picks
        self._spare: list[Work] = []

    def run(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and its gradient."""
        gradient, loss = self._empty_like(z), torch.empty_like(_scalar())
        try:
            work = self._spare.pop()
        except IndexError:
            work = self._new()
        a, address, counters, _ = work
        a.z, a.target, a.gradient, a.result = z.data_ptr(), target.data_ptr(), gradient.data_ptr(), loss.data_ptr()
        counters[:] = NOTHING
        if self._survey is not None:
            self._survey(address)
        if not counters[SUSPECT]:
            self._call(address)
        refused = counters[SUSPECT]
        self._spare.append(work)
        if refused:
            raise Suspect
        return loss, gradient

    def _new(self) -> Work:
        """Another set of arguments, and its scratch."""
        arguments = type(self._arguments).from_buffer_copy(self._arguments)
        scratch = torch.empty(self._scratch_size, dtype=DTYPE, device="cpu")
        if self._scratch_size:
            arguments.scratch = scratch.data_ptr()
        shared = team.work_of(arguments)
        return Work(arguments, shared.address, shared.counters, (shared, scratch))

    def job(self, target: Tensor) -> Job:
        """The same loss of any z and upstream gradient."""
        raise NotImplementedError


class IndexPlan(Plan):
    """Cross-entropy with index targets."""

    def __init__(self, samples: int, width: int, options: CategoricalOptions, threads: int) -> None:
        arguments = Categorical(
            weight=classes.ones(DTYPE).data_ptr(),
            gradient=1,  # wanted
            samples=samples,
            classes=width,
            inner=1,
            z_outer=width,
            z_class=1,
            gradient_outer=width,
            gradient_class=1,
            element_size=ELEMENT,
            ignore_index=options.ignore_index,
            lowest=torch.finfo(DTYPE).min,
            averaged=options.reduction == "mean",
            over=1,
            scale=1,
        )
        kernel = classes.arrange(arguments)
        super().__init__(kernel, arguments, samples * width, threads, arguments.scratch_size)
        self._options, self._survey = options, _function(survey, arguments).call

    def job(self, target: Tensor) -> Job:
        """Of these targets."""
        return Job(
            lambda z, gradient, upstream: classes.compute(
                z, target, None, self._options, gradient=gradient, upstream=upstream
            ),
            lambda z: reference.cross_entropy(z, target, None, self._options),
            gradient_in_forward=True,
        )


class LabelPlan(Plan):
    """Binary cross-entropy with logits."""

    def __init__(self, size: int, options: BinaryOptions, threads: int) -> None:
        over = size if options.reduction == "mean" else 1
        arguments = Elementwise(plain=True, streamed=size * ELEMENT >= memory.STREAMED, over=over, scale=1 / over)
        values.arrange(arguments, size, columns=1)
        super().__init__(over_labels, arguments, size, threads, scratch_size=0)
        self._options = options

    def job(self, target: Tensor) -> Job:
        """Of these labels, which have been looked at."""
        return Job(
            lambda z, gradient, upstream: values.binary_cross_entropy_with_logits(
                z, target, None, None, self._options, gradient=gradient, upstream=upstream, check=lambda: None
            ),
            lambda z: reference.binary_cross_entropy_with_logits(z, target, None, None, self._options),
            gradient_in_forward=True,
        )


@cache
def _scalar() -> Tensor:
    return torch.empty((), dtype=DTYPE, device="cpu")


def _function(kernel: Any, arguments: ctypes.Structure) -> compiled.Function:
    return compiled.function(kernel, type(arguments), DTYPE)


class PlainLoss(torch.autograd.Function):
    """A planned loss of z."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, target: Tensor, plan: Plan) -> Tensor:
        """The loss, and the gradient for an upstream of 1."""
        loss, ctx.gradient = plan.run(z, target)
        ctx.save_for_backward(z, target)
        ctx.plan = plan
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        """upstream · ∂loss/∂z."""
        return gradient_of(ctx, upstream, lambda: ctx.plan.job(ctx.saved_tensors[1])), None, None


# Without Function.apply, whose look for transforms, of which there are none here, takes a microsecond.
_apply: Callable[..., Tensor] = super(torch.autograd.Function, PlainLoss).apply


@lru_cache(maxsize=PLANS)
def _of_indices(samples: int, width: int, ignore_index: int, reduction: str, threads: int) -> IndexPlan:
    return IndexPlan(samples, width, CategoricalOptions(ignore_index, reduction), threads)


@lru_cache(maxsize=PLANS)
def _of_labels(size: int, reduction: str, threads: int) -> LabelPlan:
    return LabelPlan(size, BinaryOptions(reduction), threads)


def cross_entropy(z: Tensor, y: Tensor, ignore_index: int, reduction: str) -> Tensor | None:
    """Σ ℓ_i or their mean; None where the tensors do not fit, or a target is out of range."""
    samples, width = z.shape
    if y.shape != (samples,) or not (z.is_contiguous() and y.is_contiguous()) or reduction not in REDUCED:
        return None
    try:
        return _apply(z, y, _of_indices(samples, width, ignore_index, reduction, team.threads_at_hand()))
    except Suspect:
        return None


def binary_cross_entropy_with_logits(z: Tensor, target: Tensor, reduction: str) -> Tensor | None:
    """The same of labels, which have z's shape."""
    if not (z.is_contiguous() and target.is_contiguous()) or reduction not in REDUCED:
        return None
    try:
        return _apply(z, target, _of_labels(z.numel(), reduction, team.threads_at_hand()))
    except Suspect:
        return None
