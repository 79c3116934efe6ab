"""Tensors of one shape as rows and columns, whatever their strides."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Flat(NamedTuple):
    """The shape (rows, columns), and of each tensor its two steps; a tensor is a copy only where no two describe it."""

    rows: int
    columns: int
    tensors: list[Tensor]
    steps: list[tuple[int, int]]


def flat(shape: torch.Size, *tensors: Tensor) -> Flat:
    """Every tensor, broadcast to the shape, as a matrix: dimensions merge where all of them walk on evenly."""
    expanded = [x.expand(shape) for x in tensors]
    sizes, steps = _merged(shape, [x.stride() for x in expanded])
    if len(sizes) > 2:
        expanded = [x.contiguous() for x in expanded]
        sizes, steps = _merged(shape, [x.stride() for x in expanded])
    rows, columns = [1] * (2 - len(sizes)) + sizes
    return Flat(rows, columns, expanded, [tuple([0] * (2 - len(s)) + s) for s in steps])  # type: ignore[misc]


def _merged(shape: torch.Size, strides: list[tuple[int, ...]]) -> tuple[list[int], list[list[int]]]:
    """The fewest dimensions that describe all of the strides."""
    dims = [d for d, size in enumerate(shape) if size != 1]
    apart = [
        (d, following)
        for d, following in pairwise(dims)
        if any(s[d] != s[following] * shape[following] for s in strides)
    ]
    last = [d for d, _ in apart] + dims[-1:]  # of each run of dimensions, the innermost
    sizes, first = [], 0
    for d in last:
        sizes.append(shape[first : d + 1].numel())
        first = d + 1
    return sizes, [[s[d] for d in last] for s in strides]
