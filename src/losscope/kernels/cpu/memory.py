"""Memory for gradients, kept for the next step.

A gradient of logits is large, made anew each step, and its pages are most of its price: the system clears and
maps every one at the first touch. Here the memory of a gradient that nobody holds any longer serves the
next one of its size. The tensor keeps its memory alive as any tensor does, and memory returns when the
last tensor, view or array over it is gone; so a gradient that the caller keeps is never written again.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import deque
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

SMALLEST = 1 << 22  # bytes; below it the allocator is faster, for it keeps such memory itself
KEPT = 2  # idle blocks at most
STREAMED = 12 << 20  # bytes of gradient that no cache will hold until it is read

_idle: deque[mmap.mmap] = deque(maxlen=KEPT)


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A contiguous tensor of any content."""
    size = prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return torch.empty(shape, dtype=dtype, device="cpu")
    block = _take(size)
    lease = _lease(size).from_buffer(block)
    lease.block = block
    return torch.frombuffer(lease, dtype=dtype).view(shape)


def empty_like(z: Tensor) -> Tensor:
    """The same of z's shape and dtype."""
    return empty(tuple(z.shape), z.dtype)


@lru_cache(maxsize=64)
def _lease(size: int) -> Any:
    """What a tensor holds of a block, so much of its memory: with it the block comes back."""

    class Lease(ctypes.c_char * size):  # type: ignore[misc]
        block: mmap.mmap

        def __del__(self, give_back: Any = _idle.append) -> None:
            give_back(self.block)

    return Lease


def release() -> None:
    """Give the memory that is kept for the next gradient back to the system."""
    _idle.clear()


def _take(size: int) -> mmap.mmap:
    """An idle block that fits without waste, else a new one."""
    for _ in range(len(_idle)):
        try:
            block = _idle.popleft()
        except IndexError:  # another thread was faster
            break
        if size <= len(block) <= size + size // 4:
            return block
        _idle.append(block)
    return _new(size)


def _new(size: int) -> mmap.mmap:
    """Fresh memory, in huge pages where the system has them."""
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block
