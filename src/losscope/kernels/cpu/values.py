"""Losses of single values, over tensors: broadcast weights, reductions, and the call of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import torch
from torch import Tensor

from losscope.kernels.cpu import compiled, memory, team
from losscope.kernels.cpu.arguments import Elementwise
from losscope.kernels.cpu.classes import Result, real
from losscope.kernels.cpu.elementwise import RUN, over_labels, over_squares
from losscope.kernels.options import BinaryOptions
from losscope.kernels.reference import as_stored

LINE = 64  # bytes to which memory that is streamed has to be aligned
BLOCK = 4 * RUN  # values, rounded up to whole rows where a weight is per column


def is_plain(weight: Tensor | None, pos_weight: Tensor | None, options: BinaryOptions) -> bool:
    """No weight of any kind, no focal loss, nothing ignored, one sum."""
    optionless = not options.focal_gamma and options.ignore_index is None and options.reduction != "none"
    return weight is None and pos_weight is None and optionless


def binary_cross_entropy_with_logits(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    options: BinaryOptions,
    *,
    gradient: bool,
    upstream: Tensor | None = None,
    check: Callable[[], None],
) -> Result:
    """The loss and, where wanted, its gradient times upstream; `check` is called where a target looks out of range."""
    ignored = None if options.ignore_index is None else as_stored(options.ignore_index, target.dtype)
    counted = z.numel() if ignored is None else int((target != ignored).sum())
    arguments = Elementwise(
        smoothing=options.label_smoothing,
        gamma=options.focal_gamma,
        ignore_index=0.0 if ignored is None else ignored,
        ignoring=ignored is not None,
        plain=is_plain(weight, pos_weight, options),
    )
    over = float(counted) if options.reduction == "mean" else 1.0
    weights = {"weight": weight, "pos_weight": pos_weight}
    return _compute(over_labels, arguments, z, target, weights, options.reduction, over, gradient, upstream, check)


def mse_loss(
    z: Tensor, target: Tensor, weight: Tensor | None, reduction: str, *, gradient: bool, upstream: Tensor | None = None
) -> Result:
    """The loss and, where wanted, its gradient times upstream."""
    over = 1.0
    if reduction == "mean":
        over = float(z.numel()) if weight is None else float(weight.double().sum())
    return _compute(over_squares, Elementwise(), z, target, {"weight": weight}, reduction, over, gradient, upstream)


def _compute(
    kernel: Callable[[Any], None],
    a: Elementwise,
    z: Tensor,
    target: Tensor,
    weights: dict[str, Tensor | None],
    reduction: str,
    over: float,
    gradient: bool,
    upstream: Tensor | None,
    check: Callable[[], None] | None = None,
) -> Result:
    z, target = z.resolve_neg(), target.resolve_neg()
    numbers, per_value = real(z.dtype), reduction == "none"
    spread = not a.plain and any(w is not None and w.numel() > 1 for w in weights.values())
    arrange(a, z.numel(), z.shape[-1] if z.ndim and spread else 1)

    out = memory.empty(tuple(z.shape), z.dtype) if gradient else None
    loss = torch.empty(z.shape if per_value else (), dtype=numbers, device=z.device)
    a.over = over
    a.scale = (1.0 / over if over else 0.0) * (1.0 if upstream is None or per_value else float(upstream))
    used = [] if a.plain else _spread_all(a, weights | {"upstream": upstream if per_value else None}, z, numbers)

    a.z, a.target = z.data_ptr(), target.data_ptr()
    a.gradient = 0 if out is None else out.data_ptr()
    a.streamed = out is not None and out.nbytes >= memory.STREAMED and out.data_ptr() % LINE == 0
    a.loss, a.result = (loss.data_ptr(), 0) if per_value else (0, loss.data_ptr())
    function, threads = compiled.function(kernel, Elementwise, z.dtype), team.team_size(a.chunks)
    suspect = team.run(*function, team.work_of(a), threads)
    del used
    if suspect and check is not None:
        check()
    return Result(loss.to(z.dtype), out, None)


def arrange(a: Elementwise, values: int, columns: int) -> None:
    """Share out the values, whole rows of so many columns together."""
    a.block, a.values = columns * ceil(BLOCK / columns), values
    a.chunk = a.block * ceil(team.chunk_size(values) / a.block)
    a.chunks = ceil(values / a.chunk)


def _spread_all(a: Elementwise, weights: dict[str, Tensor | None], z: Tensor, numbers: torch.dtype) -> list[Tensor]:
    """Every kind of weight as the kernel indexes it; the tensors that hold them."""
    return [_spread(a, name, w, z, numbers) for name, w in ({"weight": None} | weights).items()]


def _spread(a: Elementwise, name: str, weight: Tensor | None, z: Tensor, numbers: torch.dtype) -> Tensor:
    """A number for every value of a block, or of all; the tensor that holds them."""
    if weight is None or weight.numel() == 1:
        held = torch.full((a.block,), 1.0 if weight is None else float(weight), dtype=numbers, device=z.device)
    elif weight.shape == z.shape:
        held = weight.to(numbers).resolve_neg().contiguous()
        setattr(a, f"each_{name}", 1)
    else:
        held = weight.to(numbers).repeat(a.block // weight.numel())
    setattr(a, name, held.data_ptr())
    return held
