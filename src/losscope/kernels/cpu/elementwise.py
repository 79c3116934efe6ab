"""Losses of single values, one walk over memory: binary labels and squared errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu.functions import EXACT, SUMS, exp, log1p
from losscope.kernels.cpu.intrinsics import at, cast, load, pointer, real_like, store, take


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


@njit(fastmath=SUMS, error_model="numpy")
def plain_sum(z: Any, target: Any, first: Any, last: Any, keep: Any, rest: Any) -> Any:
    """Σ ℓ, ℓ = −t ln σ(z) − (1 − t) ln σ(−z) with t ← keep · t + rest."""
    total, one = keep - keep, cast(1, keep)
    for k in range(first, last):
        t = load(target, k) * keep + rest
        if_true, if_false, _, _ = label(load(z, k))
        total += share(t, if_true) + share(one - t, if_false)
    return total


@njit(fastmath=SUMS, error_model="numpy")
def plain_gradient(z: Any, target: Any, first: Any, last: Any, keep: Any, rest: Any, scale: Any, gradient: Any) -> Any:
    """The same, with ∂ℓ/∂z = (1 − t) σ(z) − t σ(−z), times the scale."""
    total, one = keep - keep, cast(1, keep)
    for k in range(first, last):
        t = load(target, k) * keep + rest
        if_true, if_false, p, p_other = label(load(z, k))
        total += share(t, if_true) + share(one - t, if_false)
        store(gradient, k, scale * ((one - t) * p - t * p_other))
    return total


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


def over_labels(arguments: Any) -> None:
    """Binary cross-entropy with logits: the kernel of one thread."""
    a = carray(arguments, 1)[0]
    real = real_like(a.element)
    z, target, gradient = pointer(a.z, a.element), pointer(a.target, a.element), pointer(a.gradient, a.element)
    keep, rest, scale = cast(1 - a.smoothing, real), cast(a.smoothing / 2, real), cast(a.scale, real)
    counters, partial = pointer(a.counters, np.int64(0)), pointer(a.partial, 0.0)
    chunk = take(counters)
    while chunk * a.block < a.values:
        first, last = chunk * a.block, min((chunk + 1) * a.block, a.values)
        if not a.plain:
            partial[chunk] = weighted(a, first, last, real)
        elif a.gradient != 0:
            partial[chunk] = plain_gradient(z, target, first, last, keep, rest, scale, gradient)
        else:
            partial[chunk] = plain_sum(z, target, first, last, keep, rest)
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
    while chunk * a.block < a.values:
        partial[chunk] = squares(a, chunk * a.block, min((chunk + 1) * a.block, a.values), real)
        chunk = take(counters)
