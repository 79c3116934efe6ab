"""The two products of few rows with the layer's weight, at which torch's own ``mm`` is slow on a CPU.

In float32 that is MKL. With 96 rows of 512 numbers and 32000 classes on 2 cores it made 110 to 145 GFLOP/s for the
logits and 145 for dx, where products of many rows make 195. For the logits oneDNN, also in torch, made 185, and
for dx MKL itself made 170 where it was given the classes in parts. Everywhere else it is ``mm``.
"""

from __future__ import annotations

import torch
from torch import Tensor

PARTS = 4
"""Of the classes, for dx; with more threads than parts some would be idle."""


def logits(x: Tensor, w: Tensor, *, out: Tensor) -> None:
    """x wᵀ."""
    if x.is_cpu and x.dtype == torch.float32 and _has_onednn():
        out.copy_(torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))
    else:
        torch.mm(x, w.T, out=out)


def _has_onednn() -> bool:
    """It is in this torch, and nobody switched it off."""
    return torch._C._has_mkldnn and torch._C._get_mkldnn_enabled()


def weighted_rows(dz: Tensor, w: Tensor, *, out: Tensor) -> None:
    """dz w."""
    if not (dz.is_cpu and dz.dtype == torch.float32 and 1 < torch.get_num_threads() <= PARTS):
        torch.mm(dz, w, out=out)
        return
    (rows, classes), step = dz.shape, len(w) // PARTS
    whole = PARTS * step
    each = torch.bmm(dz[:, :whole].view(rows, PARTS, step).transpose(0, 1), w[:whole].view(PARTS, step, w.shape[1]))
    torch.sum(each, 0, out=out)
    if whole < classes:
        out.addmm_(dz[:, whole:], w[whole:])
