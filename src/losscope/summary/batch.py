"""Batches as rows: the class last, in blocks of bounded size, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from losscope.summary.worst import AXES

_BLOCK = 1 << 22  # numbers in a block: 32 MiB of float64


class Block(NamedTuple):
    """Some samples: the numbers of the first and the one after the last."""

    start: int
    stop: int


def blocks(samples: int, size: int) -> Iterator[Block]:
    """All samples, so many at a time that a block holds 2^22 numbers, ``size`` for each sample."""
    step = max(1, _BLOCK // max(size, 1))
    return (Block(i, min(i + step, samples)) for i in range(0, samples, step))


def plain(x: Tensor) -> Tensor:
    """Without gradient, and no subclass of a tensor."""
    return x.detach().as_subclass(torch.Tensor)


def shape_only(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor on the CPU of this shape, of one element: to check another against."""
    return torch.empty((), dtype=dtype).expand(shape)


def rows(x: Tensor) -> NDArray[Any]:
    """(N, H, d_1, …) as (N·d_1·…, H), and (N, d_1, …) given as (N, 1, d_1, …) likewise; low precision as float32."""
    x = x.movedim(1, -1).reshape(-1, x.shape[1]).cpu()
    x = x if x.dtype in (torch.float32, torch.float64, torch.int64) else x.float()
    return x.contiguous().numpy()


def places(index: Tensor, inner: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row of ``rows`` the number of its sample, and its subscripts in the further dimensions."""
    count = math.prod(inner)
    numbers = index.cpu().numpy().repeat(count)
    kept = inner[: AXES - 1] + ((math.prod(inner[AXES - 1 :]),) if len(inner) >= AXES else ())
    subscripts = np.stack(np.unravel_index(np.arange(count), kept), 1) if kept else np.empty((count, 0), np.int64)
    return numbers, np.tile(subscripts, (len(index), 1))
