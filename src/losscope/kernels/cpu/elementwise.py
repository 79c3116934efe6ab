"""Losses of single values, one walk over memory: binary labels and squared errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu.functions import (
    EXACT,
    SUMS,
    TINY,
    exp,
    log1p,
    log1p_joined,
    log1p_split,
    log1p_sum,
    log1p_term,
)
from losscope.kernels.cpu.intrinsics import (
    LANES,
    at,
    cast,
    choose_below,
    load,
    pointer,
    real_like,
    store,
    wide_vectors,
)
from losscope.kernels.cpu.sharing import draw, settle, suspect
from losscope.kernels.cpu.vectors import (
    choose_negative,
    doubled,
    first_lanes,
    largest_lane,
    load_four,
    load_some,
    magnitude,
    maximum,
    minimum,
    product_of_lanes,
    smallest_lane,
    splat,
    store_some,
    store_vector,
    stream_vector,
    sum_of_lanes,
    with_sign_of,
)

RUN = 960  # values
FOUR = 4 * LANES  # values whose factors are joined
PART = 5 * FOUR  # values that are added up in their own precision before their sum goes on in float64


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
def likelihood(z: Any, t: Any, keep: Any, rest: Any, one: Any) -> Any:
    """(e^{−|z|}, u, u |z|) of ℓ = ln(1 + e^{−|z|}) + u |z|; u is what the target gives to the unlikelier label.

    That is chosen before it is smoothed: 1 − t of a smoothed target has lost its digits.
    """
    x, nothing = magnitude(z), one - one
    u = choose_negative(z, t, one - t) * keep + rest
    # 0·inf = 0: below the normal numbers u is nothing, and NaN is not below.
    return exp(nothing - x), u, choose_below(u, cast(TINY, one), nothing, u * x)


@njit(fastmath=EXACT, error_model="numpy")
def plain_vector(z: Any, t: Any, keep: Any, rest: Any, scale: Any) -> Any:
    """(ln(1 + e) as a term of its sum, u |z|, ∂ℓ/∂z = σ(z) − t = ±(u − σ(−|z|)) times the scale) of sixteen values."""
    one = cast(1, keep)
    e, u, linear = likelihood(z, t, keep, rest, one)
    return log1p_term(e), linear, with_sign_of(z, scale * (u - e / (one + e)))  # nothing cancels that is not there


@njit(error_model="numpy")
def write(goal: Any, k: Any, v: Any, streamed: Any) -> Any:
    """A vector of the gradient, past the caches where none will hold it until it is read."""
    if streamed:
        stream_vector(goal, k, v)
    else:
        store_vector(goal, k, v)


@njit(fastmath=EXACT, error_model="numpy")
def plain_run(a: Any, first: Any, last: Any, one: Any) -> Any:
    """Σ ℓ, ℓ = −t ln σ(z) − (1 − t) ln σ(−z), its gradient where wanted, and the smallest and largest target.

    Σ ln(1 + e) is taken as ln Π (1 + e): no product of at most RUN factors between 1 and 2 overflows in float64.
    """
    z, target, gradient = pointer(a.z, a.element), pointer(a.target, a.element), pointer(a.gradient, a.element)
    keep, rest, scale = cast(1 - a.smoothing, one), cast(a.smoothing / 2, one), cast(a.scale, one)
    wanted, streamed = a.gradient != 0, a.streamed != 0
    total, small, product = splat(0.0), splat(0.0), splat(1.0)
    lowest = highest = splat(one)
    whole = last - (last - first) % FOUR
    for begin in range(first, whole, PART):
        linear = splat(one - one)
        for k in range(begin, min(begin + PART, whole), FOUR):
            t_0, t_1, t_2, t_3 = load_four(target, k)
            lowest = minimum(minimum(minimum(t_0, t_1), minimum(t_2, t_3)), lowest)
            highest = maximum(maximum(maximum(t_0, t_1), maximum(t_2, t_3)), highest)
            z_0, z_1, z_2, z_3 = load_four(z, k)
            p_0, l_0, v_0 = plain_vector(z_0, t_0, keep, rest, scale)
            p_1, l_1, v_1 = plain_vector(z_1, t_1, keep, rest, scale)
            p_2, l_2, v_2 = plain_vector(z_2, t_2, keep, rest, scale)
            p_3, l_3, v_3 = plain_vector(z_3, t_3, keep, rest, scale)
            sum_term, factor, logarithm = log1p_split(log1p_joined(log1p_joined(p_0, p_1), log1p_joined(p_2, p_3)))
            linear += ((l_0 + l_1) + (l_2 + l_3)) + logarithm
            small, product = small + sum_term, product * factor
            if wanted:
                write(gradient, k, v_0, streamed)
                write(gradient, k + LANES, v_1, streamed)
                write(gradient, k + 2 * LANES, v_2, streamed)
                write(gradient, k + 3 * LANES, v_3, streamed)
        total += doubled(linear)
    for k in range(whole, last, LANES):  # of a lane beyond the last value: ln(1 + e^−∞) = 0
        t = load_some(target, k, last - k, one)
        lowest, highest = minimum(t, lowest), maximum(t, highest)
        term, linear, v = plain_vector(load_some(z, k, last - k, cast(np.inf, one)), t, keep, rest, scale)
        sum_term, factor, logarithm = log1p_split(term)
        small, product = small + sum_term, product * factor
        total += doubled(first_lanes(linear, last - k) + logarithm)
        if wanted:
            store_some(gradient, k, last - k, v)
    logs = log1p_sum(sum_of_lanes(small), product_of_lanes(product))
    return sum_of_lanes(total) + logs, smallest_lane(lowest), largest_lane(highest)


@njit(fastmath=EXACT, error_model="numpy")
def modulated(surprise: Any, other: Any, p: Any, p_other: Any, gamma: Any) -> Any:
    """(M s, its slope) of the focal loss: s = −ln p, M = (1 − p)^γ; 1 − p = p_other and −ln(1 − p) = other."""
    m = exp(-gamma * other) if other > cast(0, other) else cast(1, other)
    return share(m, surprise), -m * p_other - gamma * share(m * p, surprise)


@njit(fastmath=SUMS, error_model="numpy")
def weighted(a: Any, first: Any, last: Any, real: Any) -> Any:
    """Σ ℓ with every option: −p t M ln σ(z) − (1 − t) M ln σ(−z), times w; each gradient times its upstream."""
    wide_vectors()
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
        t, t_other = hard * keep + rest, (one - hard) * keep + rest
        if_true, if_false, p, p_other = label(load(z, k))
        true_loss, false_loss, true_slope, false_slope = if_true, if_false, -p_other, p
        if gamma > 0:
            true_loss, true_slope = modulated(if_true, if_false, p, p_other, gamma)
            false_loss, false_slope = modulated(if_false, if_true, p_other, p, gamma)
            false_slope = -false_slope
        loss = w[k] * (positive[k] * share(t, true_loss) + share(t_other, false_loss))
        loss = nothing if ignored else loss
        total += loss
        if a.loss != 0:
            store(pointer(a.loss, real), k, loss)
        if a.gradient != 0:
            slope = w[k] * (positive[k] * share(t, true_slope) + share(t_other, false_slope))
            slope = nothing if ignored else up[k] * scale * slope
            store(pointer(a.gradient, a.element), k, slope)
    return total


@njit(error_model="numpy")
def check(a: Any, lowest: Any, highest: Any, part: Any) -> Any:
    """A flag where a target may not be in [0, 1]; a maximum passes over NaN, the sum does not."""
    if not (lowest >= 0 and highest <= 1 and part == part):
        suspect(a)


@njit(error_model="numpy")
def plain(a: Any, first: Any, last: Any, real: Any) -> Any:
    """Σ ℓ of a block without options, and its gradient."""
    total = 0.0
    for begin in range(first, last, RUN):
        part, lowest, highest = plain_run(a, begin, min(begin + RUN, last), real)
        check(a, lowest, highest, part)
        total += part
    return total


def over_labels(arguments: Any) -> None:
    """Binary cross-entropy with logits: the kernel of one thread."""
    a = carray(arguments, 1)[0]
    real = real_like(a.element)
    chunk = draw(a)
    while chunk * a.chunk < a.values:
        total, end = 0.0, min((chunk + 1) * a.chunk, a.values)
        for first in range(chunk * a.chunk, end, a.block):
            last = min(first + a.block, end)
            total += plain(a, first, last, real) if a.plain else weighted(a, first, last, real)
        settle(a, chunk, total, real)
        chunk = draw(a)


@njit(fastmath=SUMS, error_model="numpy")
def squares(a: Any, first: Any, last: Any, real: Any) -> Any:
    """Σ w (z − y)², and ∂/∂z = 2 w (z − y)."""
    wide_vectors()
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
    chunk = draw(a)
    while chunk * a.chunk < a.values:
        total, end = 0.0, min((chunk + 1) * a.chunk, a.values)
        for first in range(chunk * a.chunk, end, a.block):
            total += squares(a, first, min(first + a.block, end), real)
        settle(a, chunk, total, real)
        chunk = draw(a)
