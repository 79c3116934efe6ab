"""The sweep with the logits made twice: first rows at a time, then classes at a time for the gradient of the weight.

Rows at a time, each chunk adds to the whole of dW, so a float32 sum of it has to lie somewhere. Of some classes and all
the rows dW is one product, added up in float32 as it is made and rounded once, where it shall be. The logits of these
classes are made again and their gradient comes from a few numbers of each row: 8·N·D·H operations instead of 6, and
nothing is held but a chunk.

Source: Wijmans et al. 2024, Cut your losses in large-vocabulary language models (arXiv 2411.09009), section 4.3, which
makes them again for the gradient of the input too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.chunked import sweep as once
from losscope.kernels.chunked.sweep import Gradients, Layer, Sweep, Walker
from losscope.kernels.options import CategoricalOptions, LinearOptions

CLASSES, GPU_CLASSES = once.CLASSES_AT_ONCE, 1 << 13
"""Outputs of the layer of which the gradient is taken at once."""


def sweep(
    layer: Layer,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    walker: Walker,
    upstream: Tensor | None,
    wanted: Sequence[bool],
    linear: LinearOptions,
) -> Sweep:
    """As the sweep that makes them once."""
    rest = (wanted[0], False, wanted[2])
    swept = once.sweep(layer, target, weight, options, walker, upstream, rest, linear)
    if upstream is None or not wanted[1]:
        return swept
    up = once.for_each_sample(upstream, target)
    dw = weight_gradient(layer, target, weight, options, walker, up, swept.numbers, linear.filter_eps)
    return swept._replace(gradients=swept.gradients._replace(weight=dw))


def weight_gradient(
    layer: Layer,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    walker: Walker,
    upstream: Tensor,
    numbers: Tensor | None,
    filter_eps: float | None,
) -> Tensor:
    """dW = dzᵀ x, some classes after the others."""
    assert numbers is not None
    assert walker.again is not None
    dw = torch.zeros_like(layer.weight, memory_format=once.laid_out_for(layer.weight))
    step = _classes(layer.weight)
    rows = _rows(layer, step, walker.narrow)
    memory = once.room(_part(layer, slice(0, step)), rows, walker.narrow)
    inner = upstream.shape[1:].numel()
    for first in range(0, len(dw), step):
        some = slice(first, first + step)
        part = _part(layer, some)
        room = memory.of_classes(len(part.weight))
        total = dw[some] if rows >= len(layer.x) else _sum_for(part.weight)
        for at in once.parts(layer, rows):
            up, known = upstream[at], numbers[:, at.start * inner : at.stop * inner].contiguous()
            z = once.logits(part, at, room)
            dz = walker.again(z, first, target[at], weight, options, up, known)
            kept = None
            if filter_eps is not None:
                kept = once.kept_classes(dz, target[at], up, filter_eps, options.ignore_index, first)
            once.spend(dz, part, at, room, Gradients(None, total, None), kept, first=at.start == 0 and dz.is_cuda)
        if total.dtype != dw.dtype or rows < len(layer.x):
            dw[some] = total
    return dw


def _classes(weight: Tensor) -> int:
    """Classes of a chunk, each of which may stand for several outputs."""
    outputs = GPU_CLASSES if weight.is_cuda else CLASSES
    return min(len(weight), max(1, outputs // max(1, weight.shape[1:-1].numel())))


def _rows(layer: Layer, classes: int, narrow: bool) -> int:
    """Rows of a chunk."""
    most, _ = once.limits(layer.weight, recompute=True)
    return once.rows_of_a_chunk(once.row_bytes(layer.weight[:classes], narrow=narrow), most)


def _part(layer: Layer, some: slice) -> Layer:
    """The layer of some classes."""
    return Layer(layer.x, layer.weight[some], None if layer.bias is None else layer.bias[some])


def _sum_for(weight: Tensor) -> Tensor:
    """Zeros to add to."""
    return torch.zeros(weight.shape, dtype=reference.upcast(weight[:0]).dtype, device=weight.device)
