"""The three products of a chunk of rows with the layer, where torch's own ``mm`` is slow.

On a CPU in float32 that is MKL. With 96 rows of 512 numbers and 32000 classes on 2 cores it made 110 to 145 GFLOP/s for
the logits and 145 for dx, where products of many rows make 195. For the logits oneDNN, also in torch, made 185, and
for dx MKL itself made 170 where it was given the classes in parts.

On a GPU it is cuBLAS where the classes are no multiple of what it reads at once: with 50257 of them and 768 numbers a
row the three products took 16.3 ms on an H100. So the last few classes are a product of their own, and the rows of
logits are further apart than they are long. The products of 16 bits are added up in float32 as they are made.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_PARTS = 4
"""Of the classes, for dx, one for each thread; with more threads it was not measured."""

ROUNDED_AT_ONCE = 8192
"""Rows of the weight: with 768 the products of 256 rows of bfloat16 took three times as long as with so many."""

EVEN = 64
"""Numbers: rows of logits are a multiple of it apart on a GPU, and so are the classes of a large product."""


def logits(x: Tensor, w: Tensor, *, out: Tensor) -> None:
    """x wᵀ."""
    if x.is_cpu and x.dtype == torch.float32 and _has_onednn():
        out.copy_(torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))
    elif x.is_cuda:
        for some in _even(len(w)):
            torch.mm(x, w[some].T, out=out[:, some])
    else:
        torch.mm(x, w.T, out=out)


def _even(classes: int) -> list[slice]:
    """The last few classes, where there are such, and all the others."""
    whole = classes // EVEN * EVEN
    return [some for some in (slice(whole, classes), slice(0, whole)) if some.start < some.stop]


def room_for_logits(x: Tensor, rows: int, classes: int) -> Tensor:
    """Memory of (rows, classes) in the dtype and on the device of x."""
    apart = -(-classes // EVEN) * EVEN if x.is_cuda else classes
    return x.new_empty(rows, apart)[:, :classes]


def _has_onednn() -> bool:
    """It is in this torch, and nobody switched it off."""
    return torch._C._has_mkldnn and torch._C._get_mkldnn_enabled()


def weighted_rows(dz: Tensor, w: Tensor, *, out: Tensor) -> None:
    """dz w."""
    if dz.is_cuda:
        first, *others = _even(len(w))
        torch.mm(dz[:, first], w[first], out=out)
        for some in others:
            out.addmm_(dz[:, some], w[some])
        return
    parts = torch.get_num_threads()
    if not (dz.is_cpu and dz.dtype == torch.float32 and 1 < parts <= MOST_PARTS):
        torch.mm(dz, w, out=out)
        return
    (rows, classes), step = dz.shape, len(w) // parts
    whole = parts * step
    each = torch.bmm(dz[:, :whole].view(rows, parts, step).transpose(0, 1), w[:whole].view(parts, step, w.shape[1]))
    torch.sum(each, 0, out=out)
    if whole < classes:
        out.addmm_(dz[:, whole:], w[whole:])


def add_outer(dz: Tensor, x: Tensor, *, to: Tensor, first: bool) -> None:
    """Adds dzᵀ x, on a GPU without rounding it before; as the ``first`` it takes the place of what is there."""
    if first:
        if dz.dtype == to.dtype:
            torch.mm(dz.T, x, out=to)
        else:
            torch.mm(dz.T, x, out_dtype=to.dtype, out=to)
    elif dz.dtype == to.dtype:
        to.addmm_(dz.T, x)
    elif dz.is_cuda:
        torch.addmm(to, dz.T, x, out_dtype=to.dtype, out=to)
    else:  # a CPU makes a product in low precision before it is added
        for some in (slice(at, at + ROUNDED_AT_ONCE) for at in range(0, len(to), ROUNDED_AT_ONCE)):
            to[some].add_(dz[:, some].T @ x)
