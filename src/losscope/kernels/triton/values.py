"""Binary cross-entropy of tensors: broadcast weights, reductions, and the call of the kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from losscope.kernels.options import BinaryOptions
from losscope.kernels.reference import as_stored
from losscope.kernels.triton import configurations, labels, reduction
from losscope.kernels.triton.flat import flat
from losscope.kernels.triton.launch import TYPES, Work, launch, real
from losscope.kernels.triton.reduction import Reduction


class Call(NamedTuple):
    """Binary cross-entropy with everything but its raw outputs fixed."""

    target: Tensor
    weight: Tensor | None
    pos_weight: Tensor | None
    options: BinaryOptions


def binary_cross_entropy(z: Tensor, call: Call, scale: Tensor | float | None) -> tuple[Tensor, Tensor | None]:
    """ℓ of every value, or for another reduction of every program; and with a ``scale`` the gradient of Σ scale ℓ."""
    dtype, gradient = real(z, call.target), None if scale is None else torch.empty_like(z)
    each = z.new_empty(z.shape, dtype=dtype) if call.options.reduction == "none" else None
    work = measuring(z, call, scale, gradient, each)
    if gradient is not None and work.arguments["gradient"].data_ptr() != gradient.data_ptr():
        gradient = work.arguments["gradient"]  # of tensors that no two steps describe all are copies, in one piece
    losses = z.new_empty(work.programs, dtype=dtype) if each is None else each
    launch(work._replace(arguments=work.arguments | {"losses": losses}))
    return losses, gradient


def multiplied(z: Tensor, call: Call, scale: Tensor | float, upstream: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of Σ upstream scale ℓ, where it lies already for an upstream of 1."""
    work = measuring(z, call, scale, gradient, None, upstream)
    losses = z.new_empty(work.programs, dtype=real(z, call.target))
    launch(work._replace(arguments=work.arguments | {"losses": losses}))
    return gradient


def measuring(
    z: Tensor,
    call: Call,
    scale: Tensor | float | None,
    gradient: Tensor | None,
    each: Tensor | None,
    upstream: Tensor | None = None,
) -> Work:
    """What writes all that is given, but for the ``losses`` of the programs, of which this tells the number.

    With an ``upstream`` of 1 nothing is done, and the gradient stays what it is.
    """
    (target, weight, pos_weight, options), dtype = call, real(z, call.target)
    scaled = scale if isinstance(scale, Tensor) and scale.ndim > 0 else None
    optional = {"weight": weight, "pos_weight": pos_weight, "scale": scaled, "gradient": gradient, "losses": each}
    operands = {"z": z, "target": target} | {k: z if x is None else x for k, x in optional.items()}
    rows, columns, tensors, steps = flat(z.shape, *operands.values())
    tile = configurations.for_values(rows, columns, double=dtype == torch.float64)
    arguments: dict[str, Any] = dict(zip(operands, tensors, strict=True))
    for name, (row, column) in zip(operands, steps, strict=True):
        arguments |= {f"{name}_row": row, f"{name}_column": column}
    if scaled is None and scale is not None:
        arguments["scale"] = scale
    arguments |= {
        "upstream": z if upstream is None else upstream,
        "rows": rows,
        "columns": columns,
        "smoothing": options.label_smoothing,
        "gamma": options.focal_gamma,
        "ignore_index": 0.0 if options.ignore_index is None else as_stored(options.ignore_index, target.dtype),
        "WEIGHTED": weight is not None,
        "POSITIVE": pos_weight is not None,
        "SMOOTHED": options.label_smoothing > 0,
        "FOCAL": options.focal_gamma > 0,
        "IGNORING": options.ignore_index is not None,
        "GRADIENT": gradient is not None,
        "EACH": each is not None,
        "SKIPS": upstream is not None,
        "REAL": TYPES[dtype],
        "QUICK": dtype == torch.float32 and z.element_size() < 4,
        "SCALED": scaled is not None,
        "WIDE": any(columns * abs(step) >= 2**31 for _, step in [(0, 1), *steps]),
        "ROWS": tile.rows,
        "BLOCK": tile.block,
    }
    programs = triton.cdiv(rows, tile.rows) * triton.cdiv(columns, tile.block)
    return Work(labels.binary_cross_entropy, programs, z, arguments, tile.warps)


def reduction_of(z: Tensor, call: Call) -> Reduction:
    """By N·H, by the labels that count, or by 1 for a sum."""
    number, options = z.new_empty(0, dtype=real(z, call.target)), call.options
    if options.reduction != "mean":
        return reduction.by_number(1.0, number)
    if options.ignore_index is None:
        return reduction.by_number(z.numel(), number)
    return reduction.by_tensor((call.target != options.ignore_index).sum().to(number.dtype))
