"""Cross-entropy of blocks of rows of up to a thousand classes, each row some whole vectors.

Such a row is too short to hide what comes once for each: the sums over a vector's lanes, the logarithm, the loss.
So the rows of a block go through every step together: their maxima, their exponentials and sums, then what is left of
the samples side by side, one in each lane, as in `blocks`, then their gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu import lanes, rows
from losscope.kernels.cpu.blocks import PER_LANE, terms_at, upstreams
from losscope.kernels.cpu.categorical import is_ignored, look, offset, unaligned
from losscope.kernels.cpu.functions import EXACT, TINY, exp
from losscope.kernels.cpu.intrinsics import (
    LANES,
    at,
    cast,
    choose_below,
    load,
    pointer,
    prefetch,
    real_like,
    store,
)
from losscope.kernels.cpu.sharing import draw, settle, workplace
from losscope.kernels.cpu.vectors import (
    largest_lane,
    load_some,
    load_vector,
    magnitude,
    maximum,
    minimum,
    smallest_lane,
    splat,
    store_some,
    store_vector,
    sum_of_lanes,
)

FOUR = 4  # rows whose steps need not wait for each other
VALUES = 1 << 11  # of a block: as many as stay in the first cache beside their exponentials and gradients


def rows_of(classes: int) -> int:
    """The rows of a block: some times four, and no more than there are lanes."""
    return min(lanes.SAMPLES, max(FOUR, VALUES // classes // FOUR * FOUR))


def scratch_size(classes: int) -> int:
    """Numbers of a thread's scratch: the exponentials and the gradients of a block, and what its lanes hold."""
    return rows_of(classes) * 2 * int(pitch.py_func(classes)) + PER_LANE * lanes.SAMPLES


@njit(error_model="numpy")
def pitch(classes: Any) -> Any:
    """The numbers from one row of exponentials to the next: whole vectors."""
    return (classes + LANES - 1) // LANES * LANES


@njit(error_model="numpy", forceinline=True)
def starts_of(a: Any, i: Any, r: Any, count: Any) -> Any:
    """Where the rows of four samples from i + r on start; the last of the block is repeated."""
    return (
        offset(i + min(r, count - 1), a.inner, a.z_outer, a.z_inner),
        offset(i + min(r + 1, count - 1), a.inner, a.z_outer, a.z_inner),
        offset(i + min(r + 2, count - 1), a.inner, a.z_outer, a.z_inner),
        offset(i + min(r + 3, count - 1), a.inner, a.z_outer, a.z_inner),
    )


@njit(error_model="numpy", forceinline=True)
def largest(z: Any, starts: Any, classes: Any, lowest: Any, m: Any, r: Any) -> Any:
    """m = max_h z_h of four rows; any number where a logit is NaN, which the exponentials then carry on."""
    s_0, s_1, s_2, s_3 = starts
    m_0 = m_1 = m_2 = m_3 = splat(lowest)
    whole = classes - classes % LANES
    for h in range(0, whole, LANES):
        m_0, m_1 = maximum(load_vector(z, s_0 + h), m_0), maximum(load_vector(z, s_1 + h), m_1)
        m_2, m_3 = maximum(load_vector(z, s_2 + h), m_2), maximum(load_vector(z, s_3 + h), m_3)
    if whole < classes:
        n = classes - whole
        m_0 = maximum(load_some(z, s_0 + whole, n, lowest), m_0)
        m_1 = maximum(load_some(z, s_1 + whole, n, lowest), m_1)
        m_2 = maximum(load_some(z, s_2 + whole, n, lowest), m_2)
        m_3 = maximum(load_some(z, s_3 + whole, n, lowest), m_3)
    m[r], m[r + 1], m[r + 2], m[r + 3] = largest_lane(m_0), largest_lane(m_1), largest_lane(m_2), largest_lane(m_3)


@njit(fastmath=EXACT, error_model="numpy", forceinline=True)
def exponentials(z: Any, starts: Any, later: Any, classes: Any, m: Any, total: Any, r: Any, e: Any) -> Any:
    """S = Σ_h e^{z_h − m} of four rows, whose terms are kept in e: of one row each step would wait for the last.

    What lies so much `later` is asked for a line at a time: many at once would wait for each other.
    """
    s_0, s_1, s_2, s_3 = starts
    m_0, m_1, m_2, m_3 = m[r], m[r + 1], m[r + 2], m[r + 3]
    step = pitch(classes)
    e_0, e_1, e_2, e_3 = r * step, (r + 1) * step, (r + 2) * step, (r + 3) * step
    t_0 = t_1 = t_2 = t_3 = splat(cast(0, m_0))  # m − m is NaN where m is infinite
    whole = classes - classes % LANES
    for h in range(0, whole, LANES):
        x_0, x_1 = exp(load_vector(z, s_0 + h) - m_0), exp(load_vector(z, s_1 + h) - m_1)
        x_2, x_3 = exp(load_vector(z, s_2 + h) - m_2), exp(load_vector(z, s_3 + h) - m_3)
        prefetch(z, s_0 + later + h)
        prefetch(z, s_1 + later + h)
        prefetch(z, s_2 + later + h)
        prefetch(z, s_3 + later + h)
        store_vector(e, e_0 + h, x_0)
        store_vector(e, e_1 + h, x_1)
        store_vector(e, e_2 + h, x_2)
        store_vector(e, e_3 + h, x_3)
        t_0, t_1, t_2, t_3 = t_0 + x_0, t_1 + x_1, t_2 + x_2, t_3 + x_3
    if whole < classes:
        n, masked = classes - whole, cast(-np.inf, m_0)
        x_0, x_1 = load_some(z, s_0 + whole, n, masked), load_some(z, s_1 + whole, n, masked)
        x_2, x_3 = load_some(z, s_2 + whole, n, masked), load_some(z, s_3 + whole, n, masked)
        x_0, x_1, x_2, x_3 = exp(x_0 - m_0), exp(x_1 - m_1), exp(x_2 - m_2), exp(x_3 - m_3)
        store_vector(e, e_0 + whole, x_0)
        store_vector(e, e_1 + whole, x_1)
        store_vector(e, e_2 + whole, x_2)
        store_vector(e, e_3 + whole, x_3)
        t_0, t_1, t_2, t_3 = t_0 + x_0, t_1 + x_1, t_2 + x_2, t_3 + x_3
    total[r], total[r + 1] = sum_of_lanes(t_0), sum_of_lanes(t_1)
    total[r + 2], total[r + 3] = sum_of_lanes(t_2), sum_of_lanes(t_3)


@njit(fastmath=EXACT, error_model="numpy")
def over_target(z: Any, start: Any, w: Any, q: Any, goal: Any, classes: Any, m: Any, later: Any) -> Any:
    """(Σ_h w_h q_h, Σ_h w_h q_h (m − z_h)), min_h q_h, max_h q_h. What is read `later` comes into cache."""
    nothing = m - m
    mass = below = lowest = highest = splat(nothing)
    whole = classes - classes % LANES
    for h in range(0, whole, LANES):
        prefetch(later, h)
        q_h = load_vector(q, goal + h)
        a, term = surprise(load_vector(z, start + h), load_vector(w, h) * q_h, m)
        mass, below, lowest, highest = mass + a, below + term, minimum(q_h, lowest), maximum(q_h, highest)
    if whole < classes:
        prefetch(later, whole)
        count = classes - whole
        q_h = load_some(q, goal + whole, count, nothing)
        a, term = surprise(load_some(z, start + whole, count, m), load_some(w, whole, count, nothing) * q_h, m)
        mass, below, lowest, highest = mass + a, below + term, minimum(q_h, lowest), maximum(q_h, highest)
    return sum_of_lanes(mass), sum_of_lanes(below), smallest_lane(lowest), largest_lane(highest)


@njit(fastmath=EXACT, error_model="numpy")
def surprise(z: Any, a: Any, m: Any) -> Any:
    """(a, a (m − z)), where 0·∞ = 0: below the normal numbers a is nothing, and NaN is not below."""
    return a, choose_below(magnitude(a), cast(TINY, m), m - m, a * (m - z))


@njit(fastmath=EXACT, error_model="numpy")
def over_all(z: Any, start: Any, w: Any, classes: Any, m: Any) -> Any:
    """(Σ_h w_h, Σ_h w_h (m − z_h)); not finite where a class is masked."""
    nothing = m - m
    mass = below = splat(nothing)
    whole = classes - classes % LANES
    for h in range(0, whole, LANES):
        w_h = load_vector(w, h)
        mass, below = mass + w_h, below + w_h * (m - load_vector(z, start + h))
    if whole < classes:
        w_h = load_some(w, whole, classes - whole, nothing)
        mass, below = mass + w_h, below + w_h * (m - load_some(z, start + whole, classes - whole, m))
    return sum_of_lanes(mass), sum_of_lanes(below)


@njit(fastmath=EXACT, error_model="numpy")
def over_open(z: Any, start: Any, w: Any, classes: Any, m: Any, lowest: Any) -> Any:
    """(Σ_h w_h, Σ_h w_h (m − z_h), K) over the K classes that are not masked: those not below the lowest number."""
    nothing = m - m
    mass = below = count = splat(nothing)
    for h in range(0, classes, LANES):
        left = classes - h
        z_h, w_h = load_some(z, start + h, left, cast(-np.inf, m)), load_some(w, h, left, nothing)
        mass += choose_below(z_h, lowest, nothing, w_h)
        below += choose_below(z_h, lowest, nothing, w_h * (m - z_h))
        count += choose_below(z_h, lowest, nothing, cast(1, m))
    return sum_of_lanes(mass), sum_of_lanes(below), sum_of_lanes(count)


@njit(fastmath=EXACT, error_model="numpy", forceinline=True)
def scale(e: Any, first: Any, classes: Any, factor: Any, gradient: Any, to: Any) -> Any:
    """∂/∂z_h = factor · e_h."""
    whole = classes - classes % LANES
    for h in range(0, whole, LANES):
        store_vector(gradient, to + h, load_vector(e, first + h) * factor)
    if whole < classes:
        store_some(gradient, to + whole, classes - whole, load_vector(e, first + whole) * factor)


@njit(fastmath=EXACT, error_model="numpy", forceinline=True)
def less(v: Any, a: Any, z: Any, q: Any, w: Any, kept: Any, share: Any, lowest: Any, all_open: Any) -> Any:
    """v − share · w [the class is open] − kept · w q, of which only what an option asks for."""
    if a.smoothing > 0:
        v = v - w * share if all_open else v - choose_below(z, lowest, share - share, w * share)
    if a.soft:
        v = v - w * q * kept
    return v


@njit(fastmath=EXACT, error_model="numpy")
def scale_less(
    a: Any, i: Any, e: Any, first: Any, w: Any, factor: Any, kept: Any, share: Any, all_open: Any, goal: Any, to: Any
) -> Any:
    """∂/∂z_h = factor · e_h − share · w_h [h is open] − kept · w_h q_h; of an index target without its class."""
    z, start = pointer(a.z, a.element), offset(i, a.inner, a.z_outer, a.z_inner)
    q, source = pointer(a.target, a.element), offset(i, a.inner, a.target_outer, a.target_inner)
    if not a.soft:
        q, source = z, start
    classes, lowest, nothing = a.classes, cast(a.lowest, factor), factor - factor
    whole = classes - classes % LANES
    for h in range(0, whole, LANES):
        z_h, q_h, w_h = load_vector(z, start + h), load_vector(q, source + h), load_vector(w, h)
        v = less(load_vector(e, first + h) * factor, a, z_h, q_h, w_h, kept, share, lowest, all_open)
        store_vector(goal, to + h, v)
    if whole < classes:
        n = classes - whole
        z_h, q_h = load_some(z, start + whole, n, nothing), load_some(q, source + whole, n, nothing)
        w_h = load_some(w, whole, n, nothing)
        v = less(load_vector(e, first + whole) * factor, a, z_h, q_h, w_h, kept, share, lowest, all_open)
        store_some(goal, to + whole, n, v)


@njit(error_model="numpy")
def sums(a: Any, i: Any, count: Any, e: Any, m: Any, total: Any, real: Any) -> Any:
    """m and S in each lane, and the exponentials in e; 0 and 1 in the lanes without a sample."""
    z, classes = pointer(a.z, a.element), a.classes
    for r in range(pitch(count)):
        m[r], total[r] = 0, 1
    for r in range(0, count, FOUR):
        largest(z, starts_of(a, i, r, count), classes, cast(a.lowest, real), m, r)
    for r in range(0, count, FOUR):
        starts = starts_of(a, i, r, count)
        exponentials(z, starts, a.together * a.z_outer, classes, m, total, r, e)


@njit(error_model="numpy")
def soft_terms(a: Any, i: Any, count: Any, t: Any, real: Any) -> Any:
    """(Σ_h w_h q_h, Σ_h w_h q_h (m − z_h)) in each lane."""
    z, q, w = pointer(a.z, a.element), pointer(a.target, a.element), pointer(a.weight, real)
    for r in range(lanes.SAMPLES):
        t.counted[r], t.mass[r], t.below[r] = 1, 0, 0
    for r in range(count):
        start = offset(i + r, a.inner, a.z_outer, a.z_inner)
        goal = offset(i + r, a.inner, a.target_outer, a.target_inner)
        later = at(q, goal + a.together * a.target_outer)
        mass, below, lowest, highest = over_target(z, start, w, q, goal, a.classes, t.m[r], later)
        look(a, mass, below, -lowest, highest)
        t.mass[r], t.below[r] = mass, below


@njit(error_model="numpy")
def index_terms(a: Any, i: Any, count: Any, t: Any, real: Any) -> Any:
    """(v, w_y, m − z_y) in each lane; 0 where the sample is ignored."""
    z, y, w = pointer(a.z, a.element), pointer(a.target, np.int64(0)), pointer(a.weight, real)
    for r in range(lanes.SAMPLES):
        t.counted[r], t.mass[r], t.below[r] = 0, 0, 0
    for r in range(count):
        if not is_ignored(a, i + r):
            t.counted[r] = 1
            t.mass[r] = w[y[i + r] * a.weighted]
            t.below[r] = t.m[r] - load(z, offset(i + r, a.inner, a.z_outer, a.z_inner) + y[i + r])


@njit(error_model="numpy")
def open_terms(a: Any, i: Any, count: Any, t: Any, real: Any) -> Any:
    """(Σ_h w_h, Σ_h w_h (m − z_h), K) of the classes that are not masked, in each lane."""
    z, w = pointer(a.z, a.element), pointer(a.weight, real)
    for r in range(lanes.SAMPLES):
        t.open_mass[r], t.open_below[r], t.open_count[r] = 0, 0, 1
    for r in range(count):
        start = offset(i + r, a.inner, a.z_outer, a.z_inner)
        t.open_mass[r], t.open_below[r] = over_all(z, start, w, a.classes, t.m[r])
        t.open_count[r] = a.classes
        if not np.isfinite(t.open_below[r]):
            opened = over_open(z, start, w, a.classes, t.m[r], cast(a.lowest, real))
            t.open_mass[r], t.open_below[r], t.open_count[r] = opened


@njit(error_model="numpy")
def band(a: Any, i: Any, count: Any, real: Any, e: Any) -> Any:
    """Σ ℓ_i of the samples from i on, and their gradients."""
    free = at(e, a.together * pitch(a.classes))
    t = terms_at(at(free, a.together * pitch(a.classes)))
    width = pitch(count)
    sums(a, i, count, e, t.m, t.total, real)
    lanes.logarithms(t.total, t.log_sum, width)
    if a.soft:
        soft_terms(a, i, count, t, real)
    else:
        index_terms(a, i, count, t, real)
    if a.smoothing > 0:
        open_terms(a, i, count, t, real)
    upstreams(a, i, count, t, real)
    if a.gamma > 0:
        lanes.finish_focal(t, cast(a.gamma, real), cast(a.z_loss, real), width)
    else:
        lanes.finish(t, a.soft, a.smoothing, a.z_loss, width)

    if a.loss != 0:
        for r in range(count):
            store(pointer(a.loss, real), i + r, t.loss[r])
    if a.gradient != 0 and a.streamed:
        write_rows(a, i, count, t, e, real, free, True)
        start = i * a.classes
        rows.stream(
            free, 0, count * a.classes, cast(1, real), pointer(a.gradient, a.element), start, unaligned(a, start)
        )
    elif a.gradient != 0:
        goal = pointer(a.gradient, a.element)
        write_rows(a, i, count, t, e, real, goal, False)
    return lanes.sum_of(t.loss, count)


@njit(error_model="numpy")
def write_rows(a: Any, i: Any, count: Any, t: Any, e: Any, real: Any, goal: Any, packed: Any) -> Any:
    """∂/∂z_h = factor · e^{z_h − m} − share · w_h [h is open] − kept · w_h q_h; 0 where the sample is ignored."""
    z, w, y, classes = pointer(a.z, a.element), pointer(a.weight, real), pointer(a.target, np.int64(0)), a.classes
    for r in range(count):
        first = r * pitch(classes)
        to = r * classes if packed else offset(i + r, a.inner, a.gradient_outer, a.gradient_inner)
        if t.counted[r] == 0:
            rows.fill(goal, to, 1, classes, cast(0, real))
            continue
        h, factor, kept, share = 0 if a.soft else y[i + r], t.total[r], t.kept[r], t.share[r]
        z_h = load(z, offset(i + r, a.inner, a.z_outer, a.z_inner) + h)  # the gradient may take its place
        if a.dense:
            scale_less(a, i + r, e, first, w, factor, kept, share, t.open_count[r] == classes, goal, to)
        else:
            scale(e, first, classes, factor, goal, to)
        if not a.soft:
            w_h, is_open = w[h * a.weighted], a.smoothing > 0 and z_h >= a.lowest
            v = factor * e[first + h] - (share * w_h if is_open else share - share)
            store(goal, to + h, v - kept * w_h)


def over_bands(arguments: Any) -> None:
    """The kernel of one thread: every chunk of samples that it draws, a block of rows at a time."""
    a = carray(arguments, 1)[0]
    real = real_like(a.element)
    scratch, chunk = workplace(a, real), draw(a)
    while chunk * a.chunk < a.samples:
        last = min((chunk + 1) * a.chunk, a.samples)
        total = 0.0
        for i in range(chunk * a.chunk, last, a.together):
            total += band(a, i, min(a.together, last - i), real, scratch)
        settle(a, chunk, total, real)
        chunk = draw(a)
