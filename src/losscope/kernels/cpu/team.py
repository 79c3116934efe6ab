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
from typing import Any, NamedTuple

import torch

DRAWS, SMALLEST, LARGEST = 128, 1 << 12, 1 << 20

# What is counted: chunks drawn, threads begun, whether a target may be out of range, chunks done.
CHUNK, THREAD, SUSPECT, DONE = 0, 1, 2, 3
COUNTERS = 4
NOTHING = (0,) * COUNTERS

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


def threads_at_hand() -> int:
    """As many threads as torch would use."""
    return 1 if _forked else torch.get_num_threads()


def team_size(chunks: int) -> int:
    """The same, and no more than there are chunks."""
    return max(1, min(threads_at_hand(), chunks))


def chunk_size(values: int) -> int:
    """How many values a thread draws at a time: of many threads each has some to draw.

    Beyond that the longer, the better: memory is fetched ahead, and at the end of a chunk that was for another thread.
    """
    return min(max(values // DRAWS, SMALLEST), LARGEST)


class Work(NamedTuple):
    """The arguments of one call, and the memory that its threads share."""

    arguments: Any
    address: int
    counters: Any
    partial: Any


def work_of(arguments: Any) -> Work:
    """What the threads of one call are given beside its tensors."""
    counters, partial = (ctypes.c_int64 * COUNTERS)(), (ctypes.c_double * arguments.chunks)()
    arguments.counters, arguments.partial = ctypes.addressof(counters), ctypes.addressof(partial)
    return Work(arguments, ctypes.addressof(arguments), counters, partial)


def caller(address: int, call: Callable[[int], None], threads: int) -> Callable[[int], object]:
    """Of the address of arguments: the kernel on so many threads, until all are done."""
    if threads == 1:
        return call
    region = _openmp()
    if region is not None:
        return lambda arguments: region(address, arguments, threads, 0)
    return lambda arguments: _with_others(call, arguments, threads)


def run(address: int, call: Callable[[int], None], work: Work, threads: int) -> bool:
    """Have all chunks done by so many threads; whether a target was seen that may be out of range.

    Args:
        address: the kernel, as C calls it.
        call: the kernel, as Python does.
        work: what it works on, not used before.
        threads: how many.
    """
    caller(address, call, threads)(work.address)
    return work.counters[SUSPECT] != 0  # type: ignore[no-any-return]


def _with_others(call: Callable[[int], None], arguments: int, threads: int) -> None:
    others = [_pool().submit(call, arguments) for _ in range(threads - 1)]
    call(arguments)
    for other in others:
        other.result()
