"""Several threads run one compiled function until the work is shared out.

A kernel takes one address, of its arguments, and draws chunk after chunk from a counter there; so it runs on any
number of threads, and the result doesn't depend on that number. The threads are those of torch's own
OpenMP runtime, where it can be reached: a second pool would fight for the cores with torch's, whose threads spin
for a while after their work. Elsewhere Python's threads do the same. A forked child runs on one thread,
because OpenMP's threads don't survive a fork.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

DRAWS, SMALLEST, LARGEST = 128, 1 << 12, 1 << 20

CHUNK, THREAD, SUSPECT = 0, 1, 2  # what is counted: chunks drawn, threads begun, targets that may be out of range

_forked = False


def _remember_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_remember_fork)


@cache
def _openmp() -> Callable[[int, int, int, int], None] | None:
    """OpenMP's `parallel` region of the library torch itself has loaded."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_global_deps.so"
    try:
        region = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    region.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    region.restype = None
    return region


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="losscope")


def team_size(chunks: int) -> int:
    """As many threads as torch would use, and no more than there are chunks."""
    return 1 if _forked else max(1, min(torch.get_num_threads(), chunks))


def chunk_size(values: int) -> int:
    """How many values a thread draws at a time: of many threads each has some to draw.

    Beyond that the longer, the better: memory is fetched ahead, and at the end of a chunk that was for another thread.
    """
    return min(max(values // DRAWS, SMALLEST), LARGEST)


def run(address: int, arguments: Any, chunks: int, threads: int) -> tuple[float, bool]:
    """Call the function at `address` with these arguments on this many threads until every chunk is done.

    The sum over the chunks, and whether a target was seen that may be out of range.
    """
    counters, partial = (ctypes.c_int64 * 3)(), (ctypes.c_double * chunks)()
    arguments.counters, arguments.partial = ctypes.addressof(counters), ctypes.addressof(partial)
    _call(address, ctypes.addressof(arguments), threads)
    return sum(partial), counters[SUSPECT] != 0


def _call(address: int, arguments: int, threads: int) -> None:
    """The function on this many threads; wait for all."""
    region = _openmp()
    if region is not None and threads > 1:
        region(address, arguments, threads, 0)
        return
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
    others = [_pool().submit(function, arguments) for _ in range(threads - 1)]
    function(arguments)
    for other in others:
        other.result()
