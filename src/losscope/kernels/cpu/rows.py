"""One row of many classes: one visit while it is in cache.

A row is walked in blocks that fit the first-level cache. Each block is read from memory once, for its maximum and
for its exponentials, which wait in the thread's scratch; they are relative to the largest logit so far,
and m_block − m corrects that at the end, when they are scaled into the gradient and written out once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from losscope.kernels.cpu.functions import EXACT, exp
from losscope.kernels.cpu.intrinsics import LANES, at, cast, larger, load, prefetch, store, wide_vectors
from losscope.kernels.cpu.vectors import (
    largest_lane,
    load_four,
    load_some,
    load_vector,
    maximum,
    splat,
    store_some,
    store_vector,
    stream_vector,
    sum_of_lanes,
)

BLOCK = 4096  # classes: 16 KiB of float32
STRIDE = 512  # classes whose terms are added up in their own precision before their sum goes on in float64
FOUR = 4 * LANES


@njit(error_model="numpy")
def largest(z: Any, start: Any, first: Any, last: Any) -> Any:
    """max_h z_h; any number where a logit is NaN, which the exponentials then carry on."""
    wide_vectors()
    top = load(z, start + first)
    for h in range(first + 1, last):
        top = larger(top, load(z, start + h))
    return top


@njit(fastmath=EXACT, error_model="numpy", forceinline=True)
def four_terms(z: Any, at: Any, m: Any) -> Any:
    """e^{z_h − m} of four vectors."""
    z_0, z_1, z_2, z_3 = load_four(z, at)
    return exp(z_0 - m), exp(z_1 - m), exp(z_2 - m), exp(z_3 - m)


@njit(error_model="numpy", forceinline=True)
def ahead(later: Any, h: Any, known: Any, top: Any) -> Any:
    """Have four vectors in the cache that come later, and their maximum too where they are `known` to be there.

    Little by little, because many requests at once would wait for each other. A read that follows the last one is seen
    by the CPU, which then reads further ahead than it lets a program ask for; but only to the end of a page, which is
    why what is soon read is asked for as well: without it 24 to 30 ms, depending on the address, became 18 to 21.
    """
    beyond = STRIDE if known else 0
    for k in range(h + beyond, h + beyond + FOUR, LANES):
        prefetch(later, k)
    if not known:
        return top
    z_0, z_1, z_2, z_3 = load_four(later, h)
    return maximum(maximum(maximum(z_0, z_1), maximum(z_2, z_3)), top)


@njit(fastmath=EXACT, error_model="numpy", forceinline=True)
def walk(
    z: Any, start: Any, first: Any, last: Any, m: Any, e: Any, keep: Any, later: Any, known: Any, lowest: Any
) -> Any:
    """(Σ_h e^{z_h − m}, max_h later_h over the whole strides of known ones); where it is to keep the terms, in e.

    A stride is added up in the terms' precision, and the strides in float64.
    """
    total, nothing, top = 0.0, m - m, splat(lowest)
    for begin in range(first, last, STRIDE):
        end = min(begin + STRIDE, last)
        whole, full = end - (end - begin) % FOUR, end <= known
        t_0 = t_1 = t_2 = t_3 = splat(nothing)
        for h in range(begin, whole, FOUR):
            x_0, x_1, x_2, x_3 = four_terms(z, start + h, m)
            top = ahead(later, h, full, top)
            if keep:
                store_vector(e, h, x_0)
                store_vector(e, h + LANES, x_1)
                store_vector(e, h + 2 * LANES, x_2)
                store_vector(e, h + 3 * LANES, x_3)
            t_0, t_1, t_2, t_3 = t_0 + x_0, t_1 + x_1, t_2 + x_2, t_3 + x_3
        for h in range(whole, end, LANES):
            x_0 = exp(load_some(z, start + h, end - h, cast(-np.inf, m)) - m)
            t_0 += x_0
            if keep:
                store_some(e, h, end - h, x_0)
        total += sum_of_lanes((t_0 + t_1) + (t_2 + t_3))
    return total, largest_lane(top)


@njit(error_model="numpy")
def exponentials(z: Any, start: Any, first: Any, last: Any, m: Any, e: Any, later: Any) -> Any:
    """Σ_h e^{z_h − m}, the terms kept in e. What is read `later` comes into cache."""
    return walk(z, start, first, last, m, e, True, later, 0, m)[0]


@njit(error_model="numpy")
def step(
    z: Any, start: Any, first: Any, last: Any, classes: Any, size: Any, m: Any, e: Any, keep: Any, lowest: Any
) -> Any:
    """(Σ_h e^{z_h − m} of a block, the maximum of the next one of that size); where it is to keep the terms, in e."""
    known = classes - size
    total, top = walk(z, start, first, last, m, e, keep, at(z, start + size), known, lowest)
    rest = max(first, known - (known - first) % STRIDE) + size  # where the last stride is not whole
    if rest < min(last + size, classes):
        top = larger(top, largest(z, start, rest, min(last + size, classes)))
    return total, top


@njit(error_model="numpy")
def shifted_sum(z: Any, start: Any, classes: Any, lowest: Any, e: Any, shifts: Any, keep: Any) -> Any:
    """(m, S) with m = max_h z_h and S = Σ_h e^{z_h − m}; the terms stay in e, each block relative to its shift."""
    m, total, top = lowest, 0.0, largest(z, start, 0, min(BLOCK, classes))
    for first in range(0, classes, BLOCK):
        last, before = min(first + BLOCK, classes), m
        m = larger(m, top)
        part, top = step(z, start, first, last, classes, BLOCK, m, e, keep, lowest)
        if keep:
            shifts[first // BLOCK] = m
        total = part if first == 0 else total * exp(before - m) + part
    return m, total


@njit(fastmath=EXACT, error_model="numpy")
def scale(e: Any, first: Any, last: Any, factor: Any, gradient: Any, start: Any) -> Any:
    """∂/∂z_h = factor · e_h."""
    wide_vectors()
    for h in range(first, last):
        store(gradient, start + h, factor * e[h])


@njit(error_model="numpy")
def stream(e: Any, first: Any, last: Any, factor: Any, gradient: Any, start: Any, skip: Any) -> Any:
    """The same past the caches; `skip` classes stand before the first that is aligned for it."""
    head = min(first + skip, last)
    tail = last - (last - head) % LANES
    scale(e, first, head, factor, gradient, start)
    for h in range(head, tail, LANES):
        stream_vector(gradient, start + h, load_vector(e, h) * factor)
    scale(e, tail, last, factor, gradient, start)


@njit(error_model="numpy")
def put(e: Any, first: Any, last: Any, factor: Any, gradient: Any, start: Any, skip: Any) -> Any:
    """∂/∂z_h = factor · e_h, streamed unless skip < 0."""
    if skip < 0:
        scale(e, first, last, factor, gradient, start)
    else:
        stream(e, first, last, factor, gradient, start, skip)


@njit(error_model="numpy")
def write(e: Any, shifts: Any, classes: Any, m: Any, factor: Any, gradient: Any, start: Any, skip: Any) -> Any:
    """∂/∂z_h = factor · e^{z_h − m} for every class."""
    for first in range(0, classes, BLOCK):
        last = min(first + BLOCK, classes)
        put(e, first, last, factor * exp(shifts[first // BLOCK] - m), gradient, start, skip)


@njit(error_model="numpy")
def fill(out: Any, start: Any, step: Any, classes: Any, value: Any) -> Any:
    """The same number for every class."""
    for h in range(classes):
        store(out, start + h * step, value)
