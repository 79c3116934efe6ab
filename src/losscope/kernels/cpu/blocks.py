"""Cross-entropy of blocks of samples with few classes, with every option."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu import lanes, sample
from losscope.kernels.cpu.categorical import is_ignored, offset, record, upstream
from losscope.kernels.cpu.intrinsics import at, cast, pointer, real_like, store, take
from losscope.kernels.cpu.lanes import LANES

PER_LANE = 10  # numbers kept for every lane beside its classes


@njit(error_model="numpy")
def adjacent(a: Any, i: Any, step: Any) -> Any:
    """Whether 64 samples from i on lie one after the other for each class."""
    return step == 1 and a.inner > 1 and i % a.inner + LANES <= a.inner


@njit(error_model="numpy")
def read(a: Any, i: Any, count: Any, address: Any, outer: Any, step: Any, inner: Any, x: Any, real: Any) -> Any:
    """x[h, r] of up to 64 samples from i on; lanes without one hold zeros."""
    source = pointer(address, a.element)
    if count == LANES and adjacent(a, i, inner):
        lanes.gather_adjacent(source, offset(i, a.inner, outer, inner), step, a.classes, x)
        return
    for r in range(LANES):
        if r < count:
            lanes.gather(source, offset(i + r, a.inner, outer, inner), step, a.classes, r, x)
        else:
            lanes.fill(x, a.classes, r, cast(0, real))


@njit(error_model="numpy")
def write(a: Any, i: Any, count: Any, e: Any) -> Any:
    """∂/∂z of up to 64 samples from i on."""
    goal, outer, step, inner = pointer(a.gradient, a.element), a.gradient_outer, a.gradient_class, a.gradient_inner
    if count == LANES and adjacent(a, i, inner):
        lanes.scatter_adjacent(e, a.classes, goal, offset(i, a.inner, outer, inner), step)
        return
    for r in range(count):
        lanes.scatter(e, a.classes, r, goal, offset(i + r, a.inner, outer, inner), step)


@njit(error_model="numpy")
def index_terms(a: Any, i: Any, count: Any, x: Any, m: Any, mass: Any, below: Any, w: Any) -> Any:
    """(w_y, w_y (m − x_y)) in each lane; 0 where the sample is ignored."""
    y = pointer(a.target, np.int64(0))
    for r in range(LANES):
        mass[r], below[r] = 0, 0
    for r in range(count):
        if not is_ignored(a, i + r):
            mass[r] = w[y[i + r] * a.weighted]
            below[r] = mass[r] * (m[r] - x[y[i + r] * LANES + r])


@njit(error_model="numpy")
def block(a: Any, i: Any, count: Any, real: Any, x: Any) -> Any:
    """Σ ℓ_i of up to 64 samples from i on, and their gradients."""
    classes, softcap = a.classes, cast(a.softcap, real)
    e, q, row = at(x, classes * LANES), at(x, 2 * classes * LANES), at(x, 3 * classes * LANES)
    m, total, log_sum, mass, below = row, at(row, LANES), at(row, 2 * LANES), at(row, 3 * LANES), at(row, 4 * LANES)
    open_mass, open_below, open_count = at(row, 5 * LANES), at(row, 6 * LANES), at(row, 7 * LANES)
    kept, share = at(row, 8 * LANES), at(row, 9 * LANES)
    w, y = pointer(a.weight, real), pointer(a.target, np.int64(0))

    read(a, i, count, a.z, a.z_outer, a.z_class, a.z_inner, x, real)
    if softcap > 0:
        lanes.cap(x, classes, softcap)
    lanes.largest(x, classes, cast(a.lowest, real), m)
    lanes.exponentials(x, classes, m, e, total)
    lanes.logarithms(total, log_sum)
    if a.soft:
        read(a, i, count, a.target, a.target_outer, a.target_class, a.target_inner, q, real)
        lanes.over_target(x, w, a.weighted, q, classes, m, mass, below)
    else:
        index_terms(a, i, count, x, m, mass, below, w)
    if a.smoothing > 0:
        lanes.over_open(x, w, a.weighted, classes, m, open_mass, open_below, open_count)

    result = 0.0
    for r in range(count):
        ignored = is_ignored(a, i + r)
        if ignored:
            kept[r], share[r], total[r] = 0, 0, 0
            loss = cast(0, real)
        else:
            loss = finish(
                a, i + r, r, real, m, total, log_sum, mass, below, open_mass, open_below, open_count, kept, share
            )
        if a.loss != 0:
            store(pointer(a.loss, real), i + r, loss)
        result += loss
        if a.stats != 0:
            tell(a, i + r, r, ignored, x, q, m[r], log_sum[r], real)
    if a.gradient != 0:
        lanes.scale(e, classes, total)
        if a.smoothing > 0:
            lanes.subtract_open(e, x, w, a.weighted, classes, share)
        if a.soft:
            lanes.subtract_target(e, w, a.weighted, q, classes, kept)
        else:
            for r in range(count):
                if not is_ignored(a, i + r):
                    e[y[i + r] * LANES + r] -= kept[r] * w[y[i + r] * a.weighted]
        if softcap > 0:
            lanes.through_softcap(e, x, classes, softcap)
        for r in range(count):
            if is_ignored(a, i + r):
                lanes.fill(e, classes, r, cast(0, real))
        write(a, i, count, e)
    return result


@njit(error_model="numpy")
def finish(
    a: Any,
    i: Any,
    r: Any,
    real: Any,
    m: Any,
    total: Any,
    log_sum: Any,
    mass: Any,
    below: Any,
    open_mass: Any,
    open_below: Any,
    open_count: Any,
    kept: Any,
    share: Any,
) -> Any:
    """ℓ_i from the sums of its lane; leaves what its gradient is made of in total, kept and share."""
    lse = m[r] + log_sum[r]
    part, rest = 1.0, 0.0
    weight, surprise = np.float64(mass[r]), np.float64(below[r]) + mass[r] * log_sum[r]
    if a.smoothing > 0:
        part, rest = 1 - a.smoothing, a.smoothing / open_count[r]
        opened = open_below[r] + open_mass[r] * log_sum[r]
        weight, surprise = part * weight + rest * open_mass[r], part * surprise + rest * opened
    if a.gamma > 0:
        loss, alpha, part = sample.of_focal(weight, -surprise / weight, lse, a.gamma, a.z_loss)
    else:
        loss, alpha = sample.of_distribution(weight, surprise, lse, a.z_loss)
    up = upstream(a, i, real)
    total[r], kept[r], share[r] = up * alpha / total[r], up * part, up * rest
    return cast(loss, real)


@njit(error_model="numpy")
def tell(a: Any, i: Any, r: Any, ignored: Any, x: Any, q: Any, m: Any, log_sum: Any, real: Any) -> Any:
    """The statistics of one sample; 0 where it is ignored."""
    if ignored:
        for column in range(4):
            record(a, i, column, 0, real)
        return
    y = lanes.argmax(q, a.classes, r) if a.soft else pointer(a.target, np.int64(0))[i]
    record(a, i, 0, lanes.argmax(x, a.classes, r) == y, real)
    record(a, i, 1, lanes.entropy(x, a.classes, r, m, log_sum), real)
    record(a, i, 2, np.exp(-log_sum), real)
    record(a, i, 3, m + log_sum, real)


def over_blocks(arguments: Any) -> None:
    """The kernel of one thread: every chunk of samples that it draws, a block at a time."""
    a = carray(arguments, 1)[0]
    real = real_like(a.element)
    counters, partial = pointer(a.counters, np.int64(0)), pointer(a.partial, 0.0)
    scratch = at(pointer(a.scratch, real), take(at(counters, 1)) * a.scratch_size)
    chunk = take(counters)
    while chunk * a.chunk < a.samples:
        last = min((chunk + 1) * a.chunk, a.samples)
        total = 0.0
        for i in range(chunk * a.chunk, last, LANES):
            total += block(a, i, min(LANES, last - i), real, scratch)
        partial[chunk] = total
        chunk = take(counters)
