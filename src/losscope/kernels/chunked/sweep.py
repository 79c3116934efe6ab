"""One walk over the rows of the layer's input: the logits of a few rows, their loss and gradient, spent at once.

The gradient dz of a chunk goes into those of the layer as soon as it is there: dx = dz W, dW += dzᵀ x, db += Σ dz.
Taking it in the forward costs 6·N·D·H operations for forward and backward, where making the logits again would cost 8.
What is held beside the layer's gradients is one chunk.

The gradient of the weight is summed in float32. For float32 and float64 that sum is the gradient itself; for float16
and bfloat16 it is a second, float32 copy of the weight's shape while the sweep runs, unless one chunk has all the rows,
or the logits are made again for it (``twice``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.chunked import products
from losscope.kernels.options import CategoricalOptions, LinearOptions, Stats

CHUNK_BYTES = 43 * 2**18
"""What the logits of one chunk may take: beside what the products take, 5 % of 2048 rows of 32000 classes."""

CHUNK_BYTES_OF_16_BITS = 2**25
"""The same where the layer has 16 bits: beside a float32 sum of the weight's gradient, to which each chunk adds. At
(2048, 512, 32000) that took half the time of chunks a third as large.
"""

ROWS_TOGETHER = 8
"""The rows of a chunk are some times as many: with 81 of them the loss took up to 2 % longer than with 80."""

FEWEST_ROWS = 64
"""With fewer, reading the weight takes longer than multiplying by it: 16 bytes against 6 operations a row."""

CLASSES_AT_ONCE = 768
"""A float32 product of few rows packs its other factor: in such blocks that stays in a core's cache."""

GPU_CHUNK_BYTES, GPU_FEWEST_ROWS, GPU_CLASSES_AT_ONCE = 2**29, 2048, 2**15
"""The same three on a GPU: each chunk adds to the weight's gradient, 8 bytes a number against 2 operations a row. On an
H100, with 4096 numbers a row and 128256 classes, the products of a chunk's rows took 1.33 times as long with 1024 rows
as with all 8192, 1.06 with 2048 and 1.02 with 4096.
"""

GPU_TWICE_BYTES, GPU_TWICE_FEWEST = 2**27, 512
"""Of a chunk that adds nothing to the weight's gradient: what it reads of the weight is 2 bytes a number against 4
operations a row. By these counts 512 rows are four times what an H100 needs to be bound by its products; not timed.
"""


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
    """ℓ_i of some rows, what else was measured, and ∂(Σ upstream_i ℓ_i)/∂z, which may lie in z's own memory.

    ``numbers`` (4, samples) are what the gradient needs of each, where the kernel can make it again from them.
    """

    loss: Tensor
    stats: Stats | None
    dz: Tensor | None
    numbers: Tensor | None = None


Rows = Callable[[Tensor, Tensor, Tensor | None, CategoricalOptions, Tensor | None], Chunk]
"""(z, target, weight, options, upstream) to a chunk; without an upstream there is no gradient to make."""

Again = Callable[[Tensor, int, Tensor, Tensor | None, CategoricalOptions, Tensor, Tensor], Tensor]
"""(z of some classes, the first of them, target, weight, options, upstream, numbers) to dz, in the memory of z."""


class Walker(NamedTuple):
    """What a kernel does with logits; ``narrow``: it takes them in the layer's dtype, whatever it computes in."""

    rows: Rows
    again: Again | None
    narrow: bool


class Memory(NamedTuple):
    """A chunk of logits in the layer's dtype, and in the one that losses are computed in: the same where they agree."""

    narrow: Tensor
    wide: Tensor

    def of_classes(self, count: int) -> Memory:
        """Of so many classes."""
        narrow = self.narrow[:, :count]
        return Memory(narrow, narrow if self.wide is self.narrow else self.wide[:, :count])


class Sweep(NamedTuple):
    """ℓ_i, what else was measured of each row, the gradients of Σ upstream_i ℓ_i, and the chunks' numbers in one."""

    losses: Tensor
    stats: Stats | None
    gradients: Gradients
    numbers: Tensor | None


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
    """``upstream`` is the gradient of what follows with respect to each ℓ_i, or None where none is to be made."""
    (rows, _, narrow), (filter_eps, recompute) = walker, linear
    if upstream is not None:
        upstream = for_each_sample(upstream, target)
    rows_at_once = _rows(layer, wanted, narrow, recompute)
    once = layer.x.is_cuda and filter_eps is None and layer.x.shape[0] > 0
    at_once = once and rows_at_once >= layer.x.shape[0]
    gradients, memory = _zeros(layer, wanted, at_once), room(layer, rows_at_once, narrow)
    chunks = []
    for part in parts(layer, rows_at_once):
        up = None if upstream is None else upstream[part]
        chunk = rows(logits(layer, part, memory), target[part], weight, options, up)
        if chunk.dz is not None and up is not None:
            kept = (
                None
                if filter_eps is None
                else kept_classes(chunk.dz, target[part], up, filter_eps, options.ignore_index)
            )
            spend(chunk.dz, layer, part, memory, gradients, kept, first=once and part.start == 0)
        chunks.append(chunk._replace(dz=None))
    del memory, chunk  # before the rounded gradient takes memory beside its sum
    losses, stats, _, numbers = zip(*chunks, strict=True)
    measured = Stats(*map(torch.cat, zip(*stats, strict=True))) if options.return_stats else None
    known = None if numbers[0] is None else torch.cat(numbers, 1)
    return Sweep(torch.cat(losses), measured, _rounded(gradients, layer), known)


def for_each_sample(upstream: Tensor, target: Tensor) -> Tensor:
    """One number, or one a sample, as one a sample."""
    return upstream.expand(target.select(1, 0).shape if target.is_floating_point() else target.shape)


def rows_of_a_chunk(row_bytes: int, most: int | None = None, fewest: int | None = None) -> int:
    """As many as keep its logits within ``CHUNK_BYTES``, or so many bytes, but not fewer than ``FEWEST_ROWS``."""
    most, fewest = CHUNK_BYTES if most is None else most, FEWEST_ROWS if fewest is None else fewest
    return max(fewest, most // max(row_bytes, 1) // ROWS_TOGETHER * ROWS_TOGETHER)


def limits(linear_weight: Tensor, *, recompute: bool) -> tuple[int, int]:
    """Bytes of a chunk at the most, and rows at the least."""
    if linear_weight.is_cuda:
        return (GPU_TWICE_BYTES, GPU_TWICE_FEWEST) if recompute else (GPU_CHUNK_BYTES, GPU_FEWEST_ROWS)
    return CHUNK_BYTES if linear_weight.element_size() > 2 else CHUNK_BYTES_OF_16_BITS, FEWEST_ROWS


def is_small(layer: Layer) -> bool:
    """The logits of all the rows take no more than a chunk does on a CPU."""
    return layer.x.shape[0] * row_bytes(layer.weight, narrow=False) <= CHUNK_BYTES


def row_bytes(linear_weight: Tensor, *, narrow: bool) -> int:
    """The logits of one row, in the layer's dtype or in the one that losses are computed in."""
    number = linear_weight.new_empty(0)
    return linear_weight.shape[:-1].numel() * (number if narrow else reference.upcast(number)).element_size()


def _rows(layer: Layer, wanted: Sequence[bool], narrow: bool, recompute: bool) -> int:
    """Rows of a chunk.

    On a GPU it may have all of them where their logits take no more memory than a chunk and the float32 sum of the
    weight's gradient, which then is not needed.
    """
    samples, each = max(layer.x.shape[0], 1), row_bytes(layer.weight, narrow=narrow)
    rows = min(rows_of_a_chunk(each, *limits(layer.weight, recompute=recompute)), samples)
    summed = 4 * layer.weight.numel() if wanted[1] and layer.weight.element_size() < 4 else 0
    return samples if layer.x.is_cuda and samples * each <= rows * each + summed else rows


def blocks(classes: int, on: Tensor) -> Iterator[slice]:
    """Slices of the classes, ``CLASSES_AT_ONCE`` each."""
    step = GPU_CLASSES_AT_ONCE if on.is_cuda else CLASSES_AT_ONCE
    return (slice(first, first + step) for first in range(0, classes, step))


def parts(layer: Layer, rows: int) -> Iterator[slice]:
    """Slices of the rows, a chunk each."""
    return (slice(start, start + rows) for start in range(0, max(layer.x.shape[0], 1), rows))


def room(layer: Layer, rows: int, narrow: bool) -> Memory:
    """One chunk, used again by each: what an allocator gives and takes in such sizes leaves holes that add up."""
    rows, classes = min(rows, layer.x.shape[0]), layer.weight.shape[:-1]
    flat = products.room_for_logits(layer.x, rows, classes.numel())
    z = flat if len(classes) == 1 else flat.unflatten(1, classes)  # type: ignore[no-untyped-call]
    return Memory(z, z if narrow or reference.upcast(z).dtype == z.dtype else z.float())


def logits(layer: Layer, part: slice, memory: Memory) -> Tensor:
    """The logits of these rows, in the dtype that the losses take."""
    x, w = layer.x[part], layer.weight.flatten(0, -2)
    z = memory.narrow[: x.shape[0]]
    for some in [slice(None)] if w.is_cuda or w.element_size() < 4 else blocks(len(w), w):
        products.logits(x, w[some], out=z.flatten(1)[:, some])
    if layer.bias is not None:
        z.add_(layer.bias)
    return z if memory.wide is memory.narrow else memory.wide[: x.shape[0]].copy_(z)


def spend(
    dz: Tensor, layer: Layer, part: slice, memory: Memory, into: Gradients, kept: Tensor | None, *, first: bool
) -> None:
    """The chain rule of a linear layer: dx = dz W, dW += dzᵀ x, db += Σ dz; of the kept classes alone, where told.

    ``first``: dW need not be read, for there is nothing in it.
    """
    w, x = layer.weight.flatten(0, -2), layer.x[part]
    if into.bias is not None:
        into.bias.add_(dz.sum(0, dtype=into.bias.dtype))
    flat = (dz if dz.dtype == x.dtype else memory.narrow[: len(x)].copy_(dz)).flatten(1)
    dx = None if into.x is None else into.x[part]
    dw = None if into.weight is None else into.weight.flatten(0, -2)
    if kept is None:
        _products(flat, w, x, dx, dw, first)
    else:
        _some_products(flat, w, x, dx, dw, kept)


def _products(dz: Tensor, w: Tensor, x: Tensor, dx: Tensor | None, dw: Tensor | None, first: bool) -> None:
    """Over all classes."""
    if dx is not None:
        products.weighted_rows(dz, w, out=dx)
    if dw is not None:
        products.add_outer(dz, x, to=dw, first=first)


def _some_products(dz: Tensor, w: Tensor, x: Tensor, dx: Tensor | None, dw: Tensor | None, kept: Tensor) -> None:
    """Over the kept classes: their columns of dz and their rows of the weight, brought together a block at a time."""
    total = None if dx is None else torch.zeros_like(dx, dtype=reference.upcast(dx).dtype)
    for some in torch.split(kept, CLASSES_AT_ONCE):
        picked = dz.index_select(1, some)
        if total is not None:
            total.add_(picked @ w.index_select(0, some))
        if dw is not None:
            dw.index_add_(0, some, (picked.T @ x).to(dw.dtype))
    if dx is not None and total is not None:
        dx.copy_(total)


def kept_classes(
    dz: Tensor, target: Tensor, upstream: Tensor, eps: float, ignore_index: int, first: int = 0
) -> Tensor | None:
    """The classes with |dz_ih| > eps |upstream_i| in some row, and those that are some row's target; None for all.

    Above and not from: dz of a row that does not count is 0, and so may its upstream be. NaN is kept. The classes are
    those from ``first`` on.
    """
    least = eps * upstream.abs().unsqueeze(1)
    kept = ~torch.cat([dz[:, some].abs().sub_(least).amax(0) <= 0 for some in blocks(dz.shape[1], dz)])
    if not target.is_floating_point():
        y = target - first
        here = (target != ignore_index) & (y >= 0) & (y < len(kept))
        kept[(y[here], *here.nonzero().T[1:])] = True
    # To bring more than half of them together takes longer than the rest of the products does.
    return None if 2 * int(kept.sum()) > kept.numel() else kept.flatten().nonzero().squeeze(1)


def _zeros(layer: Layer, wanted: Sequence[bool], at_once: bool) -> Gradients:
    """Zeros to start from. What is written once has the layer's dtype: dx, and dW of one chunk; sums are wider."""
    wide = reference.upcast(layer.x.new_empty(0)).dtype
    dtypes = (layer.x.dtype, layer.weight.dtype if at_once else wide, wide)
    return Gradients(
        *(
            torch.zeros_like(t, dtype=dtype, memory_format=laid_out_for(t)) if wants and t is not None else None
            for t, wants, dtype in zip(layer, wanted, dtypes, strict=True)
        )
    )


def laid_out_for(t: Tensor) -> torch.memory_format:
    """How a gradient of t lies: as t does, unless its rows could not be counted through then."""
    return torch.preserve_format if t.ndim < 3 else torch.contiguous_format


def _rounded(gradients: Gradients, layer: Layer) -> Gradients:
    return Gradients(
        *(None if g is None or t is None else g.to(t.dtype) for g, t in zip(gradients, layer, strict=True))
    )
