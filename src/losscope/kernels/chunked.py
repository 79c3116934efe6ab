"""The last linear layer and its loss, a few rows at a time: the logits are never held.

A sweep makes the logits of a few rows, their loss and their gradient dz, and at once spends dz on the gradients of
the layer: dx = dz W, dW += dzᵀ x, db += Σ dz. Taking the gradient in the forward costs 6·N·D·H operations for forward
and backward, where making the logits again would cost 8. What is held beside the gradients themselves is one chunk.

The gradient of the weight is summed in float32. For float32 and float64 that sum is the gradient itself; for float16
and bfloat16 it is a second, float32 copy of the weight's shape while the sweep runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.options import CategoricalOptions, Stats
from losscope.kernels.readable import readable

Loss = Callable[[Tensor, Tensor, Tensor | None, CategoricalOptions], Tensor | tuple[Tensor, Stats]]

CHUNK_BYTES = 12 * 2**20
"""What the logits of one chunk may take; their gradient takes as much again."""
FEWEST_ROWS = 64
"""With fewer, reading the weight takes longer than multiplying by it: 16 bytes against 6 operations a row."""

CLASSES_AT_ONCE = 1024
"""A product of few rows packs its other factor: in such blocks that stays in a core's cache."""


class Layer(NamedTuple):
    """The linear layer: its input (N, D), its weight (H, …, D) and its bias (H, …)."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None


class Gradients(NamedTuple):
    """Of the layer's three, None where nobody wants it."""

    x: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


class Chunk(NamedTuple):
    """ℓ_i of some rows, what else was measured, and ∂(Σ upstream_i ℓ_i)/∂z, which may lie in z's own memory."""

    loss: Tensor
    stats: Stats | None
    dz: Tensor | None


Rows = Callable[[Tensor, Tensor, Tensor | None, CategoricalOptions, Tensor | None], Chunk]
"""(z, target, weight, options, upstream) to a chunk; without an upstream there is no gradient to make."""


class Memory(NamedTuple):
    """A chunk of logits in the layer's dtype, and in the one that losses are computed in: the same where they agree."""

    narrow: Tensor
    wide: Tensor


class Sweep(NamedTuple):
    """ℓ_i, what else was measured of each row, and the gradients of Σ upstream_i ℓ_i."""

    losses: Tensor
    stats: Stats | None
    gradients: Gradients


def linear_cross_entropy(
    layer: Layer, target: Tensor, weight: Tensor | None, options: CategoricalOptions, rows: Rows
) -> Tensor | tuple[Tensor, Stats]:
    """The loss of the layer's logits; ``rows`` is the cross-entropy of a chunk of them."""
    dtype, layer = layer.x.dtype, _autocast(layer)
    wanted = tuple(torch.is_grad_enabled() and t is not None and t.requires_grad for t in layer)
    result, *stats = _Linear.apply(*layer, target, weight, options, wanted, rows)  # type: ignore[no-untyped-call]
    result = result.to(torch.float32 if torch.is_autocast_enabled(result.device.type) else dtype)
    return (result, Stats(*stats)) if options.return_stats else result


def serves(x: Tensor, linear_weight: Tensor, target: Tensor, weight: Tensor | None) -> bool:
    """The logits are more than one chunk, and nothing but the layer may want a gradient."""
    return (
        readable(x)
        and x.ndim == 2
        and x.shape[0] * _row_bytes(linear_weight) > CHUNK_BYTES
        and not (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (target, weight)))
    )


def _autocast(layer: Layer) -> Layer:
    """The layer in autocast's dtype, as its own rule for ``linear`` would have it."""
    device = layer.x.device.type
    if not torch.is_autocast_enabled(device) or layer.x.dtype == torch.float64:
        return layer
    dtype = torch.get_autocast_dtype(device)
    return Layer(layer.x.to(dtype), layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype))


def sweep(
    layer: Layer,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    rows: Rows,
    upstream: Tensor,
    wanted: tuple[bool, ...],
) -> Sweep:
    """One walk over the rows; ``upstream`` is the gradient of what follows with respect to each ℓ_i."""
    each = options._replace(reduction="none", normalizer=None)
    upstream = upstream.expand(target.select(1, 0).shape if target.is_floating_point() else target.shape)
    gradients, memory = _zeros(layer, wanted), _memory(layer)
    chunks = []
    for part in _parts(layer):
        z = _logits(layer, part, memory)
        chunk = rows(z, target[part], weight, each, upstream[part] if any(wanted) else None)
        if chunk.dz is not None:
            _spend(chunk.dz, layer, part, memory, gradients)
        chunks.append(chunk._replace(dz=None))
    losses, stats, _ = zip(*chunks, strict=True)
    measured = Stats(*map(torch.cat, zip(*stats, strict=True))) if options.return_stats else None
    return Sweep(torch.cat(losses), measured, _rounded(gradients, layer))


def _memory(layer: Layer) -> Memory:
    """One chunk, used again by each: what an allocator gives and takes in such sizes leaves holes that add up."""
    rows = min(rows_of_a_chunk(_row_bytes(layer.weight)), layer.x.shape[0])
    narrow = layer.x.new_empty(rows, *layer.weight.shape[:-1])
    return Memory(narrow, narrow if reference.upcast(layer.x).dtype == layer.x.dtype else narrow.float())


def _logits(layer: Layer, part: slice, memory: Memory) -> Tensor:
    """The logits of these rows, in the dtype that losses are computed in."""
    x, w = layer.x[part], layer.weight.flatten(0, -2)
    z = memory.narrow[: x.shape[0]]
    for first in range(0, len(w), CLASSES_AT_ONCE):
        some = slice(first, first + CLASSES_AT_ONCE)
        torch.mm(x, w[some].T, out=z.flatten(1)[:, some])
    if layer.bias is not None:
        z.add_(layer.bias)
    return z if memory.wide is memory.narrow else memory.wide[: x.shape[0]].copy_(z)


def by_autograd(loss_of: Loss) -> Rows:
    """The rows of a loss that torch differentiates."""

    def rows(
        z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, upstream: Tensor | None
    ) -> Chunk:
        z = z.detach().requires_grad_(upstream is not None)
        with torch.set_grad_enabled(upstream is not None):
            result = loss_of(z, target, weight, options)
        loss, stats = result if isinstance(result, tuple) else (result, None)
        if upstream is None:
            return Chunk(loss, stats, None)
        (dz,) = torch.autograd.grad(loss, z, upstream.to(loss.dtype))
        return Chunk(loss.detach(), stats, dz)

    return rows


def _spend(dz: Tensor, layer: Layer, part: slice, memory: Memory, into: Gradients) -> None:
    """The chain rule of a linear layer: dx = dz W, dW += dzᵀ x, db += Σ dz."""
    w, x = layer.weight.flatten(0, -2), layer.x[part]
    flat = (dz if dz.dtype == x.dtype else memory.narrow[: len(x)].copy_(dz)).flatten(1)
    if into.x is not None:
        torch.mm(flat, w, out=into.x[part])
    if into.weight is not None:
        total = into.weight.flatten(0, -2)
        if total.dtype == flat.dtype:
            total.addmm_(flat.T, x)
        else:
            total.add_(flat.T @ x)
    if into.bias is not None:
        into.bias.add_(dz.sum(0))


def upstream_of(divisor: Tensor, options: CategoricalOptions) -> Tensor:
    """The derivative of the reduced loss by each ℓ_i: 1, or 1/divisor, or 0 when nothing counts."""
    if options.reduction != "mean":
        return torch.ones((), dtype=divisor.dtype, device=divisor.device)
    total = divisor.sum() if options.normalizer is None else torch.as_tensor(options.normalizer).reshape(()).to(divisor)
    nothing = total == 0
    return (1 / total.masked_fill(nothing, 1)).masked_fill(nothing, 0)


class _Linear(torch.autograd.Function):
    """The gradients are taken in the forward; the first backward hands them over, a further one sweeps again."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        linear_weight: Tensor,
        linear_bias: Tensor | None,
        target: Tensor,
        weight: Tensor | None,
        options: CategoricalOptions,
        wanted: tuple[bool, ...],
        rows: Rows,
    ) -> tuple[Tensor, ...]:
        each = reference.divisor(target, weight, options, reference.upcast(x).dtype)
        upstream = upstream_of(each, options)
        now = wanted if options.reduction != "none" else (False,) * 3
        swept = sweep(Layer(x, linear_weight, linear_bias), target, weight, options, rows, upstream, now)
        ctx.save_for_backward(x, linear_weight, linear_bias, target, weight, upstream)
        ctx.options, ctx.wanted, ctx.rows = options, wanted, rows
        ctx.gradients = swept.gradients if any(now) else None
        stats = swept.stats or ()
        ctx.mark_non_differentiable(*stats)
        return reference.reduce(swept.losses, each, options.reduction, options.normalizer), *stats

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, linear_weight, linear_bias, target, weight, upstream = ctx.saved_tensors
        layer, rest = Layer(x, linear_weight, linear_bias), (None,) * 5
        if torch.is_grad_enabled():
            return *_differentiable(layer, target, weight, ctx.options, ctx.wanted, grad), *rest
        if ctx.options.reduction == "none":
            return *sweep(layer, target, weight, ctx.options, ctx.rows, grad, ctx.wanted).gradients, *rest
        held, ctx.gradients = ctx.gradients, None
        if held is None:
            return *sweep(layer, target, weight, ctx.options, ctx.rows, grad * upstream, ctx.wanted).gradients, *rest
        if grad.item() != 1:
            held = Gradients(*(None if g is None else g.mul_(grad) for g in held))
        return *held, *rest


def _differentiable(
    layer: Layer,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    wanted: tuple[bool, ...],
    grad: Tensor,
) -> Iterator[Tensor | None]:
    """The gradients as functions of the layer, for a second derivative: the reference, with the logits in memory."""
    plain = options._replace(return_stats=False)
    loss = reference.linear_cross_entropy(layer.x, layer.weight, target, layer.bias, weight, plain)
    assert isinstance(loss, Tensor)
    inputs = [t for t, w in zip(layer, wanted, strict=True) if w and t is not None]
    gradients = iter(torch.autograd.grad(loss, inputs, grad.to(loss.dtype), create_graph=True))
    return (next(gradients) if w else None for w in wanted)


def rows_of_a_chunk(row_bytes: int) -> int:
    """As many as keep the logits of a chunk within ``CHUNK_BYTES``, but not fewer than ``FEWEST_ROWS``."""
    return max(FEWEST_ROWS, CHUNK_BYTES // max(row_bytes, 1))


def _parts(layer: Layer) -> Iterator[slice]:
    """Slices of the rows, a chunk each."""
    rows = rows_of_a_chunk(_row_bytes(layer.weight))
    return (slice(start, start + rows) for start in range(0, max(layer.x.shape[0], 1), rows))


def _row_bytes(linear_weight: Tensor) -> int:
    """The logits of one row, in the dtype that they are computed in."""
    return linear_weight[..., 0].numel() * reference.upcast(linear_weight.new_empty(0)).element_size()


def _zeros(layer: Layer, wanted: tuple[bool, ...]) -> Gradients:
    """Zeros to start from: dx is written once, so it has the input's dtype; dW and db are sums."""
    x, *sums = (torch.zeros_like(t) if w and t is not None else None for t, w in zip(layer, wanted, strict=True))
    return Gradients(x, *(None if t is None else reference.upcast(t) for t in sums))


def _rounded(gradients: Gradients, layer: Layer) -> Gradients:
    return Gradients(
        *(None if g is None or t is None else g.to(t.dtype) for g, t in zip(gradients, layer, strict=True))
    )
