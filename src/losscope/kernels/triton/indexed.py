"""Cross-entropy of an index target, row by row, in as few instructions a logit as the formula has.

    ℓ = w_y (ln S − x_y) + λ w_y lse²,   ∂ℓ/∂z_h = α ŷ_h − w_y [h = y],   α = w_y (1 + 2 λ lse)

A GPU that moves 3 TB/s has some 40 instructions for each logit of 16 bits, so the walk that makes S keeps a sum for
each lane of the tile, and lanes meet once, at the end. They can because all exponentials are relative to one number
that is known before: the largest logit of the first tile. Any number would do that is not so far under the largest that
a power overflows; where it is, the row is walked once more. A program takes row after row, and few are under way: the
second walk shall find its row in the cache.

A row need not start where 16 bytes can be read at once: then it is read from the last such place before it, and only
its first and last tile ask which of their positions are classes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from losscope.kernels.triton.functions import e_to, value_at
from losscope.kernels.triton.logits import LOWEST_FLOAT32

FAR = tl.constexpr(60.0)  # e^60 times a million classes is a float32
VECTOR = tl.constexpr(16)  # positions: the divisor of an argument that triton's compiler takes note of


@triton.jit
def load_tile(row, p, first, last, POLICY: tl.constexpr, HEAD: tl.constexpr, TAIL: tl.constexpr):
    """The logits at the positions p of a row; −∞ where a HEAD is before its first class, or a TAIL behind its last."""
    if TAIL:
        x = tl.load(row + p, mask=p < last, other=-float("inf"), eviction_policy=POLICY)
    else:
        x = tl.load(row + p, eviction_policy=POLICY)
    return tl.where(p >= first, x.to(tl.float32), -float("inf")) if HEAD else x.to(tl.float32)


@triton.jit
def store_tile(row, p, first, last, g, HEAD: tl.constexpr, TAIL: tl.constexpr):
    """A tile of the gradient, rounded once, where there are classes."""
    g = g.to(row.dtype.element_ty)
    if HEAD and TAIL:
        tl.store(row + p, g, mask=(p >= first) & (p < last))
    elif HEAD:
        tl.store(row + p, g, mask=p >= first)
    elif TAIL:
        tl.store(row + p, g, mask=p < last)
    else:
        tl.store(row + p, g)


@triton.jit
def sums(row, x, p, last, m, QUICK: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr):
    """The largest logit and Σ e^{x − m} of each lane, from the first tile x on."""
    top, total = x, e_to(x - m, QUICK)
    for start in tl.range(BLOCK, last - BLOCK + 1, BLOCK, num_stages=STAGES):
        x = load_tile(row + start, p, 0, BLOCK, "evict_last", False, False)
        top, total = tl.maximum(top, x), total + e_to(x - m, QUICK)
    rest = last // BLOCK * BLOCK
    if rest < last:
        x = load_tile(row + rest, p, 0, last - rest, "evict_last", False, True)
        top, total = tl.maximum(top, x), total + e_to(x - m, QUICK)
    return top, total


@triton.jit
def slope(x, p, y, m, factor, kept, QUICK: tl.constexpr):
    """Factor · e^{x − m}, less at the class of the target: ∂ℓ/∂z times what comes from above."""
    return factor * e_to(x - m, QUICK) - tl.where(p == y, kept, 0.0)


@triton.jit
def write(row, into, p, first, last, y, m, factor, kept,
          ALIGNED: tl.constexpr, QUICK: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr):  # fmt: skip
    """The gradient of a row, the last tile first: that was read last, so a cache is likeliest to hold it."""
    rest = last // BLOCK * BLOCK
    if rest < last:
        x = load_tile(row + rest, p, 0, last - rest, "evict_first", False, True)
        g = slope(x, p, y - rest, m, factor, kept, QUICK)
        store_tile(into + rest, p, 0, last - rest, g, False, True)
    for back in tl.range(2 * BLOCK, rest + 1, BLOCK, num_stages=STAGES):
        start = rest - back + BLOCK
        x = load_tile(row + start, p, 0, BLOCK, "evict_first", False, False)
        g = slope(x, p, y - start, m, factor, kept, QUICK)
        store_tile(into + start, p, 0, BLOCK, g, False, False)
    x = load_tile(row, p, 0, BLOCK, "evict_first", False, False)
    store_tile(into, p, first, BLOCK, slope(x, p, y, m, factor, kept, QUICK), not ALIGNED, False)


@triton.jit
def fill_zeros(into, p, first, last, BLOCK: tl.constexpr):
    """The gradient of a row that does not count, whatever it holds."""
    zero = tl.zeros([BLOCK], tl.float32)
    for start in range(0, last, BLOCK):
        store_tile(into + start, p, first - start, last - start, zero, True, True)


@triton.jit
def walked_row(row, first, last, ALIGNED: tl.constexpr, QUICK: tl.constexpr,
               BLOCK: tl.constexpr, STAGES: tl.constexpr):  # fmt: skip
    """(the largest logit, Σ e^{x − m}) of a row of several tiles."""
    p = tl.arange(0, BLOCK)
    x = load_tile(row, p, first, last, "evict_last", not ALIGNED, False)
    m = tl.maximum(tl.max(x, 0), LOWEST_FLOAT32)
    top, total = sums(row, x, p, last, m, QUICK, BLOCK, STAGES)
    largest = tl.maximum(tl.max(top, 0), LOWEST_FLOAT32)
    if largest - m > FAR:
        m = largest
        top, total = sums(row, x, p, last, m, QUICK, BLOCK, STAGES)
    return largest, tl.sum(total, 0) * tl.exp(m - largest)


@triton.jit(do_not_specialize=["samples", "ignore_index"])
def indexed_cross_entropy(
    z, target, weight, scale, gradient, losses, numbers,
    samples, classes, z_row, g_row, scale_step, ignore_index, z_loss: tl.float64,
    WEIGHTED: tl.constexpr, Z_LOSS: tl.constexpr, GRADIENT: tl.constexpr, ALIGNED: tl.constexpr, QUICK: tl.constexpr,
    SINGLE: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """ℓ_i, what a later gradient needs of the row, and the gradient times ``scale``; a program takes some of the rows.

    ALIGNED: rows start where vectors do; else those of the gradient lie as those of z. SINGLE: a row is one tile.
    """
    zero, p = tl.full([], 0.0, tl.float32), tl.arange(0, BLOCK)
    for sample in range(tl.program_id(0), samples, tl.num_programs(0)):
        i = tl.cast(sample, tl.int64)
        y = tl.load(target + i)
        counted = y != ignore_index
        tl.device_assert((not counted) | ((y >= 0) & (y < classes)), "a target is neither a class nor ignore_index")
        at = i * z_row
        first = 0 if ALIGNED else (at % VECTOR).to(tl.int32)
        last = classes if ALIGNED else classes + first
        row = z + (at if ALIGNED else at // VECTOR * VECTOR)
        into = gradient + (i * g_row if ALIGNED else at // VECTOR * VECTOR)
        m, factor, kept, loss = zero, zero, zero, zero
        if counted:
            x_y = tl.load(z + at + y).to(tl.float32)  # before the lanes meet: later some of them may be writing
            if SINGLE:
                x = load_tile(row, p, first, last, "evict_first", not ALIGNED, True)
                m = tl.maximum(tl.max(x, 0), LOWEST_FLOAT32)
                total = tl.sum(e_to(x - m, QUICK), 0)
            else:
                m, total = walked_row(row, first, last, ALIGNED, QUICK, BLOCK, STAGES)
            log_sum, kept = tl.log(total), zero + 1.0
            if WEIGHTED:
                kept = tl.load(weight + y).to(tl.float32)
            alpha, loss = kept, kept * (log_sum - (x_y - m))
            if Z_LOSS:
                by_size = tl.full([], z_loss, tl.float32) * kept * (m + log_sum)
                alpha, loss = alpha + 2.0 * by_size, loss + by_size * (m + log_sum)
            factor = alpha / total
            if GRADIENT:
                up = value_at(scale, i * scale_step, tl.float32)
                goal = y.to(tl.int32) + first
                if SINGLE:
                    g = slope(x, p, goal, m, factor * up, kept * up, QUICK)
                    store_tile(into, p, first, last, g, not ALIGNED, True)
                else:
                    write(row, into, p, first, last, goal, m, factor * up, kept * up, ALIGNED, QUICK, BLOCK, STAGES)
        elif GRADIENT:
            fill_zeros(into, p, first, last, BLOCK)
        tl.store(losses + i, loss)
        tl.store(numbers + i, m)
        tl.store(numbers + samples + i, factor)
        tl.store(numbers + 2 * samples + i, kept)
        tl.store(numbers + 3 * samples + i, zero)


@triton.jit(do_not_specialize=["samples", "before", "ignore_index"])
def indexed_gradient(
    z, target, scale, upstream, gradient, numbers,
    samples, classes, before, z_row, g_row, upstream_step, ignore_index,
    SKIPS: tl.constexpr, ALIGNED: tl.constexpr, QUICK: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """The gradient times ``scale`` and ``upstream`` from the numbers of each row; SKIPS: nothing if ``upstream`` is 1.

    It may be that of some of the classes alone, with so many ``before`` them.
    A tile is read before it is written and no other program touches it, so the gradient may lie where the logits lay.
    """
    if SKIPS:  # noqa: SIM102 (the one is known to the compiler, the other to the device)
        if tl.load(upstream).to(tl.float32) == 1.0:
            return
    by, p = value_at(scale, 0, tl.float32), tl.arange(0, BLOCK)
    for sample in range(tl.program_id(0), samples, tl.num_programs(0)):
        i = tl.cast(sample, tl.int64)
        y = tl.load(target + i)
        at = i * z_row
        first = 0 if ALIGNED else (at % VECTOR).to(tl.int32)
        last = classes if ALIGNED else classes + first
        row = z + (at if ALIGNED else at // VECTOR * VECTOR)
        into = gradient + (i * g_row if ALIGNED else at // VECTOR * VECTOR)
        if y != ignore_index:
            up = by * tl.load(upstream + i * upstream_step).to(tl.float32)
            m, factor = tl.load(numbers + i), tl.load(numbers + samples + i) * up
            kept = tl.load(numbers + 2 * samples + i) * up
            write(
                row,
                into,
                p,
                first,
                last,
                (y - before).to(tl.int32) + first,
                m,
                factor,
                kept,
                ALIGNED,
                QUICK,
                BLOCK,
                STAGES,
            )
        else:
            fill_zeros(into, p, first, last, BLOCK)
