"""Plain calls, as planned: what their shape and options decide is decided once.

Of a step that takes a GPU less than a millisecond, Python is the larger part: which arguments a kernel gets, and which
of its compiled versions that is, takes longer to find out than a launch. Served are index targets of (N, H) with every
option but a normalizer and statistics, and binary labels without any, in one piece and reduced to one number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.options import REDUCED, BinaryOptions, CategoricalOptions, are_plain
from losscope.kernels.triton import autograd, classes, reduction, serves, values
from losscope.kernels.triton.autograd import Forward, Job
from losscope.kernels.triton.launch import Prepared, place
from losscope.kernels.triton.reduction import Reduction

PLANS = 64  # kept at most
VECTOR = 16  # bytes: the alignment that is compiled for
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, extras: tuple[object, ...]
) -> Tensor | None:
    """Σ ℓ_i or their mean; None where it is not served, or a target may be out of range."""
    if not _are_served(z, target, weight) or target.dtype is not torch.int64 or type(ignore_index) is not int:
        return None
    if z.ndim != 2 or target.shape != z.shape[:1]:
        return None
    if weight is not None and (weight.shape != z.shape[1:] or weight.dtype not in DTYPES):
        return None
    options = CategoricalOptions(ignore_index, reduction, *extras)  # type: ignore[arg-type]
    if not are_plain(options, soft=False) or (z.is_cpu and not _are_classes(target, z.shape[1], ignore_index)):
        return None
    wanted, weights = z.requires_grad and torch.is_grad_enabled(), None if weight is None else weight.dtype
    kept = _kept(z.shape, z.dtype, z.device, weights, wanted, options)
    if not kept:
        kept.append(OfClasses(z, target, weight, options, wanted))
    return _loss(kept[0], z, target, weight)


def binary_cross_entropy_with_logits(z: Tensor, target: Tensor, reduction: str) -> Tensor | None:
    """The same of labels."""
    if not _are_served(z, target) or target.dtype is not z.dtype or target.shape != z.shape or reduction not in REDUCED:
        return None
    if target.is_cpu and not (target.min() >= 0 and target.max() <= 1):
        return None
    wanted = z.requires_grad and torch.is_grad_enabled()
    kept = _kept(z.shape, z.dtype, z.device, wanted, reduction)
    if not kept:
        kept.append(OfLabels(z, target, BinaryOptions(reduction), wanted))
    return _loss(kept[0], z, target, None)


def _are_served(z: Tensor, *constants: Tensor | None) -> bool:
    """Tensors in one piece that lie as the kernels are compiled for."""
    if z.dtype not in DTYPES or not serves.fits(z, *constants):
        return False
    if z.dtype is not torch.float32 and torch.is_autocast_enabled(z.device.type):
        return False  # which computes the loss in float32
    return all(x is None or (x.is_contiguous() and x.data_ptr() % VECTOR == 0) for x in (z, *constants))


def _are_classes(y: Tensor, classes: int, ignore_index: int) -> bool:
    """Of an interpreted call, whose targets no device looks at."""
    return bool(((y == ignore_index) | ((y >= 0) & (y < classes))).all())


@lru_cache(maxsize=PLANS)
def _kept(*_: object) -> list[Any]:
    """Where the plan of such calls is, or will be."""
    return []


class OfClasses:
    """The launches of a cross-entropy, made from those of its first call."""

    def __init__(
        self, z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, wanted: bool
    ) -> None:
        self.wanted, self._options, self._samples = wanted, options, len(z)
        number = z.new_empty(0, dtype=torch.float32)
        by = reduction.of_samples(target, weight, options, len(z), number)
        losses, numbers, loss = self._results(z)
        work = classes.measuring(
            z, self._call(target, weight), by.scale if wanted else None, z if wanted else None, losses, numbers
        )
        self._measure = Prepared(work, "z", "target", "weight", "scale", "gradient", "losses", "numbers", "stats")
        self._count = self._divide = self._differentiate = None
        if self._samples <= reduction.ONE_PROGRAM:
            self._divide = Prepared(reduction.dividing(losses, by.divisor, loss), "losses", "divisor", "loss")
            if options.reduction == "mean":
                work = reduction.counting(target, weight, options.ignore_index, len(z), number)
                self._count = Prepared(work, "target", "weight", "numbers")
        if wanted:
            work = classes.differentiating(z, self._call(target, weight), by.scale, loss, numbers, z, unless_one=True)
            self._differentiate = Prepared(work, "z", "target", "weight", "scale", "upstream", "gradient", "numbers")

    def forward(self, z: Tensor, target: Tensor, weight: Tensor | None) -> Forward:
        """The loss and its gradient for an upstream of 1; kept are what else the gradient comes from."""
        losses, numbers, loss = self._results(z)
        gradient = torch.empty_like(z) if self.wanted else None
        by, w = self._reduction(target, weight, losses), z if weight is None else weight
        into = z if gradient is None else gradient
        self._measure(z, target, w, by.scale if self.wanted else losses, into, losses, numbers, losses)
        if self._divide is None:
            loss = reduction.reduced(losses, self._options.reduction, by.divisor, z.dtype)
        else:
            self._divide(losses, by.divisor, loss)
        return Forward(loss, gradient, None, (numbers, by.scale))

    def backward(
        self, z: Tensor, target: Tensor, weight: Tensor | None, upstream: Tensor, gradient: Tensor | None, kept: Any
    ) -> Tensor:
        """The gradient times upstream."""
        numbers, scale = kept
        if gradient is None or upstream.data_ptr() % VECTOR:
            into, made = (torch.empty_like(z), False) if gradient is None else (gradient, True)
            return classes.gradient_of(z, self._call(target, weight), scale, upstream, numbers, into, unless_one=made)
        assert self._differentiate is not None
        self._differentiate(z, target, z if weight is None else weight, scale, upstream, gradient, numbers)
        return gradient

    def reference(self, z: Tensor, target: Tensor, weight: Tensor | None) -> Tensor | tuple[Tensor, Any]:
        """The same loss in plain torch."""
        return reference.cross_entropy(z, target, weight, self._options)

    def _call(self, target: Tensor, weight: Tensor | None) -> classes.Call:
        return classes.Call(target, weight, self._options)

    def _results(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Memory for ℓ_i, for the numbers of each row, and for the loss."""
        losses = torch.empty(self._samples, dtype=torch.float32, device=z.device)
        numbers = torch.empty((4, self._samples), dtype=torch.float32, device=z.device)
        return losses, numbers, torch.empty((), dtype=z.dtype, device=z.device)

    def _reduction(self, target: Tensor, weight: Tensor | None, like: Tensor) -> Reduction:
        if self._count is None:
            return reduction.of_samples(target, weight, self._options, self._samples, like)
        numbers = torch.empty(2, dtype=torch.float32, device=like.device)
        self._count(target, target if weight is None else weight, numbers)
        return Reduction(*numbers.unbind())


class OfLabels:
    """The launches of a binary cross-entropy, made from those of its first call."""

    def __init__(self, z: Tensor, target: Tensor, options: BinaryOptions, wanted: bool) -> None:
        self.wanted, self._options = wanted, options
        call = values.Call(target, None, None, options)
        self._by = values.reduction_of(z, call)
        work = values.measuring(z, call, self._by.scale, z if wanted else None, None)
        self._programs = work.programs
        given = "z", "target", "weight", "pos_weight", "upstream", "gradient", "losses"
        self._measure, self._divide, self._differentiate = Prepared(work, *given), None, None
        losses, loss = self._results(z)
        if self._programs <= reduction.ONE_PROGRAM:
            self._divide = Prepared(reduction.dividing(losses, self._by.divisor, loss), "losses", "loss")
        if wanted:
            self._differentiate = Prepared(values.measuring(z, call, self._by.scale, z, None, loss), *given)

    def forward(self, z: Tensor, target: Tensor, _: None) -> Forward:
        """The loss and its gradient for an upstream of 1."""
        losses, loss = self._results(z)
        gradient = torch.empty_like(z) if self.wanted else None
        self._measure(z, target, z, z, z, z if gradient is None else gradient, losses)
        if self._divide is None:
            loss = reduction.reduced(losses, self._options.reduction, self._by.divisor, z.dtype)
        else:
            self._divide(losses, loss)
        return Forward(loss, gradient, None, losses)

    def backward(
        self, z: Tensor, target: Tensor, _: None, upstream: Tensor, gradient: Tensor | None, losses: Any
    ) -> Tensor:
        """The gradient times upstream."""
        if gradient is None or upstream.data_ptr() % VECTOR:
            call = values.Call(target, None, None, self._options)
            made = values.binary_cross_entropy(z, call, upstream.float() * self._by.scale)[1]
            assert made is not None
            return made
        assert self._differentiate is not None
        self._differentiate(z, target, z, z, upstream, gradient, losses)
        return gradient

    def reference(self, z: Tensor, target: Tensor, _: None) -> Tensor:
        """The same loss in plain torch."""
        return reference.binary_cross_entropy_with_logits(z, target, None, None, self._options)

    def _results(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Memory for the sum of each program, and for the loss."""
        losses = torch.empty(self._programs, dtype=torch.float32, device=z.device)
        return losses, torch.empty((), dtype=z.dtype, device=z.device)


def _loss(plan: OfClasses | OfLabels, z: Tensor, target: Tensor, weight: Any) -> Tensor:
    """The loss, with its graph where a gradient is wanted."""

    def forward(z: Tensor, _: bool) -> Forward:
        with place(z.device):
            return plan.forward(z, target, weight)

    def backward(z: Tensor, upstream: Tensor, gradient: Tensor | None, kept: Any) -> Tensor:
        with place(z.device):
            return plan.backward(z, target, weight, upstream, gradient, kept)

    job = Job(forward, backward, lambda z: plan.reference(z, target, weight), early=True, constants=(target, weight))
    return autograd.apply(z, job)[0]
