"""Blocks of samples with few classes: 64 samples side by side, one in each lane, class after class.

A row of ten classes is too short for a vector, and ends in a sum over its lanes. Transposed, x[h, r] with the samples
r innermost, every step is the same step for 64 samples at once. All arrays are flat: x[h, r] is x[h · SAMPLES + r].
Rows that lie one after the other are transposed in registers, 16 samples by 16 classes at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from losscope.kernels.cpu import sample
from losscope.kernels.cpu.functions import EXACT, SUMS, exp, log, tanh
from losscope.kernels.cpu.intrinsics import (
    cast,
    choose_below,
    gather_tile,
    larger,
    load,
    prefetch,
    prefetch_to_write,
    scatter_tile,
    store,
    wide_vectors,
)
from losscope.kernels.cpu.vectors import doubled, load_vector, rounded, splat, store_vector

SAMPLES = 64
TILE = 16  # samples and classes that are transposed in registers


@njit(error_model="numpy")
def room(classes: Any) -> Any:
    """The numbers of an array of every class and lane: tiles are written whole."""
    return (classes + TILE - 1) // TILE * TILE * SAMPLES


@njit(error_model="numpy")
def gather_rows(source: Any, start: Any, row: Any, count: Any, classes: Any, x: Any) -> Any:
    """x[h, r] of `count` samples, one a `row` after the other; the lanes beyond repeat the last."""
    for r in range(0, SAMPLES, TILE):
        first = min(r, count - 1)
        rows = min(TILE, count - first)
        for h in range(0, classes, TILE):
            columns = min(TILE, classes - h)
            gather_tile(source, start + first * row + h, row, rows, columns, x, h * SAMPLES + r, SAMPLES)


@njit(error_model="numpy")
def scatter_rows(e: Any, count: Any, classes: Any, goal: Any, start: Any, row: Any) -> Any:
    """The inverse of `gather_rows`."""
    whole = count - count % TILE
    for r in range(0, whole, TILE):
        for h in range(0, classes, TILE):
            columns = min(TILE, classes - h)
            scatter_tile(e, h * SAMPLES + r, SAMPLES, goal, start + r * row + h, row, columns)
    for r in range(whole, count):
        scatter(e, classes, r, goal, start + r * row, 1)


@njit(error_model="numpy")
def gather_adjacent(source: Any, start: Any, step: Any, classes: Any, x: Any) -> Any:
    """x[h, r] from samples that lie one after the other for each class, as those of one image do."""
    for h in range(classes):
        for r in range(SAMPLES):
            x[h * SAMPLES + r] = load(source, start + h * step + r)


@njit(error_model="numpy")
def gather(source: Any, start: Any, step: Any, classes: Any, r: Any, x: Any) -> Any:
    """x[h, r] of one sample."""
    for h in range(classes):
        x[h * SAMPLES + r] = load(source, start + h * step)


@njit(error_model="numpy")
def scatter_adjacent(e: Any, classes: Any, goal: Any, start: Any, step: Any) -> Any:
    """The inverse of `gather_adjacent`."""
    for h in range(classes):
        for r in range(SAMPLES):
            store(goal, start + h * step + r, e[h * SAMPLES + r])


@njit(error_model="numpy")
def scatter(e: Any, classes: Any, r: Any, goal: Any, start: Any, step: Any) -> Any:
    """The inverse of `gather`."""
    for h in range(classes):
        store(goal, start + h * step, e[h * SAMPLES + r])


@njit(error_model="numpy")
def fill(x: Any, classes: Any, r: Any, value: Any) -> Any:
    """The same number in every class of one lane."""
    for h in range(classes):
        x[h * SAMPLES + r] = value


@njit(fastmath=EXACT, error_model="numpy")
def cap(x: Any, classes: Any, softcap: Any) -> Any:
    """x ← softcap · tanh(x / softcap); −inf stays −inf."""
    wide_vectors()
    for k in range(classes * SAMPLES):
        x[k] = softcap * tanh(x[k] / softcap) if x[k] != -np.inf else x[k]


@njit(error_model="numpy")
def largest(x: Any, classes: Any, lowest: Any, m: Any) -> Any:
    """m = max_h x."""
    wide_vectors()
    for r in range(SAMPLES):
        m[r] = lowest
    for h in range(classes):
        for r in range(SAMPLES):
            m[r] = larger(m[r], x[h * SAMPLES + r])


@njit(fastmath=EXACT, error_model="numpy")
def exponentials(x: Any, classes: Any, t: Any, e: Any, later: Any, goal: Any) -> Any:
    """S = Σ_h e^{x_h − m}, the terms kept in e. What is read `later` and the `goal` of the gradient come into cache."""
    wide_vectors()
    m, total, part = t.m, t.total, t.part
    for r in range(SAMPLES):
        total[r] = 0
    for first in range(0, classes, TILE):  # sums of sums: one long sum in float32 would lose the last places
        for r in range(SAMPLES):
            part[r] = 0
        for h in range(first, min(first + TILE, classes)):
            for r in range(0, SAMPLES, TILE):
                prefetch(later, h * SAMPLES + r)
                prefetch_to_write(goal, h * SAMPLES + r)
            for r in range(SAMPLES):
                term = exp(x[h * SAMPLES + r] - m[r])
                e[h * SAMPLES + r] = term
                part[r] += term
        for r in range(SAMPLES):
            total[r] += part[r]


@njit(fastmath=EXACT, error_model="numpy")
def logarithms(total: Any, log_sum: Any, width: Any) -> Any:
    """ln S."""
    wide_vectors()
    for r in range(width):
        log_sum[r] = log(total[r])


@njit(fastmath=EXACT, error_model="numpy")
def over_target(x: Any, w: Any, step: Any, q: Any, classes: Any, t: Any) -> Any:
    """(Σ_h w_h q_h, Σ_h w_h q_h (m − x_h)); a class with q_h = 0 adds nothing."""
    wide_vectors()
    m, mass, below = t.m, t.mass, t.below
    for r in range(SAMPLES):
        t.counted[r], mass[r], below[r] = 1, 0, 0
    for h in range(classes):
        w_h = w[h * step]
        for r in range(SAMPLES):
            a = w_h * q[h * SAMPLES + r]
            mass[r] += a
            below[r] += a * (m[r] - x[h * SAMPLES + r])
    if not are_finite(below):
        over_some_target(x, w, step, q, classes, t)


@njit(fastmath=EXACT, error_model="numpy")
def over_some_target(x: Any, w: Any, step: Any, q: Any, classes: Any, t: Any) -> Any:
    """The second sum where some classes are masked, and 0·∞ would not be 0."""
    wide_vectors()
    m, below = t.m, t.below
    for r in range(SAMPLES):
        below[r] = 0
    for h in range(classes):
        w_h = w[h * step]
        for r in range(SAMPLES):
            a = w_h * q[h * SAMPLES + r]
            below[r] += a * (m[r] - x[h * SAMPLES + r]) if a != cast(0, a) else a


@njit(fastmath=EXACT, error_model="numpy")
def are_finite(sums: Any) -> Any:
    """Whether all are, found without a branch in the loop: ∞ − ∞ is NaN."""
    nothing = cast(0, sums[0])
    for r in range(SAMPLES):
        nothing += sums[r] - sums[r]
    return nothing == 0


@njit(fastmath=EXACT, error_model="numpy")
def range_of(q: Any, classes: Any, t: Any, later: Any) -> Any:
    """−min_h q_h and max_h q_h. What is read `later` comes into cache."""
    wide_vectors()
    lowest, highest = t.lowest, t.highest
    for r in range(SAMPLES):
        lowest[r], highest[r] = -q[r], q[r]
    for k in range(0, classes * SAMPLES, SAMPLES):
        for r in range(0, SAMPLES, TILE):
            prefetch(later, k + r)
        for r in range(SAMPLES):
            lowest[r], highest[r] = larger(lowest[r], -q[k + r]), larger(highest[r], q[k + r])


@njit(fastmath=EXACT, error_model="numpy")
def over_open(x: Any, w: Any, step: Any, classes: Any, t: Any) -> Any:
    """(Σ_h w_h, Σ_h w_h (m − x_h), K) over the K classes that are not masked; whether that is every class."""
    wide_vectors()
    m, below, mass = t.m, t.open_below, cast(0, t.m[0])
    for r in range(SAMPLES):
        below[r] = 0
    for h in range(classes):
        w_h = w[h * step]
        mass += w_h
        for r in range(SAMPLES):
            below[r] += w_h * (m[r] - x[h * SAMPLES + r])
    if not are_finite(below):
        over_some(x, w, step, classes, t)
        return False
    for r in range(SAMPLES):
        t.open_mass[r], t.open_count[r] = mass, classes
    return True


@njit(fastmath=EXACT, error_model="numpy")
def over_some(x: Any, w: Any, step: Any, classes: Any, t: Any) -> Any:
    """The same where some classes are masked."""
    wide_vectors()
    m, mass, below, count = t.m, t.open_mass, t.open_below, t.open_count
    for r in range(SAMPLES):
        mass[r], below[r], count[r] = 0, 0, 0
    for h in range(classes):
        w_h = w[h * step]
        for r in range(SAMPLES):
            is_open = x[h * SAMPLES + r] != -np.inf
            a = w_h if is_open else cast(0, m[r])
            mass[r] += a
            below[r] += a * (m[r] - x[h * SAMPLES + r]) if is_open else a
            count[r] += cast(1, m[r]) if is_open else cast(0, m[r])


@njit(fastmath=EXACT, error_model="numpy")
def finish(t: Any, soft: Any, smoothing: Any, z_loss: Any, width: Any) -> Any:
    """ℓ_i of each lane, 0 where it doesn't count; leaves what its gradient is made of in total, kept and share."""
    one = cast(1, t.m[0])
    for r in range(0, width, TILE):
        log_sum, mass, below = wide_at(t.log_sum, r), wide_at(t.mass, r), wide_at(t.below, r)
        surprise = mass * log_sum + (below if soft else mass * below)
        share = splat(0.0)
        if smoothing > 0:
            share, open_mass = smoothing / wide_at(t.open_count, r), wide_at(t.open_mass, r)
            mass = (1.0 - smoothing) * mass + share * open_mass
            surprise = (1.0 - smoothing) * surprise + share * (wide_at(t.open_below, r) + open_mass * log_sum)
        loss, alpha = sample.of_distribution(mass, surprise, wide_at(t.m, r) + log_sum, z_loss)
        up = wide_at(t.up, r)
        store_vector(t.loss, r, rounded(choose_below(wide_at(t.counted, r), 0.5, 0.0, loss), one))
        store_vector(t.total, r, rounded(up * alpha / wide_at(t.total, r), one))
        store_vector(t.kept, r, rounded(up * (1.0 - smoothing), one))
        store_vector(t.share, r, rounded(up * share, one))


@njit(error_model="numpy")
def wide_at(x: Any, r: Any) -> Any:
    """The numbers of sixteen lanes from r on, in float64."""
    return doubled(load_vector(x, r))


@njit(fastmath=EXACT, error_model="numpy")
def powers(s: Any, gamma: Any, power: Any, c: Any, width: Any) -> Any:
    """u^γ and c of each lane; both in one loop would not become vector instructions."""
    wide_vectors()
    for r in range(width):
        power[r] = sample.focal_power(s[r], gamma)
    for r in range(width):
        c[r] = sample.focal_slope(s[r], power[r], gamma)


@njit(fastmath=EXACT, error_model="numpy")
def finish_focal(t: Any, gamma: Any, z_loss: Any, width: Any) -> Any:
    """The same of the focal loss."""
    s, lse, power, c = t.share, t.part, t.open_mass, t.kept
    for r in range(0, width, TILE):
        store_vector(s, r, -(load_vector(t.below, r) + load_vector(t.log_sum, r)))
        store_vector(lse, r, load_vector(t.m, r) + load_vector(t.log_sum, r))
    powers(s, gamma, power, c, width)
    for r in range(0, width, TILE):
        mass, c_r, lse_r = load_vector(t.mass, r), load_vector(c, r), load_vector(lse, r)
        loss = sample.focal_loss(mass, load_vector(s, r), load_vector(power, r), lse_r, z_loss)
        store_vector(t.loss, r, choose_below(load_vector(t.counted, r), cast(0.5, gamma), gamma - gamma, loss))
        up, alpha = load_vector(t.up, r), sample.focal_alpha(mass, c_r, lse_r, z_loss)
        store_vector(t.total, r, up * alpha / load_vector(t.total, r))
        store_vector(c, r, c_r * up)


@njit(fastmath=SUMS, error_model="numpy")
def sum_of(loss: Any, count: Any) -> Any:
    """Σ ℓ_i in float64."""
    total = 0.0
    for r in range(count):
        total += loss[r]
    return total


@njit(fastmath=EXACT, error_model="numpy")
def scale(e: Any, classes: Any, factor: Any) -> Any:
    """e ← factor · e."""
    wide_vectors()
    for h in range(classes):
        for r in range(SAMPLES):
            e[h * SAMPLES + r] *= factor[r]


@njit(fastmath=EXACT, error_model="numpy")
def scale_all(e: Any, w: Any, step: Any, classes: Any, factor: Any, share: Any) -> Any:
    """e ← factor · e − share · w_h."""
    wide_vectors()
    for h in range(classes):
        w_h = w[h * step]
        for r in range(SAMPLES):
            e[h * SAMPLES + r] = factor[r] * e[h * SAMPLES + r] - share[r] * w_h


@njit(fastmath=EXACT, error_model="numpy")
def subtract_open(e: Any, x: Any, w: Any, step: Any, classes: Any, share: Any) -> Any:
    """e ← e − share · w_h where the class is not masked."""
    wide_vectors()
    for h in range(classes):
        w_h = w[h * step]
        for r in range(SAMPLES):
            k = h * SAMPLES + r
            e[k] -= share[r] * w_h if x[k] != -np.inf else cast(0, share[r])


@njit(fastmath=EXACT, error_model="numpy")
def subtract_target(e: Any, w: Any, step: Any, q: Any, classes: Any, kept: Any) -> Any:
    """e ← e − kept · w_h q_h."""
    wide_vectors()
    for h in range(classes):
        w_h = w[h * step]
        for r in range(SAMPLES):
            e[h * SAMPLES + r] -= kept[r] * (w_h * q[h * SAMPLES + r])


@njit(fastmath=EXACT, error_model="numpy")
def through_softcap(e: Any, x: Any, classes: Any, softcap: Any) -> Any:
    """e ← e ∂x/∂z = e (1 − (x / softcap)²)."""
    wide_vectors()
    for k in range(classes * SAMPLES):
        ratio = x[k] / softcap
        e[k] *= cast(1, softcap) - ratio * ratio if x[k] != -np.inf else cast(0, softcap)


@njit(error_model="numpy")
def entropy(x: Any, classes: Any, r: Any, m: Any, log_sum: Any) -> Any:
    """−Σ_h ŷ_h s_h of one lane; m is taken out first, because m + ln S has lost the last places of ln S."""
    total = 0.0
    for h in range(classes):
        s = np.float64(x[h * SAMPLES + r] - m) - log_sum
        p = np.exp(s)
        total -= p * s if p != 0 else p
    return total


@njit(error_model="numpy")
def argmax(x: Any, classes: Any, r: Any) -> Any:
    """The first class with the largest value, of one lane."""
    best = 0
    for h in range(1, classes):
        best = h if x[h * SAMPLES + r] > x[best * SAMPLES + r] else best
    return best
