"""Plain calls, as planned: cross-entropy of (N, H) with its options, and binary labels without."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.cpu import classes, memory, team, values
from losscope.kernels.cpu.arguments import Elementwise
from losscope.kernels.cpu.autograd import Job
from losscope.kernels.cpu.elementwise import over_labels
from losscope.kernels.cpu.indices import survey
from losscope.kernels.cpu.plans import DTYPE, ELEMENT, Plan, loss_of
from losscope.kernels.options import REDUCED, BinaryOptions, CategoricalOptions, are_plain

PLANS = 64  # kept at most, of each loss


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, extras: tuple[object, ...]
) -> Tensor | None:
    """Σ ℓ_i or their mean; None where it is not served, or a target may be out of range."""
    samples, width = z.shape
    soft = target.dtype is DTYPE
    if target.shape != ((samples, width) if soft else (samples,)) or not (soft or target.dtype is torch.int64):
        return None
    if not (_is_read_as_it_lies(z, target) and (weight is None or _is_served(weight, width))):
        return None
    wanted, threads = z.requires_grad and torch.is_grad_enabled(), team.threads_at_hand()
    plan = _of_classes(samples, width, soft, weight is not None, wanted, threads, ignore_index, reduction, *extras)
    return None if plan is None else loss_of(plan, z, target, weight, wanted)


def binary_cross_entropy_with_logits(z: Tensor, target: Tensor, reduction: str) -> Tensor | None:
    """The same of labels, which have z's shape and dtype."""
    if not (_is_read_as_it_lies(z, target) and reduction in REDUCED):
        return None
    wanted = z.requires_grad and torch.is_grad_enabled()
    if z.numel() == 0:
        return None
    return loss_of(_of_labels(z.numel(), reduction, wanted, team.threads_at_hand()), z, target, None, wanted)


def _is_read_as_it_lies(z: Tensor, target: Tensor) -> bool:
    """In one piece, with no sign that torch has left for later."""
    return z.is_contiguous() and target.is_contiguous() and not z.is_neg() and not target.is_neg()


def _is_served(weight: Tensor, width: int) -> bool:
    plain = type(weight) is Tensor and weight.dtype is DTYPE and weight.is_cpu and not weight.requires_grad
    return plain and weight.shape == (width,) and weight.is_contiguous() and not weight.is_neg()


@lru_cache(maxsize=PLANS, typed=True)
def _of_classes(
    samples: int,
    width: int,
    soft: bool,
    weighted: bool,
    wanted: bool,
    threads: int,
    ignore_index: int,
    reduction: str,
    *extras: Any,
) -> Plan | None:
    """None where the checks at the edge have something to say on these options, or no kernel has them all."""
    options = CategoricalOptions(ignore_index, reduction, *extras)
    if samples * width == 0 or not are_plain(options, soft=soft):
        return None
    over = samples if soft and reduction == "mean" else 1
    a = classes.with_options(options, DTYPE)
    a.samples, a.classes, a.inner = samples, width, 1
    a.z_outer = a.target_outer = a.gradient_outer = width
    a.z_class = a.target_class = a.gradient_class = 1
    a.gradient, a.soft, a.weighted, a.weight = wanted, soft, weighted, classes.ones(DTYPE).data_ptr()
    a.over, a.scale, a.averaged = over, 1 / over, not soft and reduction == "mean"

    def job(target: Tensor, weight: Tensor | None) -> Job:
        return Job(
            lambda z, gradient, upstream: classes.compute(
                z, target, weight, options, gradient=gradient, upstream=upstream
            ),
            lambda z: reference.cross_entropy(z, target, weight, options),
            gradient_in_forward=True,
        )

    return Plan(classes.arrange(a), a, samples * width, threads, job, None if soft else survey)


@lru_cache(maxsize=PLANS)
def _of_labels(size: int, reduction: str, wanted: bool, threads: int) -> Plan:
    over, options = size if reduction == "mean" else 1, BinaryOptions(reduction)
    streamed = wanted and size * ELEMENT >= memory.STREAMED
    a = Elementwise(plain=True, gradient=wanted, streamed=streamed, over=over, scale=1 / over)
    values.arrange(a, size, columns=1)

    def job(target: Tensor, _: Tensor | None) -> Job:
        return Job(
            lambda z, gradient, upstream: values.binary_cross_entropy_with_logits(
                z, target, None, None, options, gradient=gradient, upstream=upstream, check=lambda: None
            ),
            lambda z: reference.binary_cross_entropy_with_logits(z, target, None, None, options),
            gradient_in_forward=True,
        )

    return Plan(over_labels, a, size, threads, job)
