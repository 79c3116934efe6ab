"""Cross-entropy of rows of few classes with index targets and no option but weights.

It is the commonest of what `blocks` can do, and often the first call of all: alone it compiles in half the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu import lanes, rows
from losscope.kernels.cpu.blocks import index_terms, terms_at, upstreams
from losscope.kernels.cpu.categorical import unaligned
from losscope.kernels.cpu.intrinsics import at, cast, pointer, real_like, store
from losscope.kernels.cpu.lanes import SAMPLES
from losscope.kernels.cpu.sharing import draw, settle, workplace


@njit(error_model="numpy")
def block(a: Any, i: Any, count: Any, real: Any, x: Any) -> Any:
    """Σ ℓ_i of up to SAMPLES rows from i on, and their gradients."""
    classes, size = a.classes, lanes.room(a.classes)
    e, t = at(x, size), terms_at(at(x, 3 * size))
    z, gradient = pointer(a.z, a.element), pointer(a.gradient, a.element)

    lanes.gather_rows(z, i * a.z_outer, a.z_outer, count, classes, x)
    lanes.largest(x, classes, cast(a.lowest, real), t.m)
    goal = z if a.streamed else at(gradient, i * a.gradient_outer)
    lanes.exponentials(x, classes, t, e, at(z, (i + SAMPLES) * a.z_outer), goal)
    lanes.logarithms(t.total, t.log_sum, SAMPLES)
    index_terms(a, i, count, x, t, real)
    upstreams(a, i, count, t, real)
    lanes.finish(t, False, 0.0, 0.0, SAMPLES)
    if a.loss != 0:
        for r in range(count):
            store(pointer(a.loss, real), i + r, t.loss[r])
    if a.gradient != 0:
        write_gradient(a, i, count, real, x, e, t)
    return lanes.sum_of(t.loss, count)


@njit(error_model="numpy")
def write_gradient(a: Any, i: Any, count: Any, real: Any, x: Any, e: Any, t: Any) -> Any:
    """∂/∂z_h = factor · e^{z_h − m} − kept · w_h [h = y], and 0 where ignored."""
    classes, w, y = a.classes, pointer(a.weight, real), pointer(a.target, np.int64(0))
    goal, to = pointer(a.gradient, a.element), i * a.gradient_outer
    lanes.scale(e, classes, t.total)
    for r in range(count):
        if t.counted[r] != 0:
            e[y[i + r] * SAMPLES + r] -= t.kept[r] * w[y[i + r] * a.weighted]
        else:
            lanes.fill(e, classes, r, cast(0, real))
    if a.streamed and a.gradient_outer == classes:
        lanes.scatter_rows(e, count, classes, x, 0, classes)
        rows.stream(x, 0, count * classes, cast(1, real), goal, to, unaligned(a, to))
    else:
        lanes.scatter_rows(e, count, classes, goal, to, a.gradient_outer)


def over_plain_blocks(arguments: Any) -> None:
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
