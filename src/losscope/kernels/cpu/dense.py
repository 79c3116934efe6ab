"""One row of many classes with options that touch every class: smoothing, soft targets, softcap, statistics.

The same walk as in `rows`, over a copy of each block in the thread's scratch. The sums over classes that a block
adds are relative to the largest logit so far, as its exponentials are:

    Σ_h a_h (−s_h) = Σ_h a_h (ln S − (z_h − m)),   z_h − m = (z_h − m_block) + (m_block − m)

and no term of it is negative, so nothing cancels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from losscope.kernels.cpu.functions import EXACT, SUMS, exp, tanh
from losscope.kernels.cpu.intrinsics import at, cast, larger, load, prefetch, store, wide_vectors
from losscope.kernels.cpu.rows import STRIDE

BLOCK = 2048  # classes: 8 KiB of float32, since up to four arrays of them are at work


@njit(error_model="numpy")
def widen(source: Any, start: Any, step: Any, first: Any, last: Any, x: Any) -> Any:
    """x_h = source_h."""
    wide_vectors()
    if step == 1:  # known to the compiler, this becomes vector loads
        for h in range(first, last):
            x[h] = load(source, start + h)
    else:
        for h in range(first, last):
            x[h] = load(source, start + h * step)


@njit(fastmath=EXACT, error_model="numpy")
def cap(x: Any, first: Any, last: Any, softcap: Any) -> Any:
    """x_h ← softcap · tanh(x_h / softcap); −inf stays −inf."""
    wide_vectors()
    for h in range(first, last):
        x[h] = softcap * tanh(x[h] / softcap) if x[h] != -np.inf else x[h]


@njit(fastmath=SUMS, error_model="numpy")
def over_open(x: Any, start: Any, w: Any, first: Any, last: Any, m: Any) -> Any:
    """(Σ_h w_h, Σ_h w_h (m − x_h), K) over the K classes that are not masked."""
    wide_vectors()
    mass, below, count = m - m, m - m, m - m
    zero, one = m - m, cast(1, m)
    for h in range(first, last):
        x_h = load(x, start + h)
        is_open = x_h != -np.inf
        mass += w[h] if is_open else zero
        below += w[h] * (m - x_h) if is_open else zero
        count += one if is_open else zero
    return mass, below, count


@njit(fastmath=SUMS, error_model="numpy")
def over_target(x: Any, start: Any, w: Any, q: Any, goal: Any, first: Any, last: Any, m: Any) -> Any:
    """(Σ_h w_h q_h, Σ_h w_h q_h (m − x_h)), −min_h q_h, max_h q_h; a class with q_h = 0 adds nothing.

    The next block of q comes into cache.
    """
    wide_vectors()
    mass, below, later = m - m, m - m, at(q, goal + BLOCK)
    lowest, highest = -load(q, goal + first), load(q, goal + first)
    for begin in range(first, last, STRIDE):
        end = min(begin + STRIDE, last)
        for h in range(begin, end, 16):
            prefetch(later, h)
        for h in range(begin, end):
            q_h = load(q, goal + h)
            lowest, highest = larger(lowest, -q_h), larger(highest, q_h)
            a = w[h] * q_h
            mass += a
            below += a * (m - load(x, start + h)) if a != cast(0, m) else m - m
    return mass, below, lowest, highest


@njit(fastmath=EXACT, error_model="numpy")
def scale(e: Any, first: Any, last: Any, factor: Any) -> Any:
    """e_h ← factor · e_h."""
    wide_vectors()
    for h in range(first, last):
        e[h] *= factor


@njit(fastmath=EXACT, error_model="numpy")
def subtract_open(e: Any, x: Any, start: Any, w: Any, first: Any, last: Any, share: Any) -> Any:
    """e_h ← e_h − share · w_h where the class is not masked."""
    wide_vectors()
    for h in range(first, last):
        e[h] -= share * w[h] if load(x, start + h) != -np.inf else share - share


@njit(fastmath=EXACT, error_model="numpy")
def subtract_target(e: Any, w: Any, q: Any, goal: Any, first: Any, last: Any, share: Any) -> Any:
    """e_h ← e_h − share · w_h q_h."""
    wide_vectors()
    for h in range(first, last):
        e[h] -= share * (w[h] * load(q, goal + h))


@njit(fastmath=EXACT, error_model="numpy")
def through_softcap(e: Any, x: Any, first: Any, last: Any, softcap: Any) -> Any:
    """e_h ← e_h ∂x_h/∂z_h = e_h (1 − (x_h / softcap)²)."""
    wide_vectors()
    for h in range(first, last):
        ratio = x[h] / softcap
        e[h] *= cast(1, softcap) - ratio * ratio if x[h] != -np.inf else cast(0, softcap)


@njit(error_model="numpy")
def narrow(e: Any, first: Any, last: Any, gradient: Any, start: Any, step: Any) -> Any:
    """∂/∂z_h = e_h, for classes that do not lie one after the other."""
    for h in range(first, last):
        store(gradient, start + h * step, e[h])


@njit(fastmath=SUMS, error_model="numpy")
def entropy(x: Any, classes: Any, m: Any, log_sum: Any) -> Any:
    """−Σ_h ŷ_h s_h."""
    wide_vectors()
    total = m - m
    for h in range(classes):
        s = (x[h] - m) - log_sum
        p = exp(s)
        total -= p * s if p != cast(0, m) else p
    return total


@njit(error_model="numpy")
def is_argmax(x: Any, y: Any, m: Any) -> Any:
    """y = argmax_h x_h: it has the largest logit m, and no class before it has."""
    if x[y] != m:
        return False
    for h in range(y):  # noqa: SIM110 (numba compiles no generator)
        if x[h] == m:
            return False
    return True
