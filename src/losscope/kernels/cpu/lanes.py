"""Blocks of samples with few classes: 64 samples side by side, one in each lane, class after class.

A row of ten classes is too short for a vector, and ends in a sum over its lanes. Transposed, x[h, r] with the samples
r innermost, every step is the same step for 64 samples at once. All arrays are flat: x[h, r] is x[h · LANES + r].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from losscope.kernels.cpu.functions import EXACT, exp, log, tanh
from losscope.kernels.cpu.intrinsics import cast, larger, load, store

LANES = 64


@njit(error_model="numpy")
def gather_adjacent(source: Any, start: Any, step: Any, classes: Any, x: Any) -> Any:
    """x[h, r] from samples that lie one after the other for each class, as those of one image do."""
    for h in range(classes):
        for r in range(LANES):
            x[h * LANES + r] = load(source, start + h * step + r)


@njit(error_model="numpy")
def gather(source: Any, start: Any, step: Any, classes: Any, r: Any, x: Any) -> Any:
    """x[h, r] of one sample."""
    if step == 1:
        for h in range(classes):
            x[h * LANES + r] = load(source, start + h)
    else:
        for h in range(classes):
            x[h * LANES + r] = load(source, start + h * step)


@njit(error_model="numpy")
def scatter_adjacent(e: Any, classes: Any, goal: Any, start: Any, step: Any) -> Any:
    """The inverse of `gather_adjacent`."""
    for h in range(classes):
        for r in range(LANES):
            store(goal, start + h * step + r, e[h * LANES + r])


@njit(error_model="numpy")
def scatter(e: Any, classes: Any, r: Any, goal: Any, start: Any, step: Any) -> Any:
    """The inverse of `gather`."""
    if step == 1:
        for h in range(classes):
            store(goal, start + h, e[h * LANES + r])
    else:
        for h in range(classes):
            store(goal, start + h * step, e[h * LANES + r])


@njit(error_model="numpy")
def fill(x: Any, classes: Any, r: Any, value: Any) -> Any:
    """The same number in every class of one lane."""
    for h in range(classes):
        x[h * LANES + r] = value


@njit(fastmath=EXACT, error_model="numpy")
def cap(x: Any, classes: Any, softcap: Any) -> Any:
    """x ← softcap · tanh(x / softcap); −inf stays −inf."""
    for k in range(classes * LANES):
        x[k] = softcap * tanh(x[k] / softcap) if x[k] != -np.inf else x[k]


@njit(error_model="numpy")
def largest(x: Any, classes: Any, lowest: Any, m: Any) -> Any:
    """m = max_h x."""
    for r in range(LANES):
        m[r] = lowest
    for h in range(classes):
        for r in range(LANES):
            m[r] = larger(m[r], x[h * LANES + r])


@njit(fastmath=EXACT, error_model="numpy")
def exponentials(x: Any, classes: Any, m: Any, e: Any, total: Any) -> Any:
    """S = Σ_h e^{x_h − m}, the terms kept in e."""
    for r in range(LANES):
        total[r] = 0
    for h in range(classes):
        for r in range(LANES):
            term = exp(x[h * LANES + r] - m[r])
            e[h * LANES + r] = term
            total[r] += term


@njit(fastmath=EXACT, error_model="numpy")
def logarithms(total: Any, log_sum: Any) -> Any:
    """ln S."""
    for r in range(LANES):
        log_sum[r] = log(total[r])


@njit(fastmath=EXACT, error_model="numpy")
def over_target(x: Any, w: Any, step: Any, q: Any, classes: Any, m: Any, mass: Any, below: Any) -> Any:
    """(Σ_h w_h q_h, Σ_h w_h q_h (m − x_h)); a class with q_h = 0 adds nothing."""
    for r in range(LANES):
        mass[r], below[r] = 0, 0
    for h in range(classes):
        for r in range(LANES):
            k = h * LANES + r
            a = w[h * step] * q[k]
            mass[r] += a
            below[r] += a * (m[r] - x[k]) if a != cast(0, a) else a


@njit(fastmath=EXACT, error_model="numpy")
def over_open(x: Any, w: Any, step: Any, classes: Any, m: Any, mass: Any, below: Any, count: Any) -> Any:
    """(Σ_h w_h, Σ_h w_h (m − x_h), K) over the K classes that are not masked."""
    for r in range(LANES):
        mass[r], below[r], count[r] = 0, 0, 0
    for h in range(classes):
        for r in range(LANES):
            is_open = x[h * LANES + r] != -np.inf
            a = w[h * step] if is_open else cast(0, m[r])
            mass[r] += a
            below[r] += a * (m[r] - x[h * LANES + r]) if is_open else a
            count[r] += cast(1, m[r]) if is_open else cast(0, m[r])


@njit(fastmath=EXACT, error_model="numpy")
def scale(e: Any, classes: Any, factor: Any) -> Any:
    """e ← factor · e."""
    for h in range(classes):
        for r in range(LANES):
            e[h * LANES + r] *= factor[r]


@njit(fastmath=EXACT, error_model="numpy")
def subtract_open(e: Any, x: Any, w: Any, step: Any, classes: Any, share: Any) -> Any:
    """e ← e − share · w_h where the class is not masked."""
    for h in range(classes):
        for r in range(LANES):
            k = h * LANES + r
            e[k] -= share[r] * w[h * step] if x[k] != -np.inf else cast(0, share[r])


@njit(fastmath=EXACT, error_model="numpy")
def subtract_target(e: Any, w: Any, step: Any, q: Any, classes: Any, kept: Any) -> Any:
    """e ← e − kept · w_h q_h."""
    for h in range(classes):
        for r in range(LANES):
            e[h * LANES + r] -= kept[r] * (w[h * step] * q[h * LANES + r])


@njit(fastmath=EXACT, error_model="numpy")
def through_softcap(e: Any, x: Any, classes: Any, softcap: Any) -> Any:
    """e ← e ∂x/∂z = e (1 − (x / softcap)²)."""
    for k in range(classes * LANES):
        ratio = x[k] / softcap
        e[k] *= cast(1, softcap) - ratio * ratio if x[k] != -np.inf else cast(0, softcap)


@njit(error_model="numpy")
def entropy(x: Any, classes: Any, r: Any, m: Any, log_sum: Any) -> Any:
    """−Σ_h ŷ_h s_h of one lane; m is taken out first, because m + ln S has lost the last places of ln S."""
    total = 0.0
    for h in range(classes):
        s = np.float64(x[h * LANES + r] - m) - log_sum
        p = np.exp(s)
        total -= p * s if p != 0 else p
    return total


@njit(error_model="numpy")
def argmax(x: Any, classes: Any, r: Any) -> Any:
    """The first class with the largest value, of one lane."""
    best = 0
    for h in range(1, classes):
        best = h if x[h * LANES + r] > x[best * LANES + r] else best
    return best
