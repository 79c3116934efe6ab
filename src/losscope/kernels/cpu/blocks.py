"""Cross-entropy of blocks of samples with few classes, with every option."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu import lanes, rows
from losscope.kernels.cpu.categorical import is_ignored, look, offset, record, unaligned, upstream
from losscope.kernels.cpu.intrinsics import at, cast, pointer, real_like, store
from losscope.kernels.cpu.lanes import SAMPLES
from losscope.kernels.cpu.sharing import draw, settle, workplace


class Terms(NamedTuple):
    """What each lane is finished from; an array of SAMPLES numbers each."""

    m: Any
    total: Any
    log_sum: Any
    counted: Any
    mass: Any
    below: Any
    open_mass: Any
    open_below: Any
    open_count: Any
    kept: Any
    share: Any
    up: Any
    loss: Any
    part: Any
    lowest: Any
    highest: Any


PER_LANE = len(Terms._fields)  # numbers kept for every lane beside its classes


@njit(error_model="numpy")
def terms_at(row: Any) -> Any:
    """The arrays, one after the other."""
    return Terms(
        row,
        at(row, SAMPLES),
        at(row, 2 * SAMPLES),
        at(row, 3 * SAMPLES),
        at(row, 4 * SAMPLES),
        at(row, 5 * SAMPLES),
        at(row, 6 * SAMPLES),
        at(row, 7 * SAMPLES),
        at(row, 8 * SAMPLES),
        at(row, 9 * SAMPLES),
        at(row, 10 * SAMPLES),
        at(row, 11 * SAMPLES),
        at(row, 12 * SAMPLES),
        at(row, 13 * SAMPLES),
        at(row, 14 * SAMPLES),
        at(row, 15 * SAMPLES),
    )


@njit(error_model="numpy")
def adjacent(a: Any, i: Any, step: Any) -> Any:
    """Whether a block's samples from i on lie one after the other for each class."""
    return step == 1 and a.inner > 1 and i % a.inner + SAMPLES <= a.inner


@njit(error_model="numpy")
def read(a: Any, i: Any, count: Any, address: Any, outer: Any, step: Any, inner: Any, x: Any) -> Any:
    """x[h, r] of the samples from i on; lanes without one repeat one."""
    source = pointer(address, a.element)
    if a.inner == 1 and step == 1:
        lanes.gather_rows(source, i * outer, outer, count, a.classes, x)
    elif count == SAMPLES and adjacent(a, i, inner):
        lanes.gather_adjacent(source, offset(i, a.inner, outer, inner), step, a.classes, x)
    else:
        for r in range(SAMPLES):
            lanes.gather(source, offset(i + min(r, count - 1), a.inner, outer, inner), step, a.classes, r, x)


@njit(error_model="numpy")
def write(a: Any, i: Any, count: Any, e: Any, free: Any, real: Any) -> Any:
    """∂/∂z of the samples from i on, past the caches by way of `free` memory where that is wanted."""
    goal, outer, step, inner = pointer(a.gradient, a.element), a.gradient_outer, a.gradient_class, a.gradient_inner
    if a.inner == 1 and step == 1 and outer == a.classes and a.streamed:
        lanes.scatter_rows(e, count, outer, free, 0, outer)
        rows.stream(free, 0, count * outer, cast(1, real), goal, i * outer, unaligned(a, i * outer))
    elif a.inner == 1 and step == 1:
        lanes.scatter_rows(e, count, a.classes, goal, i * outer, outer)
    elif count == SAMPLES and adjacent(a, i, inner):
        lanes.scatter_adjacent(e, a.classes, goal, offset(i, a.inner, outer, inner), step)
    else:
        for r in range(count):
            lanes.scatter(e, a.classes, r, goal, offset(i + r, a.inner, outer, inner), step)


@njit(error_model="numpy")
def index_terms(a: Any, i: Any, count: Any, x: Any, t: Any, real: Any) -> Any:
    """(v, w_y, m − x_y) in each lane; 0 where the sample is ignored."""
    y, w = pointer(a.target, np.int64(0)), pointer(a.weight, real)
    for r in range(SAMPLES):
        t.counted[r], t.mass[r], t.below[r] = 0, 0, 0
    for r in range(count):
        if not is_ignored(a, i + r):
            t.counted[r] = 1
            t.mass[r] = w[y[i + r] * a.weighted]
            t.below[r] = t.m[r] - x[y[i + r] * SAMPLES + r]


@njit(error_model="numpy")
def upstreams(a: Any, i: Any, count: Any, t: Any, real: Any) -> Any:
    """What the gradient in each lane is multiplied by."""
    for r in range(SAMPLES):
        t.up[r] = a.scale
    if a.upstream != 0:
        for r in range(count):
            t.up[r] = upstream(a, i + r, real)


@njit(error_model="numpy")
def block(a: Any, i: Any, count: Any, real: Any, x: Any) -> Any:
    """Σ ℓ_i of up to SAMPLES samples from i on, and their gradients."""
    classes, softcap, size = a.classes, cast(a.softcap, real), lanes.room(a.classes)
    e, q, t = at(x, size), at(x, 2 * size), terms_at(at(x, 3 * size))
    w = pointer(a.weight, real)

    read(a, i, count, a.z, a.z_outer, a.z_class, a.z_inner, x)
    if softcap > 0:
        lanes.cap(x, classes, softcap)
    lanes.largest(x, classes, cast(a.lowest, real), t.m)
    z, gradient = pointer(a.z, a.element), pointer(a.gradient, a.element)
    later, goal = at(z, (i + SAMPLES) * a.z_outer), z if a.streamed else at(gradient, i * a.gradient_outer)
    lanes.exponentials(x, classes, t, e, later, goal)
    lanes.logarithms(t.total, t.log_sum, SAMPLES)
    if a.soft:
        read(a, i, count, a.target, a.target_outer, a.target_class, a.target_inner, q)
        lanes.over_target(x, w, a.weighted, q, classes, t)
        lanes.range_of(q, classes, t, at(pointer(a.target, a.element), (i + SAMPLES) * a.target_outer))
        for r in range(SAMPLES):
            look(a, t.mass[r], t.below[r], t.lowest[r], t.highest[r])
    else:
        index_terms(a, i, count, x, t, real)
    is_open = lanes.over_open(x, w, a.weighted, classes, t) if a.smoothing > 0 else True
    upstreams(a, i, count, t, real)
    if a.gamma > 0:
        lanes.finish_focal(t, cast(a.gamma, real), cast(a.z_loss, real), SAMPLES)
    else:
        lanes.finish(t, a.soft, a.smoothing, a.z_loss, SAMPLES)

    if a.loss != 0:
        for r in range(count):
            store(pointer(a.loss, real), i + r, t.loss[r])
    if a.stats != 0:
        for r in range(count):
            tell(a, i + r, r, is_ignored(a, i + r), x, q, t.m[r], t.log_sum[r], real)
    if a.gradient != 0:
        write_gradient(a, i, count, real, x, e, q, t, is_open)
    return lanes.sum_of(t.loss, count)


@njit(error_model="numpy")
def write_gradient(a: Any, i: Any, count: Any, real: Any, x: Any, e: Any, q: Any, t: Any, is_open: Any) -> Any:
    """∂/∂z_h = (factor · e^{x_h − m} − share · w_h [h is open] − kept · w_h q_h) ∂x_h/∂z_h, and 0 where ignored."""
    classes, w, y = a.classes, pointer(a.weight, real), pointer(a.target, np.int64(0))
    if a.smoothing > 0 and is_open:
        lanes.scale_all(e, w, a.weighted, classes, t.total, t.share)
    else:
        lanes.scale(e, classes, t.total)
        if a.smoothing > 0:
            lanes.subtract_open(e, x, w, a.weighted, classes, t.share)
    if a.soft:
        lanes.subtract_target(e, w, a.weighted, q, classes, t.kept)
    else:
        for r in range(count):
            if t.counted[r] != 0:
                e[y[i + r] * SAMPLES + r] -= t.kept[r] * w[y[i + r] * a.weighted]
    if a.softcap > 0:
        lanes.through_softcap(e, x, classes, cast(a.softcap, real))
    for r in range(count):
        if t.counted[r] == 0:
            lanes.fill(e, classes, r, cast(0, real))
    write(a, i, count, e, x, real)


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
    scratch, chunk = workplace(a, real), draw(a)
    while chunk * a.chunk < a.samples:
        last = min((chunk + 1) * a.chunk, a.samples)
        total = 0.0
        for i in range(chunk * a.chunk, last, SAMPLES):
            total += block(a, i, min(SAMPLES, last - i), real, scratch)
        settle(a, chunk, total, real)
        chunk = draw(a)
