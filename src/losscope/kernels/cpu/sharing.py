"""How the threads of one call share out its chunks, and what they add up to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from losscope.kernels.cpu.intrinsics import at, cast, load, pointer, store, take
from losscope.kernels.cpu.team import DONE, SUSPECT, THREAD


@njit(error_model="numpy")
def draw(a: Any) -> Any:
    """The next chunk that no thread has."""
    return take(pointer(a.counters, np.int64(0)))


@njit(error_model="numpy")
def workplace(a: Any, real: Any) -> Any:
    """This thread's scratch."""
    thread = take(at(pointer(a.counters, np.int64(0)), THREAD))
    return at(pointer(a.scratch, real), thread * a.scratch_size)


@njit(error_model="numpy")
def suspect(a: Any) -> Any:
    """Raise the flag: a target may be out of range."""
    pointer(a.counters, np.int64(0))[SUSPECT] = 1


@njit(error_model="numpy")
def settle(a: Any, chunk: Any, total: Any, real: Any) -> Any:
    """Keep a chunk's sum. Who comes last adds up all of them, in their order, and divides: NaN where nothing counts."""
    partial = pointer(a.partial, 0.0)
    partial[chunk] = total
    if take(at(pointer(a.counters, np.int64(0)), DONE)) == a.chunks - 1 and a.result != 0:
        whole = 0.0
        for k in range(a.chunks):
            whole += load(partial, k)
        store(pointer(a.result, real), 0, cast(whole / a.over if a.over != 0 else whole * np.inf, real))
