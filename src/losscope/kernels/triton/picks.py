"""The negative log-likelihood of tensors: the arguments of its two kernels."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from losscope.kernels.layout import gradient_like, laid_out, samples_of
from losscope.kernels.triton import configurations, picked
from losscope.kernels.triton.classes import per_sample, sample_shape
from losscope.kernels.triton.launch import TYPES, Work, launch, real

SAMPLES, WARPS = 256, 4


def measure(s: Tensor, y: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """ℓ_i = −w_{y_i} s_{i,y_i}."""
    x, steps = laid_out(s)
    losses = s.new_empty(samples_of(s)[0], dtype=real(s))
    named = dict(zip(("s_outer", "s_class", "s_inner"), steps, strict=True))
    arguments = _arguments(s, y, weight, ignore_index) | named | {"s": x, "losses": losses, "ROWS": SAMPLES}
    launch(Work(picked.nll_loss, triton.cdiv(len(losses), SAMPLES), s, arguments, WARPS))
    return losses.view(sample_shape(s))


def gradient_of(
    s: Tensor, y: Tensor, weight: Tensor | None, ignore_index: int, scale: Tensor | float, upstream: Tensor
) -> Tensor:
    """∂(Σ upstream_i scale ℓ_i)/∂s, which takes nothing of s but its shape."""
    samples, classes, _ = samples_of(s)
    gradient = gradient_like(s)
    steps = laid_out(gradient)[1]
    tile = configurations.for_classes(classes, adjacent=steps[1] == 1, rich=False, double=s.dtype == torch.float64)
    upstream, upstream_step = per_sample(upstream)
    arguments = _arguments(s, y, weight, ignore_index) | {
        **dict(zip(("g_outer", "g_class", "g_inner"), steps, strict=True)),
        "scale": scale,
        "upstream": upstream,
        "upstream_step": upstream_step,
        "gradient": gradient,
        "WIDE": classes * steps[1] >= 2**31,
        "ROWS": tile.rows,
        "BLOCK": tile.block,
    }
    programs = triton.cdiv(samples, tile.rows) * triton.cdiv(classes, tile.block)
    launch(Work(picked.nll_gradient, programs, s, arguments, tile.warps))
    return gradient


def _arguments(s: Tensor, y: Tensor, weight: Tensor | None, ignore_index: int) -> dict[str, Any]:
    """What both kernels are told."""
    samples, classes, inner = samples_of(s)
    return {
        "target": y.contiguous(),
        "weight": s if weight is None else weight.contiguous(),
        "samples": samples,
        "classes": classes,
        "inner": inner,
        "ignore_index": ignore_index,
        "WEIGHTED": weight is not None,
        "REAL": TYPES[real(s)],
    }
