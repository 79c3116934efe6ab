"""Binary cross-entropy of tensors: broadcast weights, reductions, and the call of the kernel."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from losscope.kernels.layout import gradient_like
from losscope.kernels.options import BinaryOptions
from losscope.kernels.triton import configurations, labels, reduction
from losscope.kernels.triton.flat import flat
from losscope.kernels.triton.launch import TYPES, launch, real
from losscope.kernels.triton.reduction import Reduction


class Call(NamedTuple):
    """Binary cross-entropy with everything but its raw outputs fixed."""

    target: Tensor
    weight: Tensor | None
    pos_weight: Tensor | None
    options: BinaryOptions


def binary_cross_entropy(
    z: Tensor, call: Call, scale: Tensor | None, into: Tensor | None = None, unless_one: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """ℓ of every value, or for another reduction their sum in float64; and with a ``scale`` the gradient of Σ scale ℓ.

    Where ``unless_one`` is 1 nothing is done, and ``into`` stays what it is.
    """
    (target, weight, pos_weight, options), dtype = call, real(z, call.target)
    each = options.reduction == "none"
    gradient = None if scale is None else gradient_like(z) if into is None else into
    losses = z.new_empty(z.shape if each else 0, dtype=dtype)
    optional = {"weight": weight, "pos_weight": pos_weight, "scale": scale, "gradient": gradient}
    operands = {"z": z, "target": target} | {k: z if x is None else x for k, x in optional.items()}
    if each:
        operands["losses"] = losses
    rows, columns, tensors, steps = flat(z.shape, *operands.values())
    tile = configurations.for_values(rows, columns, double=dtype == torch.float64)
    programs = triton.cdiv(rows, tile.rows) * triton.cdiv(columns, tile.block)
    if not each:
        losses = z.new_empty(programs, dtype=dtype)
    arguments = {"losses": losses, "losses_row": 0, "losses_column": 0} | dict(zip(operands, tensors, strict=True))
    for name, (row, column) in zip(operands, steps, strict=True):
        arguments |= {f"{name}_row": row, f"{name}_column": column}
    arguments |= {
        "unless_one": z if unless_one is None else unless_one,
        "rows": rows,
        "columns": columns,
        "smoothing": options.label_smoothing,
        "gamma": options.focal_gamma,
        "ignore_index": 0.0 if options.ignore_index is None else float(options.ignore_index),
        "WEIGHTED": weight is not None,
        "POSITIVE": pos_weight is not None,
        "SMOOTHED": options.label_smoothing > 0,
        "FOCAL": options.focal_gamma > 0,
        "IGNORING": options.ignore_index is not None,
        "GRADIENT": gradient is not None,
        "EACH": each,
        "SKIPS": unless_one is not None,
        "REAL": TYPES[dtype],
        "QUICK": dtype == torch.float32 and z.element_size() < 4,
        "SCALED": scale is not None and scale.ndim > 0,
        "WIDE": any(columns * abs(step) >= 2**31 for _, step in [(0, 1), *steps]),
        "ROWS": tile.rows,
        "BLOCK": tile.block,
    }
    launch(labels.binary_cross_entropy, programs, z, arguments, tile.warps)
    return (losses if each else losses.sum(dtype=torch.float64)), gradient


def reduction_of(z: Tensor, call: Call) -> Reduction:
    """By N·H, by the labels that count, or by 1 for a sum."""
    number, options = z.new_empty(0, dtype=real(z, call.target)), call.options
    if options.reduction != "mean":
        return reduction.by_number(1, number)
    if options.ignore_index is None:
        return reduction.by_number(z.numel(), number)
    return reduction.by_tensor((call.target != options.ignore_index).sum().to(number.dtype))
