"""One row of many classes: one visit while it is in cache.

A row is walked in blocks that fit the first-level cache. Each block is read from memory once, for its maximum and
for its exponentials, which wait in the thread's scratch; they are relative to the largest logit so far,
and m_block − m corrects that at the end, when they are scaled into the gradient and written out once.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from losscope.kernels.cpu.functions import EXACT, SUMS, exp
from losscope.kernels.cpu.intrinsics import (
    LANES,
    at,
    larger,
    load,
    prefetch,
    prefetch_to_write,
    store,
    wide_vectors,
)
from losscope.kernels.cpu.vectors import load_vector, stream_vector

BLOCK = 4096  # classes: 16 KiB of float32
STRIDE = 512  # classes between two rounds of prefetching


@njit(error_model="numpy")
def largest(z: Any, start: Any, first: Any, last: Any) -> Any:
    """max_h z_h; any number where a logit is NaN, which the exponentials then carry on."""
    wide_vectors()
    top = load(z, start + first)
    for h in range(first + 1, last):
        top = larger(top, load(z, start + h))
    return top


@njit(fastmath=SUMS, error_model="numpy")
def exponentials(z: Any, start: Any, first: Any, last: Any, m: Any, e: Any, later: Any, goal: Any) -> Any:
    """Σ_h e^{z_h − m}; the terms are kept in e. What is read `later` and the `goal` of the gradient come into cache.

    A stride is added up in the terms' precision, and the strides in float64.
    """
    wide_vectors()
    total = 0.0
    for begin in range(first, last, STRIDE):
        end = min(begin + STRIDE, last)
        for h in range(begin, end, 16):
            prefetch(later, h)
            prefetch_to_write(goal, h)
        part = m - m
        for h in range(begin, end):
            term = exp(load(z, start + h) - m)
            store(e, h, term)
            part += term
        total += part
    return total


@njit(fastmath=SUMS, error_model="numpy")
def sum_of_exponentials(z: Any, start: Any, first: Any, last: Any, m: Any, later: Any) -> Any:
    """Σ_h e^{z_h − m}. Meanwhile `later`, what is read next, comes into cache."""
    wide_vectors()
    total = 0.0
    for begin in range(first, last, STRIDE):
        end = min(begin + STRIDE, last)
        for h in range(begin, end, 16):
            prefetch(later, h)
        part = m - m
        for h in range(begin, end):
            part += exp(load(z, start + h) - m)
        total += part
    return total


@njit(error_model="numpy")
def shifted_sum(z: Any, start: Any, classes: Any, lowest: Any, e: Any, shifts: Any, keep: Any) -> Any:
    """(m, S) with m = max_h z_h and S = Σ_h e^{z_h − m}; the terms stay in e, each block relative to its shift."""
    m, total = lowest, 0.0
    for first in range(0, classes, BLOCK):
        last = min(first + BLOCK, classes)
        before, later = m, at(z, start + BLOCK)
        m = larger(m, largest(z, start, first, last))
        if keep:
            part = exponentials(z, start, first, last, m, e, later, e)
            shifts[first // BLOCK] = m
        else:
            part = sum_of_exponentials(z, start, first, last, m, later)
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
