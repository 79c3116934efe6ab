"""Cross-entropy of tensors: which of the two kernels runs, with which arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from losscope.kernels.cpu import bands, compiled, memory, team
from losscope.kernels.cpu.arguments import Categorical
from losscope.kernels.cpu.bands import over_bands
from losscope.kernels.cpu.blocks import PER_LANE, over_blocks
from losscope.kernels.cpu.categorical import over_rows
from losscope.kernels.cpu.lanes import SAMPLES, room
from losscope.kernels.cpu.plain_blocks import over_plain_blocks
from losscope.kernels.cpu.rows import BLOCK
from losscope.kernels.layout import gradient_stride, laid_out, samples_of
from losscope.kernels.options import CategoricalOptions, Stats

NARROW, SHORT = 48, 1024  # classes from which, and up to which, a row is some whole vectors of a block of rows
FEW = 128  # classes below which samples side by side are faster than a row of its own


class Result(NamedTuple):
    """ℓ_i or its reduction, the gradient and the statistics where they were asked for."""

    loss: Tensor
    gradient: Tensor | None
    stats: Stats | None


def real(dtype: torch.dtype) -> torch.dtype:
    """What elements of this dtype are computed in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def divisor(target: Tensor, weight: Tensor | None, samples: int, options: CategoricalOptions) -> float:
    """What the sum of ℓ_i is divided by: Σ v_i w_{y_i}, N for soft targets, or the given normalizer."""
    if options.reduction != "mean":
        return 1.0
    if options.normalizer is not None:
        return float(options.normalizer)
    if target.is_floating_point():
        return float(samples)
    lowest, highest = torch.aminmax(target)
    if not lowest.item() <= options.ignore_index <= highest.item():  # all count
        return float(samples if weight is None else weight.double().index_select(0, target.reshape(-1)).sum())
    counted = target != options.ignore_index
    if weight is None:
        return float(counted.sum())
    return float(weight.double()[target.where(counted, 0)].where(counted, 0).sum())


def compute(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    *,
    gradient: bool,
    upstream: Tensor | None = None,
    into: Tensor | None = None,
    wide: bool = False,
    check: Callable[[], None] | None = None,
) -> Result:
    """The loss and, where wanted, ∂(Σ_i upstream_i ℓ_i)/∂z, or of upstream times the reduced loss.

    The gradient is written ``into`` memory of z's layout, which may be z itself: a row is read before it is written.
    The loss is in the dtype it was computed in where it goes on ``wide``, and in z's where it is the result.
    `check` is called where a soft target looks out of range.
    """
    samples, classes, inner = samples_of(z)
    x, steps = laid_out(z.resolve_neg())
    soft = target.is_floating_point()
    t, target_steps = laid_out(target.resolve_neg()) if soft else (target.contiguous(), None)
    over = divisor(target, weight, samples, options)
    per_sample = options.reduction == "none"

    numbers = real(z.dtype)
    out = (_gradient_like(z) if into is None else into) if gradient else None
    loss = torch.empty(samples if per_sample else (), dtype=numbers, device=z.device)
    stats = torch.empty((4, samples) if options.return_stats else 0, dtype=numbers, device=z.device)
    w = ones(numbers) if weight is None else weight.to(numbers).resolve_neg().contiguous()
    scale, ups = _upstream(upstream, over, per_sample, numbers)

    arguments = with_options(options, z.dtype)
    arguments.z, arguments.target, arguments.weight = x.data_ptr(), t.data_ptr(), w.data_ptr()
    arguments.gradient = 0 if out is None else out.data_ptr()
    arguments.loss, arguments.result = (loss.data_ptr(), 0) if per_sample else (0, loss.data_ptr())
    arguments.upstream = 0 if ups is None else ups.data_ptr()
    arguments.stats = stats.data_ptr() if options.return_stats else 0
    arguments.samples, arguments.classes, arguments.inner = samples, classes, inner
    arguments.z_outer, arguments.z_class, arguments.z_inner = steps
    arguments.soft, arguments.weighted = soft, weight is not None
    arguments.over, arguments.scale = over, scale
    if target_steps is not None:
        arguments.target_outer, arguments.target_class, arguments.target_inner = target_steps
    if out is not None:
        _, (arguments.gradient_outer, arguments.gradient_class, arguments.gradient_inner) = laid_out(out)
    if _run(arguments, z.dtype) and check is not None:
        check()

    dtype = numbers if wide else z.dtype
    told = _stats(stats, target, z, options) if options.return_stats else None
    shape = () if not per_sample else _sample_shape(z) if soft else target.shape
    return Result(loss.view(shape).to(dtype), out, told)


def with_options(options: CategoricalOptions, dtype: torch.dtype) -> Categorical:
    """What a kernel is told of them, and of the elements."""
    return Categorical(
        element_size=dtype.itemsize,
        ignore_index=options.ignore_index,
        smoothing=options.label_smoothing,
        gamma=options.focal_gamma,
        z_loss=options.z_loss,
        softcap=options.softcap or 0.0,
        lowest=torch.finfo(real(dtype)).min,
    )


def _run(arguments: Categorical, dtype: torch.dtype) -> bool:
    """The kernel on as many threads as there are; whether a target may be out of range."""
    kernel = arrange(arguments)
    threads = team.team_size(arguments.chunks)
    scratch = torch.empty(threads * arguments.scratch_size, dtype=real(dtype), device="cpu")
    arguments.scratch = scratch.data_ptr()
    function = compiled.function(kernel, Categorical, dtype)
    return team.run(*function, team.work_of(arguments), threads)


def arrange(a: Categorical) -> Callable[[Any], None]:
    """Choose the kernel for these arguments, and share out their samples."""
    a.dense = bool(a.soft or a.smoothing or a.softcap or a.stats)
    adjacent = a.z_class == 1 and (not a.gradient or a.gradient_class == 1)
    in_bands = adjacent and (not a.soft or a.target_class == 1) and not (a.softcap or a.stats)
    if in_bands and NARROW <= a.classes <= SHORT:
        kernel, a.together = over_bands, bands.rows_of(a.classes)
        a.scratch_size = bands.scratch_size(a.classes)
    elif adjacent and a.classes >= FEW:
        kernel, a.together = over_rows, 1
        a.scratch_size = 3 * a.classes + a.classes // BLOCK + 1 + 3 * BLOCK
    else:
        plain = adjacent and a.inner == 1 and not (a.dense or a.gamma or a.z_loss)
        kernel, a.together = over_plain_blocks if plain else over_blocks, SAMPLES
        a.scratch_size = 3 * room.py_func(a.classes) + PER_LANE * SAMPLES
    whole = kernel is not over_bands or a.gradient_outer == a.classes
    a.streamed = a.gradient and whole and a.samples * a.classes * a.element_size >= memory.STREAMED
    a.chunk = max(a.together, team.chunk_size(a.samples * a.classes) // a.classes // a.together * a.together)
    a.chunks = -(-a.samples // a.chunk)
    return kernel


def _upstream(
    upstream: Tensor | None, over: float, per_sample: bool, numbers: torch.dtype
) -> tuple[float, Tensor | None]:
    """What all gradients are multiplied by, and what each is; nothing counts where the divisor is 0."""
    scale = 1.0 / over if over else 0.0
    if upstream is None:
        return scale, None
    if per_sample:
        return scale, upstream.reshape(-1).to(numbers).contiguous()
    return scale * float(upstream), None


@cache
def ones(numbers: torch.dtype) -> Tensor:
    """w_h of one block where no class has a weight."""
    return torch.ones(BLOCK, dtype=numbers, device="cpu")


def _gradient_like(z: Tensor) -> Tensor:
    """Memory for ∂/∂z with the strides torch would give it."""
    if z.is_contiguous():
        return memory.empty(tuple(z.shape), z.dtype)
    flat = memory.empty((z.numel(),), z.dtype)
    return flat.as_strided(z.shape, gradient_stride(z))


def _sample_shape(z: Tensor) -> Any:
    return z.shape[:1] + z.shape[2:] if z.ndim > 1 else z.shape[:0]


def _stats(stats: Tensor, target: Tensor, z: Tensor, options: CategoricalOptions) -> Stats:
    shape = _sample_shape(z)
    correct, entropy, probability, lse = (column.view(shape) for column in stats)
    is_index = not target.is_floating_point()
    counted = target != options.ignore_index if is_index else torch.ones(shape, dtype=torch.bool, device=z.device)
    return Stats(counted, correct != 0, entropy, probability, lse)
