"""Cross-entropy of rows of many classes, with every option."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu import dense, rows, sample
from losscope.kernels.cpu.functions import exp
from losscope.kernels.cpu.intrinsics import at, cast, larger, load, pointer, real_like, store
from losscope.kernels.cpu.sharing import draw, settle, suspect, workplace


@njit(error_model="numpy")
def offset(i: Any, inner: Any, outer_step: Any, inner_step: Any) -> Any:
    """Where sample i of (outer, inner) starts."""
    if inner == 1:  # a division takes as long as a few classes
        return i * outer_step
    return (i // inner) * outer_step + (i % inner) * inner_step


@njit(error_model="numpy")
def upstream(a: Any, i: Any, real: Any) -> Any:
    """What the gradient of sample i is multiplied by."""
    return a.scale if a.upstream == 0 else a.scale * load(pointer(a.upstream, real), i)


@njit(error_model="numpy")
def is_ignored(a: Any, i: Any) -> Any:
    """v_i = 0."""
    return a.soft == 0 and pointer(a.target, np.int64(0))[i] == a.ignore_index


@njit(error_model="numpy")
def record(a: Any, i: Any, column: Any, value: Any, real: Any) -> Any:
    """One of the statistics of sample i."""
    store(pointer(a.stats, real), column * a.samples + i, value)


@njit(error_model="numpy")
def skip_row(a: Any, i: Any, real: Any) -> Any:
    """An ignored sample: no loss, gradient 0 and nothing to tell, whatever its logits hold."""
    if a.gradient != 0:
        start = offset(i, a.inner, a.gradient_outer, a.gradient_inner)
        rows.fill(pointer(a.gradient, a.element), start, a.gradient_class, a.classes, cast(0, real))
    if a.stats != 0:
        for column in range(4):
            record(a, i, column, 0, real)
    return 0.0


@njit(error_model="numpy")
def unaligned(a: Any, start: Any) -> Any:
    """How many classes stand before the first that a streaming store can take; −1 without streaming."""
    return (-(a.gradient // a.element_size + start)) % 16 if a.streamed else -1


@njit(error_model="numpy")
def weight_of(a: Any, y: Any, real: Any) -> Any:
    """w_y."""
    return np.float64(load(pointer(a.weight, real), y)) if a.weighted else 1.0


@njit(error_model="numpy")
def index_row(a: Any, i: Any, real: Any, e: Any) -> Any:
    """ℓ_i for an index target, and its gradient α ŷ_h − w_y c [h = y], without a copy of the row."""
    z, gradient = pointer(a.z, a.element), pointer(a.gradient, a.element)
    shifts = at(e, a.classes)
    start = offset(i, a.inner, a.z_outer, a.z_inner)
    y = pointer(a.target, np.int64(0))[i]
    w = weight_of(a, y, real)

    m, total = rows.shifted_sum(z, start, a.classes, cast(a.lowest, real), e, shifts, a.gradient != 0)
    x_y, log_sum = np.float64(load(z, start + y) - m), np.log(total)
    loss, alpha, c = sample.of_index(w, x_y - log_sum, m + log_sum, a.gamma, a.z_loss)

    if a.gradient != 0:
        to = offset(i, a.inner, a.gradient_outer, a.gradient_inner)
        up = upstream(a, i, real)
        factor = cast(up * alpha / total, real)
        rows.write(e, shifts, a.classes, m, factor, gradient, to, unaligned(a, to))
        store(gradient, to + y, up * (alpha * np.exp(x_y) / total - w * c))
    return loss


@njit(error_model="numpy")
def keeps_row(a: Any) -> Any:
    """Whether the scratch holds the whole row of x, because it is dear to make again or walked once more."""
    return a.softcap > 0 or a.stats != 0


@njit(error_model="numpy")
def window(base: Any, whole: Any, first: Any) -> Any:
    """Where class 0 would stand: at the base of a whole row, or before the buffer of the block from `first`."""
    return base if whole else at(base, -first)


@njit(error_model="numpy")
def load_target(a: Any, i: Any, first: Any, last: Any, q: Any) -> Any:
    """A block of q_i in the scratch."""
    start = offset(i, a.inner, a.target_outer, a.target_inner)
    dense.widen(pointer(a.target, a.element), start, a.target_class, first, last, q)


@njit(error_model="numpy")
def load_logits(a: Any, i: Any, first: Any, last: Any, x: Any) -> Any:
    """A block of z_i in the scratch."""
    start = offset(i, a.inner, a.z_outer, a.z_inner)
    dense.widen(pointer(a.z, a.element), start, a.z_class, first, last, x)


@njit(error_model="numpy")
def look(a: Any, mass: Any, below: Any, lowest: Any, highest: Any) -> Any:
    """A flag where a soft target may not be in [0, 1]; a maximum passes over NaN, the sum does not."""
    if not (lowest <= 0 and highest <= 1 and mass == mass):
        suspect(a)


@njit(error_model="numpy")
def sums(a: Any, i: Any, real: Any, e: Any, x_base: Any, q_base: Any, shifts: Any) -> Any:
    """One walk over a row: m, S, then (A, Σ a (−s)) of the target and of the open classes, and K.

    The exponentials are left in e. Of the other sums, those that no option asks for stay 0.
    """
    m, total = cast(a.lowest, real), 0.0
    mass, below, open_mass, open_below, count = 0.0, 0.0, 0.0, 0.0, 0.0
    for first in range(0, a.classes, dense.BLOCK):
        last = min(first + dense.BLOCK, a.classes)
        x = window(x_base, keeps_row(a), first)
        w = window(pointer(a.weight, real), a.weighted, first)
        load_logits(a, i, first, last, x)
        if a.softcap > 0:
            dense.cap(x, first, last, cast(a.softcap, real))
        before, later = m, at(pointer(a.z, a.element), offset(i, a.inner, a.z_outer, a.z_inner) + dense.BLOCK)
        m = larger(m, rows.largest(x, 0, first, last))
        rise = np.float64(m) - np.float64(before)
        total = total * np.exp(-rise) + rows.exponentials(x, 0, first, last, m, e, later)
        shifts[first // dense.BLOCK] = m
        below, open_below = below + mass * rise, open_below + open_mass * rise
        if a.soft:
            q = window(q_base, False, first)
            load_target(a, i, first, last, q)
            part = dense.over_target(x, 0, w, q, 0, first, last, m)
            mass, below = mass + part[0], below + part[1]
            look(a, *part)
        if a.smoothing > 0:
            opened = dense.over_open(x, 0, w, first, last, m)
            open_mass, open_below, count = open_mass + opened[0], open_below + opened[1], count + opened[2]
    log_sum = np.log(total)
    return m, total, mass, below + log_sum * mass, open_mass, open_below + log_sum * open_mass, count


@njit(error_model="numpy")
def write_dense(
    a: Any, i: Any, real: Any, e: Any, x_base: Any, q_base: Any, shifts: Any, m: Any, factor: Any, kept: Any, share: Any
) -> Any:
    """∂/∂z_h = (factor · e^{x_h − m} − share · w_h [h is open] − kept · w_h q_h) ∂x_h/∂z_h, block after block."""
    gradient, to = pointer(a.gradient, a.element), offset(i, a.inner, a.gradient_outer, a.gradient_inner)
    for first in range(0, a.classes, dense.BLOCK):
        last = min(first + dense.BLOCK, a.classes)
        x = window(x_base, keeps_row(a), first)
        w = window(pointer(a.weight, real), a.weighted, first)
        dense.scale(e, first, last, factor * exp(shifts[first // dense.BLOCK] - m))
        if a.smoothing > 0:
            if not keeps_row(a):
                load_logits(a, i, first, last, x)
            dense.subtract_open(e, x, 0, w, first, last, cast(share, real))
        if a.soft:
            q = window(q_base, False, first)
            load_target(a, i, first, last, q)
            dense.subtract_target(e, w, q, 0, first, last, cast(kept, real))
        else:
            y = pointer(a.target, np.int64(0))[i]
            if first <= y < last:
                e[y] -= cast(kept * w[y], real)
        if a.softcap > 0:
            dense.through_softcap(e, x, first, last, cast(a.softcap, real))
        if a.gradient_class == 1:
            rows.put(e, first, last, cast(1, real), gradient, to, unaligned(a, to))
        else:
            dense.narrow(e, first, last, gradient, to, a.gradient_class)


@njit(error_model="numpy")
def true_logit(a: Any, i: Any, y: Any) -> Any:
    """x_{i,y}, after the softcap."""
    z = np.float64(load(pointer(a.z, a.element), offset(i, a.inner, a.z_outer, a.z_inner) + y * a.z_class))
    return a.softcap * np.tanh(z / a.softcap) if a.softcap > 0 and z != -np.inf else z


@njit(error_model="numpy")
def argmax_of_target(a: Any, i: Any) -> Any:
    """The first class with the largest q_h."""
    q, start = pointer(a.target, a.element), offset(i, a.inner, a.target_outer, a.target_inner)
    best = 0
    for h in range(1, a.classes):
        if load(q, start + h * a.target_class) > load(q, start + best * a.target_class):
            best = h
    return best


@njit(error_model="numpy")
def dense_row(a: Any, i: Any, real: Any, e: Any) -> Any:
    """ℓ_i for any target and option, over a copy of the row in the scratch."""
    classes = a.classes
    x, q, shifts = at(e, classes), at(e, 2 * classes), at(e, 3 * classes)
    m, total, mass, surprise, open_mass, open_surprise, count = sums(a, i, real, e, x, q, shifts)
    log_sum = np.log(total)
    lse, y, s_y = m + log_sum, 0, 0.0
    if not a.soft:
        y = pointer(a.target, np.int64(0))[i]
        s_y = true_logit(a, i, y) - m - log_sum
        mass = weight_of(a, y, real)
        surprise = mass * -s_y
    kept, share = 1.0, 0.0
    if a.smoothing > 0:
        kept, share = 1 - a.smoothing, a.smoothing / count
        mass, surprise = kept * mass + share * open_mass, kept * surprise + share * open_surprise
    if a.gamma > 0:
        loss, alpha, kept = sample.of_focal(mass, s_y, lse, a.gamma, a.z_loss)
    else:
        loss, alpha = sample.of_distribution(mass, surprise, lse, a.z_loss)

    if a.stats != 0:
        truth = argmax_of_target(a, i) if a.soft else y
        record(a, i, 0, dense.is_argmax(x, truth, m), real)
        record(a, i, 1, dense.entropy(x, classes, m, cast(log_sum, real)), real)
        record(a, i, 2, 1 / total, real)
        record(a, i, 3, lse, real)
    if a.gradient != 0:
        up = upstream(a, i, real)
        factor = cast(up * alpha / total, real)
        write_dense(a, i, real, e, x, q, shifts, m, factor, up * kept, up * share)
    return loss


@njit(error_model="numpy")
def is_adjacent(a: Any) -> Any:
    """Whether a row and its target can be read where they lie, because nothing has to be done to the row first."""
    return not keeps_row(a) and a.z_class == 1 and (a.target_class == 1 or not a.soft)


@njit(error_model="numpy")
def adjacent_row(a: Any, i: Any, real: Any, e: Any) -> Any:
    """ℓ_i for soft targets and smoothing, read where they lie: from memory once, and from cache for the gradient."""
    z, start = pointer(a.z, a.element), offset(i, a.inner, a.z_outer, a.z_inner)
    q, goal = pointer(a.target, a.element), offset(i, a.inner, a.target_outer, a.target_inner)
    y = 0 if a.soft else pointer(a.target, np.int64(0))[i]
    shifts, m, total = at(e, a.classes), cast(a.lowest, real), 0.0
    mass, below, open_mass, open_below, count = 0.0, 0.0, 0.0, 0.0, 0.0
    lowest, top = m, rows.largest(z, start, 0, min(dense.BLOCK, a.classes))
    for first in range(0, a.classes, dense.BLOCK):
        last = min(first + dense.BLOCK, a.classes)
        w = window(pointer(a.weight, real), a.weighted, first)
        before, m = m, larger(m, top)
        rise = np.float64(m) - np.float64(before)
        part, top = rows.step(z, start, first, last, a.classes, dense.BLOCK, m, e, True, lowest)
        total = total * np.exp(-rise) + part
        shifts[first // dense.BLOCK] = m
        below, open_below = below + mass * rise, open_below + open_mass * rise
        if a.soft:
            seen = dense.over_target(z, start, w, q, goal, first, last, m)
            mass, below = mass + seen[0], below + seen[1]
            look(a, *seen)
        if a.smoothing > 0:
            opened = dense.over_open(z, start, w, first, last, m)
            open_mass, open_below, count = open_mass + opened[0], open_below + opened[1], count + opened[2]

    log_sum, kept, share = np.log(total), 1.0, 0.0
    if not a.soft:
        mass = weight_of(a, y, real)
        below = mass * np.float64(m - load(z, start + y))
    if a.smoothing > 0:
        kept, share = 1 - a.smoothing, a.smoothing / count
        mass, below = kept * mass + share * open_mass, kept * below + share * open_below
    loss, alpha = sample.of_distribution(mass, below + log_sum * mass, m + log_sum, a.z_loss)
    if a.gradient == 0:
        return loss

    gradient, to = pointer(a.gradient, a.element), offset(i, a.inner, a.gradient_outer, a.gradient_inner)
    up = upstream(a, i, real)
    factor, kept, share = cast(up * alpha / total, real), cast(up * kept, real), cast(up * share, real)
    for first in range(0, a.classes, dense.BLOCK):
        last = min(first + dense.BLOCK, a.classes)
        w = window(pointer(a.weight, real), a.weighted, first)
        dense.scale(e, first, last, factor * exp(shifts[first // dense.BLOCK] - m))
        if a.smoothing > 0:
            dense.subtract_open(e, z, start, w, first, last, share)
        if a.soft:
            dense.subtract_target(e, w, q, goal, first, last, kept)
        elif first <= y < last:
            e[y] -= kept * w[y]
        rows.put(e, first, last, cast(1, real), gradient, to, unaligned(a, to))
    return loss


def over_rows(arguments: Any) -> None:
    """The kernel of one thread: every chunk of samples that it draws."""
    a = carray(arguments, 1)[0]
    real = real_like(a.element)
    scratch, chunk = workplace(a, real), draw(a)
    while chunk * a.chunk < a.samples:
        total = 0.0
        last = min((chunk + 1) * a.chunk, a.samples)
        for i in range(chunk * a.chunk, last):
            if is_ignored(a, i):
                loss = skip_row(a, i, real)
            elif a.dense and is_adjacent(a):
                loss = adjacent_row(a, i, real, scratch)
            elif a.dense:
                loss = dense_row(a, i, real, scratch)
            else:
                loss = index_row(a, i, real, scratch)
            if a.loss != 0:
                store(pointer(a.loss, real), i, loss)
            total += loss
        settle(a, chunk, total, real)
        chunk = draw(a)
