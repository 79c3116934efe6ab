"""Losses of single values, one walk over memory: binary labels and squared errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu.functions import EXACT, SUMS, exp, log1p, log1p_split, log1p_sum
from losscope.kernels.cpu.intrinsics import at, cast, larger, load, pointer, real_like, store, take

RUN = 960  # values


@njit(fastmath=EXACT, error_model="numpy")
def label(z: Any) -> Any:
    """(−ln σ(z), −ln σ(−z), σ(z), σ(−z)) from one exponential, which is of −|z| and so cannot overflow."""
    zero, one = cast(0, z), cast(1, z)  # a literal 1 would make it all float64
    e = exp(-np.abs(z))
    rest, likely = log1p(e), one / (one + e)
    unlikely = e * likely
    if_true, if_false = rest + (-z if z < zero else zero), rest + (z if z > zero else zero)
    return if_true, if_false, (likely if z > zero else unlikely), (unlikely if z > zero else likely)


@njit(fastmath=EXACT, error_model="numpy")
def share(t: Any, x: Any) -> Any:
    """t x, with 0·inf = 0."""
    return t * x if t != cast(0, t) else cast(0, x)


@njit(fastmath=EXACT, error_model="numpy")
def likelihood(z: Any, t: Any) -> Any:
    """(e^{−|z|}, u |z|) of ℓ = ln(1 + e^{−|z|}) + u |z|, where u is what the target gives to the unlikelier label."""
    zero = cast(0, z)
    u = cast(1, t) - t if z > zero else t
    return exp(-np.abs(z)), u, share(u, np.abs(z))


@njit(fastmath=SUMS, error_model="numpy")
def plain_sum(z: Any, target: Any, first: Any, last: Any, keep: Any, rest: Any) -> Any:
    """Σ ℓ, ℓ = −t ln σ(z) − (1 − t) ln σ(−z) with t ← keep · t + rest; and the smallest and largest target.

    Σ ln(1 + e) is taken as ln Π (1 + e): no product of at most RUN factors between 1 and 2 overflows in float64.
    """
    total, small, product = keep - keep, keep - keep, 1.0
    lowest, highest = -load(target, first), load(target, first)
    for k in range(first, last):
        t = load(target, k)
        lowest, highest = larger(lowest, -t), larger(highest, t)
        e, _, linear = likelihood(load(z, k), t * keep + rest)
        sum_term, factor, logarithm = log1p_split(e)
        total += linear + logarithm
        small += sum_term
        product *= factor
    return total + log1p_sum(small, product), -lowest, highest


@njit(fastmath=SUMS, error_model="numpy")
def plain_gradient(z: Any, target: Any, first: Any, last: Any, keep: Any, rest: Any, scale: Any, gradient: Any) -> Any:
    """The same, with ∂ℓ/∂z = σ(z) − t = ±(u − σ(−|z|)), times the scale; nothing cancels that is not there."""
    total, small, product, one, zero = keep - keep, keep - keep, 1.0, cast(1, keep), keep - keep
    lowest, highest = -load(target, first), load(target, first)
    for k in range(first, last):
        x, t = load(z, k), load(target, k)
        lowest, highest = larger(lowest, -t), larger(highest, t)
        e, u, linear = likelihood(x, t * keep + rest)
        sum_term, factor, logarithm = log1p_split(e)
        total += linear + logarithm
        small += sum_term
        product *= factor
        slope = scale * (u - e / (one + e))
        store(gradient, k, slope if x > zero else -slope)
    return total + log1p_sum(small, product), -lowest, highest


@njit(fastmath=EXACT, error_model="numpy")
def modulated(surprise: Any, other: Any, p: Any, p_other: Any, gamma: Any) -> Any:
    """(M s, its slope) of the focal loss: s = −ln p, M = (1 − p)^γ; 1 − p = p_other and −ln(1 − p) = other."""
    m = exp(-gamma * other) if other > cast(0, other) else cast(1, other)
    return share(m, surprise), -m * p_other - gamma * share(m * p, surprise)


@njit(fastmath=SUMS, error_model="numpy")
def weighted(a: Any, first: Any, last: Any, real: Any) -> Any:
    """Σ ℓ with every option: −p t M ln σ(z) − (1 − t) M ln σ(−z), times w; each gradient times its upstream."""
    z, target = pointer(a.z, a.element), pointer(a.target, a.element)
    w = at(pointer(a.weight, real), first * a.each_weight - first)
    positive = at(pointer(a.pos_weight, real), first * a.each_pos_weight - first)
    up = at(pointer(a.upstream, real), first * a.each_upstream - first)
    keep, rest = cast(1 - a.smoothing, real), cast(a.smoothing / 2, real)
    gamma, scale, nothing = cast(a.gamma, real), cast(a.scale, real), cast(0, real)
    ignore_index = cast(a.ignore_index, real)
    total, one = 0.0, cast(1, real)
    for k in range(first, last):
        hard = load(target, k)
        ignored = a.ignoring != 0 and hard == ignore_index
        t = hard * keep + rest
        if_true, if_false, p, p_other = label(load(z, k))
        true_loss, false_loss, true_slope, false_slope = if_true, if_false, -p_other, p
        if gamma > 0:
            true_loss, true_slope = modulated(if_true, if_false, p, p_other, gamma)
            false_loss, false_slope = modulated(if_false, if_true, p_other, p, gamma)
            false_slope = -false_slope
        loss = w[k] * (positive[k] * share(t, true_loss) + share(one - t, false_loss))
        loss = nothing if ignored else loss
        total += loss
        if a.loss != 0:
            store(pointer(a.loss, real), k, loss)
        if a.gradient != 0:
            slope = w[k] * (positive[k] * share(t, true_slope) + share(one - t, false_slope))
            slope = nothing if ignored else up[k] * scale * slope
            store(pointer(a.gradient, a.element), k, slope)
    return total


@njit(error_model="numpy")
def check(a: Any, lowest: Any, highest: Any, part: Any) -> Any:
    """A flag where a target may not be in [0, 1]; a maximum passes over NaN, the sum does not."""
    if not (lowest >= 0 and highest <= 1 and part == part):
        pointer(a.counters, np.int64(0))[1] = 1


@njit(error_model="numpy")
def plain(a: Any, first: Any, last: Any, real: Any) -> Any:
    """Σ ℓ of a block without options, and its gradient."""
    z, target, gradient = pointer(a.z, a.element), pointer(a.target, a.element), pointer(a.gradient, a.element)
    keep, rest, scale = cast(1 - a.smoothing, real), cast(a.smoothing / 2, real), cast(a.scale, real)
    total = 0.0
    for begin in range(first, last, RUN):
        end = min(begin + RUN, last)
        if a.gradient != 0:
            part, lowest, highest = plain_gradient(z, target, begin, end, keep, rest, scale, gradient)
        else:
            part, lowest, highest = plain_sum(z, target, begin, end, keep, rest)
        check(a, lowest, highest, part)
        total += part
    return total


def over_labels(arguments: Any) -> None:
    """Binary cross-entropy with logits: the kernel of one thread."""
    a = carray(arguments, 1)[0]
    real = real_like(a.element)
    counters, partial = pointer(a.counters, np.int64(0)), pointer(a.partial, 0.0)
    chunk = take(counters)
    while chunk * a.chunk < a.values:
        total, end = 0.0, min((chunk + 1) * a.chunk, a.values)
        for first in range(chunk * a.chunk, end, a.block):
            last = min(first + a.block, end)
            total += plain(a, first, last, real) if a.plain else weighted(a, first, last, real)
        partial[chunk] = total
        chunk = take(counters)


@njit(fastmath=SUMS, error_model="numpy")
def squares(a: Any, first: Any, last: Any, real: Any) -> Any:
    """Σ w (z − y)², and ∂/∂z = 2 w (z − y)."""
    z, target = pointer(a.z, a.element), pointer(a.target, a.element)
    w = at(pointer(a.weight, real), first * a.each_weight - first)
    up = at(pointer(a.upstream, real), first * a.each_upstream - first)
    scale, total = cast(a.scale, real), 0.0
    for k in range(first, last):
        distance = load(z, k) - load(target, k)
        loss = w[k] * (distance * distance)
        total += loss
        if a.loss != 0:
            store(pointer(a.loss, real), k, loss)
        if a.gradient != 0:
            store(pointer(a.gradient, a.element), k, up[k] * scale * (w[k] * (distance + distance)))
    return total


def over_squares(arguments: Any) -> None:
    """Squared errors: the kernel of one thread."""
    a = carray(arguments, 1)[0]
    real = real_like(a.element)
    counters, partial = pointer(a.counters, np.int64(0)), pointer(a.partial, 0.0)
    chunk = take(counters)
    while chunk * a.chunk < a.values:
        total, end = 0.0, min((chunk + 1) * a.chunk, a.values)
        for first in range(chunk * a.chunk, end, a.block):
            total += squares(a, first, min(first + a.block, end), real)
        partial[chunk] = total
        chunk = take(counters)
