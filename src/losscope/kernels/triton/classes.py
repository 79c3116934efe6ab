"""Cross-entropy of tensors: the arguments of the kernels over rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.layout import gradient_like, laid_out, samples_of
from losscope.kernels.options import CategoricalOptions, Stats
from losscope.kernels.triton import configurations, indexed, logits
from losscope.kernels.triton.launch import TYPES, Work, launch, multiprocessors, real


class Measured(NamedTuple):
    """ℓ_i, the gradient and the statistics where they were asked for, and what a later gradient needs of each row."""

    losses: Tensor
    gradient: Tensor | None
    stats: Stats | None
    numbers: Tensor


class Call(NamedTuple):
    """Cross-entropy with everything but its raw outputs fixed."""

    target: Tensor
    weight: Tensor | None
    options: CategoricalOptions


def measure(z: Tensor, call: Call, scale: Tensor | float | None, into: Tensor | None = None) -> Measured:
    """ℓ_i of every sample, and with a ``scale``, one number or one a sample, the gradient of Σ scale_i ℓ_i.

    The gradient is written ``into`` memory of z's shape, which may be z itself.
    """
    options, dtype = call.options, real(z, call.target)
    samples = samples_of(z)[0]
    gradient = None if scale is None else gradient_like(z) if into is None else into
    losses, numbers = z.new_empty(samples, dtype=dtype), z.new_empty((4, samples), dtype=dtype)
    stats = z.new_empty((4, samples), dtype=dtype) if options.return_stats else None
    launch(measuring(z, call, scale, gradient, losses, numbers, stats))
    told = None if stats is None else _stats(stats, z, call)
    return Measured(losses.view(sample_shape(z)), gradient, told, numbers)


def measuring(
    z: Tensor,
    call: Call,
    scale: Tensor | float | None,
    gradient: Tensor | None,
    losses: Tensor,
    numbers: Tensor,
    stats: Tensor | None = None,
) -> Work:
    """What writes ℓ_i, the numbers that a later gradient needs of each row, and whatever else is given."""
    if is_indexed(z, call, gradient):
        return _measuring_indexed(z, call, scale, gradient, losses, numbers)
    options, tile = call.options, _tile(z, call)
    scale, scale_step = per_sample(scale) if isinstance(scale, Tensor) else (losses if scale is None else scale, 0)
    arguments = _arguments(z, call, gradient, tile) | {
        "scale": scale,
        "scale_step": scale_step,
        "losses": losses,
        "numbers": numbers,
        "stats": losses if stats is None else stats,
        "smoothing": options.label_smoothing,
        "gamma": options.focal_gamma,
        "z_loss": options.z_loss,
        "FOCAL": options.focal_gamma > 0,
        "Z_LOSS": options.z_loss > 0,
        "STATS": stats is not None,
        "GRADIENT": gradient is not None,
        "SINGLE": tile.single,
    }
    return Work(logits.cross_entropy, triton.cdiv(len(losses), tile.rows), z, arguments, tile.warps)


def gradient_of(
    z: Tensor,
    call: Call,
    scale: Tensor | float,
    upstream: Tensor,
    numbers: Tensor,
    into: Tensor,
    *,
    unless_one: bool,
    before: int = 0,
) -> Tensor:
    """The gradient of Σ upstream_i scale ℓ_i, into memory that may be z's own.

    ``unless_one``: it is there already for an upstream of 1, and nothing is done where it is. ``before``: z, weights
    and soft targets are those of some of the classes, with so many before them.
    """
    launch(differentiating(z, call, scale, upstream, numbers, into, unless_one=unless_one, before=before))
    return into


def differentiating(
    z: Tensor,
    call: Call,
    scale: Tensor | float,
    upstream: Tensor,
    numbers: Tensor,
    into: Tensor,
    *,
    unless_one: bool,
    before: int = 0,
) -> Work:
    """What writes that gradient, from the numbers of each row."""
    upstream, upstream_step = per_sample(upstream)
    own = {
        "scale": scale,
        "upstream": upstream,
        "upstream_step": upstream_step,
        "numbers": numbers,
        "before": before,
    }
    if is_indexed(z, call, into):
        tile = configurations.for_index_again(z.shape[-1])
        arguments = _indexed_arguments(z, call, into, tile) | own | {"SKIPS": unless_one}
        programs = min(numbers.shape[1], tile.resident * multiprocessors(z.device))
        return Work(indexed.indexed_gradient, programs, z, arguments, tile.warps)
    tile = _tile(z, call)
    arguments = _arguments(z, call, into, tile) | own | {"SKIPS": unless_one}
    return Work(logits.cross_entropy_gradient, triton.cdiv(numbers.shape[1], tile.rows), z, arguments, tile.warps)


def _tile(z: Tensor, call: Call) -> configurations.Tile:
    return configurations.for_classes(
        z.shape[reference.class_dim(z)],
        adjacent=z.stride(reference.class_dim(z)) == 1,
        rich=is_rich(call),
        double=real(z, call.target) == torch.float64,
    )


def is_rich(call: Call) -> bool:
    """Whether more is asked for than an index target's loss and gradient."""
    options = call.options
    soft = call.target.is_floating_point()
    return bool(soft or options.label_smoothing or options.focal_gamma or options.softcap or options.return_stats)


VECTOR = 16
"""Numbers that rows are a multiple of where each starts as it is best read."""


def is_indexed(z: Tensor, call: Call, gradient: Tensor | None) -> bool:
    """Whether the kernel for index targets serves: long rows side by side, and no option but weights and z-loss."""
    classes = z.shape[-1]
    if (
        z.ndim > 2
        or not max(configurations.SHORT, VECTOR) < classes < 2**30
        or is_rich(call)
        or z.dtype == torch.float64
    ):
        return False
    if z.stride(-1) != 1 or (gradient is not None and gradient.stride(-1) != 1):
        return False
    return gradient is None or _row(z) == _row(gradient) or (_is_aligned(z) and _is_aligned(gradient))


def _row(z: Tensor) -> int:
    return z.stride(0) if z.ndim == 2 else 0


def _is_aligned(z: Tensor) -> bool:
    return _row(z) % VECTOR == 0


def _measuring_indexed(
    z: Tensor, call: Call, scale: Tensor | float | None, gradient: Tensor | None, losses: Tensor, numbers: Tensor
) -> Work:
    """The same by the kernel for index targets."""
    weight, options, tile = call.weight, call.options, _indexed_tile(z)
    scale, scale_step = per_sample(scale) if isinstance(scale, Tensor) else (losses if scale is None else scale, 0)
    arguments = _indexed_arguments(z, call, gradient, tile) | {
        "weight": z if weight is None else weight.contiguous(),
        "scale": scale,
        "losses": losses,
        "numbers": numbers,
        "scale_step": scale_step,
        "z_loss": options.z_loss,
        "WEIGHTED": weight is not None,
        "Z_LOSS": options.z_loss > 0,
        "GRADIENT": gradient is not None,
        "SINGLE": tile.single,
    }
    programs = min(len(losses), tile.resident * multiprocessors(z.device) or len(losses))
    return Work(indexed.indexed_cross_entropy, programs, z, arguments, tile.warps)


def _indexed_tile(z: Tensor) -> configurations.Tile:
    return configurations.for_index(z.shape[-1], 0 if _is_aligned(z) else VECTOR - 1)


def _indexed_arguments(z: Tensor, call: Call, gradient: Tensor | None, tile: configurations.Tile) -> dict[str, Any]:
    """What both kernels for index targets are told."""
    gradient = z if gradient is None else gradient
    return {
        "z": z,
        "target": call.target.contiguous(),
        "gradient": gradient,
        "samples": z.shape[0] if z.ndim == 2 else 1,
        "classes": z.shape[-1],
        "z_row": _row(z),
        "g_row": _row(gradient),
        "ignore_index": call.options.ignore_index,
        "ALIGNED": _is_aligned(z) and _is_aligned(gradient),
        "QUICK": z.element_size() < 4,
        "BLOCK": tile.block,
        "STAGES": tile.stages,
    }


def _arguments(z: Tensor, call: Call, gradient: Tensor | None, tile: configurations.Tile) -> dict[str, Any]:
    """What both kernels are told."""
    (samples, classes, inner), (target, weight, options) = samples_of(z), call
    x, z_steps = laid_out(z)
    soft = target.is_floating_point()
    target, t_steps = laid_out(target) if soft else (target.contiguous(), (0, 0, 0))
    gradient, g_steps = (x, z_steps) if gradient is None else (gradient, laid_out(gradient)[1])
    spans = [classes * abs(steps[1]) for steps in (z_steps, t_steps, g_steps)]
    return {
        "z": x,
        "target": target,
        "weight": x if weight is None else weight.contiguous(),
        "gradient": gradient,
        "samples": samples,
        "classes": classes,
        "inner": inner,
        **_named("z", z_steps),
        **_named("t", t_steps),
        **_named("g", g_steps),
        "ignore_index": options.ignore_index,
        "softcap": options.softcap or 1.0,
        "SOFT": soft,
        "WEIGHTED": weight is not None,
        "SMOOTHED": options.label_smoothing > 0,
        "CAPPED": options.softcap is not None,
        "REAL": TYPES[real(z, target)],
        "WIDE": max(spans) >= 2**31,
        "QUICK": z.element_size() < 4,
        "ROWS": tile.rows,
        "BLOCK": tile.block,
    }


def _named(name: str, steps: tuple[int, ...]) -> dict[str, int]:
    return dict(zip((f"{name}_outer", f"{name}_class", f"{name}_inner"), steps, strict=True))


def per_sample(scale: Tensor) -> tuple[Tensor, int]:
    """One number for all samples, or one for each: a tensor and its step."""
    if scale.ndim == 0:
        return scale, 0
    flat = scale.reshape(-1)
    return flat, flat.stride(0)


def sample_shape(z: Tensor) -> torch.Size:
    """The shape of z without the classes."""
    return z.shape[:1] + z.shape[2:] if z.ndim > 1 else z.shape[:0]


def _stats(stats: Tensor, z: Tensor, call: Call) -> Stats:
    shape, target = sample_shape(z), call.target
    correct, entropy, probability, lse = (column.view(shape) for column in stats)
    soft = target.is_floating_point()
    counted = torch.ones(shape, dtype=torch.bool, device=z.device) if soft else target != call.options.ignore_index
    return Stats(counted, correct != 0, entropy, probability, lse)
