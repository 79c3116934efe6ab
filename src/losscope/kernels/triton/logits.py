"""Cross-entropy of rows of logits: a tile of samples by classes at a time, with every option.

With x_h = z_h − m (m the largest logit) and S = Σ_h e^{x_h}, so that lse = m + ln S and s_h = x_h − ln S:

    ℓ = Σ_h a_h (−s_h) + λ A lse²,   a_h = w_h q_h,   A = Σ_h a_h
    ∂ℓ/∂z_h = α ŷ_h − a_h,           α = A (1 + 2 λ lse)

and for the focal loss (Lin et al. 2017), where only the true class counts and u = 1 − ŷ_y:

    ℓ = w_y (u^γ (−s_y) + λ lse²),   ∂ℓ/∂z_h = α ŷ_h − w_y c [h = y]
    c = u^γ − γ u^{γ−1} ŷ_y s_y,     α = w_y (c + 2 λ lse)

A program walks its samples once, with sums that are made relative to a new m whenever one comes (Milakov and
Gimelshein 2018, Online normalizer calculation for softmax). What the gradient needs of that walk are four numbers a
sample: m, α/S, what the target is multiplied by, and the share of each open class; so the gradient is made in one walk,
there or later. A sum is added up in one order always: no atomics.
"""

from __future__ import annotations

import triton
import triton.language as tl

from losscope.kernels.triton.functions import e_to, exp, log1p, power, tanh, value_at, values_at

LOWEST_FLOAT32 = tl.constexpr(-3.4028234663852886e38)
LOWEST_FLOAT64 = tl.constexpr(-1.7976931348623157e308)


# ------------------------------------------------------------------------------------------------ memory


@triton.jit
def place(i, inner, outer_step, inner_step):
    """Where each sample i = outer · inner + k starts, as a column."""
    return ((i // inner) * outer_step + (i % inner) * inner_step)[:, None]


@triton.jit
def along(h, step, WIDE: tl.constexpr):
    """Where each class lies from there."""
    return h.to(tl.int64) * step if WIDE else h * step


@triton.jit
def load_logits(z, start, h, step, open_, softcap, CAPPED: tl.constexpr,
                REAL: tl.constexpr, WIDE: tl.constexpr, POLICY: tl.constexpr):  # fmt: skip
    """z_h after the softcap; −∞, a mask, where there is no such class."""
    x = tl.load(z + start + along(h, step, WIDE), mask=open_, other=-float("inf"), eviction_policy=POLICY).to(REAL)
    return cap(x, softcap) if CAPPED else x


@triton.jit
def cap(x, softcap):
    """c · tanh(x / c); a mask stays one."""
    masked = x == -float("inf")
    return tl.where(masked, x, softcap * tanh(tl.where(masked, 0.0, x) / softcap))


@triton.jit
def load_weights(weight, h, classes, WEIGHTED: tl.constexpr, REAL: tl.constexpr):
    """w_h as a row."""
    if WEIGHTED:
        return tl.load(weight + h, mask=h < classes, other=0.0).to(REAL)
    else:  # triton compiles what stands behind a return
        return tl.full([1, 1], 1.0, REAL)


@triton.jit
def load_soft(target, start, h, step, open_, SOFT: tl.constexpr,
              REAL: tl.constexpr, WIDE: tl.constexpr, POLICY: tl.constexpr):  # fmt: skip
    """q_h."""
    if SOFT:
        return tl.load(target + start + along(h, step, WIDE), mask=open_, other=0.0, eviction_policy=POLICY).to(REAL)
    else:
        return tl.full([1, 1], 0.0, REAL)


@triton.jit
def load_column(table, column: tl.constexpr, samples, i, live):
    """One number of each sample."""
    return tl.load(table + column * samples + i, mask=live, other=0.0)


@triton.jit
def store_column(table, column: tl.constexpr, samples, i, value, live):
    """One number of each sample."""
    tl.store(table + column * samples + i, value, mask=live)


@triton.jit
def load_index(target, i, live, ignore_index, SOFT: tl.constexpr):
    """(v_i, y_i): which samples count, and the class of each."""
    if SOFT:
        counted, y = live, tl.zeros_like(i)
    else:
        y = tl.load(target + i, mask=live, other=0)
        counted = live & (y != ignore_index)
        y = tl.where(counted, y, 0)
    return counted, y


@triton.jit
def load_class(target, i, live, classes, ignore_index, SOFT: tl.constexpr):
    """The same; what is no class at all is an error on the device."""
    counted, y = load_index(target, i, live, ignore_index, SOFT)
    if not SOFT:
        tl.device_assert((y >= 0) & (y < classes), "a target is neither a class nor ignore_index")
    return counted, y


# -------------------------------------------------------------------------------------------------- sums


@triton.jit
def nothing_yet(ROWS: tl.constexpr, REAL: tl.constexpr):
    """The sums before the first tile."""
    zero = tl.zeros([ROWS], REAL)
    m = zero + (LOWEST_FLOAT64 if zero.dtype == tl.float64 else LOWEST_FLOAT32)  # −∞ − (−∞) would be NaN
    first, bottom = tl.zeros([ROWS], tl.int32), zero - float("inf")
    return m, zero, zero, zero, zero, zero, zero, zero, zero, bottom, first, bottom, first


@triton.jit
def add_tile(sums, x, w, q, h, y, SOFT: tl.constexpr, SMOOTHED: tl.constexpr,
             FOCAL: tl.constexpr, STATS: tl.constexpr, QUICK: tl.constexpr):  # fmt: skip
    """The sums with one more tile in them; those that no option asks for stay what they are.

    m, S, Σ_{h≠y} e; (A, Σ a x) of the target, the same of the open classes and their count K; Σ e x; and the largest
    logit and the largest q so far, each with its class. Every x is relative to m.

    Where a plain sum goes on it is by subtraction: triton 3.6 and 3.7 fail to compile a sum over tiles that is used
    more than once behind the loop.
    """
    m, total, others, mass, below, open_mass, open_below, count, heat, top, best, most, truth = sums
    before, m = m, tl.maximum(m, tl.max(x, 1))
    shifted = x - m[:, None]
    e = e_to(shifted, QUICK)
    fall, rise = exp(before - m), tl.where(total == 0.0, 0.0, m - before)
    if STATS:
        heat = (heat - rise * total) * fall + tl.sum(tl.where(e == 0.0, 0.0, e * shifted), 1)
        key = tl.where(x != x, float("inf"), x)
        here = tl.max(key, 1)
        best = tl.where(here > top, tl.argmax(key, 1) + tl.min(h, 1), best)
        top = tl.maximum(top, here)
    if FOCAL:
        others = others * fall + tl.sum(tl.where(h == y[:, None], 0.0, e), 1)
    total = total * fall + tl.sum(e, 1)
    if SOFT:
        a = q * w
        below = below - rise * mass + tl.sum(tl.where(a == 0.0, 0.0, a * shifted), 1)
        mass = mass - tl.sum(-a, 1)
    if SOFT and STATS:
        here = tl.max(q, 1)
        truth = tl.where(here > most, tl.argmax(q, 1) + tl.min(h, 1), truth)
        most = tl.maximum(most, here)
    if SMOOTHED:
        is_open = x != -float("inf")
        open_below = open_below - rise * open_mass + tl.sum(tl.where(is_open, w * shifted, 0.0), 1)
        open_mass = open_mass - tl.sum(tl.where(is_open, -w, 0.0), 1)
        count = count - tl.sum(tl.where(is_open, -1.0, 0.0), 1)
    return m, total, others, mass, below, open_mass, open_below, count, heat, top, best, most, truth


@triton.jit
def focal(w, x_y, m, total, others, gamma):
    """(w u^γ (−s), w c) with −s and u from Σ_{h≠y} e, which keeps its digits where ŷ_y is almost 1."""
    e_y = exp(x_y - m)
    near = others < e_y
    surprise = tl.where(near, log1p(tl.where(near, others, 0.0) / tl.where(near, e_y, 1.0)), tl.log(total) - (x_y - m))
    p, u = e_y / total, others / total
    modulation = power(u, gamma)
    moving = (p > 0.0) & (u > 0.0)
    steep = modulation / tl.where(moving, u, 1.0) * p * tl.where(moving, surprise, 0.0)
    return w * modulation * surprise, w * (modulation + gamma * steep)


# ----------------------------------------------------------------------------------------------- gradient


@triton.jit
def slope(x, w, q, h, y, m, factor, kept, share, softcap,
          SOFT: tl.constexpr, SMOOTHED: tl.constexpr, CAPPED: tl.constexpr, QUICK: tl.constexpr):  # fmt: skip
    """∂ℓ/∂z_h = (α e^{x_h} / S − a_h) · ∂x_h/∂z_h for a tile."""
    masked = x == -float("inf")
    g = factor[:, None] * e_to(x - m[:, None], QUICK)
    if SOFT:
        g -= kept[:, None] * w * q
    else:
        g -= tl.where(h == y[:, None], kept[:, None], 0.0)
    if SMOOTHED:
        g -= tl.where(masked, 0.0, share[:, None] * w)
    if CAPPED:
        t = tl.where(masked, 0.0, x) / softcap
        g *= tl.where(masked, 0.0, 1.0 - t * t)
    return g


@triton.jit
def store_gradient(gradient, start, h, step, open_, g, up, counted,
                   WIDE: tl.constexpr):  # fmt: skip
    """∂/∂z_h times what comes from above, rounded once; 0 where the sample is ignored, whatever it holds."""
    g = tl.where(counted[:, None], g * up[:, None], 0.0)
    tl.store(gradient + start + along(h, step, WIDE), g.to(gradient.dtype.element_ty), mask=open_)


@triton.jit
def walk_gradient(z, z_start, z_class, target, t_start, t_class, gradient,
                  g_start, g_class, weight, classes, live, counted, y, m,
                  factor, kept, share, up, softcap, SOFT: tl.constexpr,
                  WEIGHTED: tl.constexpr, SMOOTHED: tl.constexpr, CAPPED: tl.constexpr, REAL: tl.constexpr,
                  WIDE: tl.constexpr, QUICK: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """The gradient tile by tile, the last one first: that was read last, so a cache is likeliest to hold it."""
    for back in range(0, tl.cdiv(classes, BLOCK)):
        h = (tl.cdiv(classes, BLOCK) - 1 - back) * BLOCK + tl.arange(0, BLOCK)[None, :]
        x = load_logits(z, z_start, h, z_class, counted[:, None] & (h < classes), softcap, CAPPED, REAL, WIDE,
                        "evict_first")  # fmt: skip
        w = load_weights(weight, h, classes, WEIGHTED, REAL)
        q = load_soft(target, t_start, h, t_class, live[:, None] & (h < classes), SOFT, REAL, WIDE, "evict_first")
        g = slope(x, w, q, h, y, m, factor, kept, share, softcap, SOFT, SMOOTHED, CAPPED, QUICK)
        store_gradient(gradient, g_start, h, g_class, live[:, None] & (h < classes), g, up, counted, WIDE)


# ------------------------------------------------------------------------------------------------ kernels


@triton.jit(do_not_specialize=["samples", "ignore_index"])
def cross_entropy(
    z, target, weight, scale, gradient, losses, numbers, stats,
    samples, classes, inner,
    z_outer, z_class, z_inner, t_outer, t_class, t_inner,
    g_outer, g_class, g_inner, scale_step,
    ignore_index, smoothing: tl.float64, gamma: tl.float64, z_loss: tl.float64, softcap: tl.float64,
    SOFT: tl.constexpr, WEIGHTED: tl.constexpr, SMOOTHED: tl.constexpr, FOCAL: tl.constexpr, Z_LOSS: tl.constexpr,
    CAPPED: tl.constexpr, STATS: tl.constexpr, GRADIENT: tl.constexpr, REAL: tl.constexpr, WIDE: tl.constexpr,
    QUICK: tl.constexpr, SINGLE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ℓ_i, the four numbers of its gradient, its statistics, and the gradient times ``scale``, of ROWS samples.

    SINGLE: all classes fit a tile, which then is read once and kept.
    """
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = i < samples
    c, epsilon = tl.full([], softcap, REAL), tl.full([], smoothing, REAL)
    counted, y = load_class(target, i, live, classes, ignore_index, SOFT)
    z_start, g_start = place(i, inner, z_outer, z_inner), place(i, inner, g_outer, g_inner)
    t_start = place(i, inner, t_outer, t_inner)

    if not SOFT:  # before the lanes meet: later some of them may be writing
        x_y = tl.load(z + place(i, inner, z_outer, z_inner) + (y * z_class)[:, None], mask=counted[:, None], other=0.0)
        x_y = tl.sum(x_y.to(REAL), 1)
        x_y = cap(x_y, c) if CAPPED else x_y
    sums = nothing_yet(ROWS, REAL)
    h = tl.arange(0, BLOCK)[None, :]
    if SINGLE:
        x = load_logits(z, z_start, h, z_class, counted[:, None] & (h < classes), c, CAPPED, REAL, WIDE, "evict_first")
        w = load_weights(weight, h, classes, WEIGHTED, REAL)
        q = load_soft(target, t_start, h, t_class, live[:, None] & (h < classes), SOFT, REAL, WIDE, "evict_first")
        sums = add_tile(sums, x, w, q, h, y, SOFT, SMOOTHED, FOCAL, STATS, QUICK)
    else:
        for first in range(0, classes, BLOCK):
            k = first + h
            x = load_logits(z, z_start, k, z_class, counted[:, None] & (k < classes), c, CAPPED, REAL, WIDE,
                            "evict_last")  # fmt: skip
            w = load_weights(weight, k, classes, WEIGHTED, REAL)
            q = load_soft(target, t_start, k, t_class, live[:, None] & (k < classes), SOFT, REAL, WIDE, "evict_last")
            sums = add_tile(sums, x, w, q, k, y, SOFT, SMOOTHED, FOCAL, STATS, QUICK)
    m, total, others, mass, below, open_mass, open_below, count, heat, _, best, _, truth = sums

    log_sum = tl.log(total)
    lse, kept, share = m + log_sum, tl.full([ROWS], 1.0, REAL), tl.zeros([ROWS], REAL)
    surprise = log_sum * mass - below
    if not SOFT:
        mass = tl.load(weight + y, mask=counted, other=0.0).to(REAL) if WEIGHTED else kept
        surprise, kept = mass * (log_sum - (x_y - m)), mass
    if SMOOTHED:
        share = epsilon / count
        mass = (1.0 - epsilon) * mass + share * open_mass
        surprise = (1.0 - epsilon) * surprise + share * (log_sum * open_mass - open_below)
        kept = (1.0 - epsilon) * kept
    alpha = mass
    if FOCAL:
        surprise, kept = focal(mass, x_y, m, total, others, tl.full([], gamma, REAL))
        alpha = kept
    if Z_LOSS:
        by_size = tl.full([], z_loss, REAL) * mass * lse
        surprise, alpha = surprise + by_size * lse, alpha + 2.0 * by_size
    factor = alpha / total

    tl.store(losses + i, tl.where(counted, surprise, 0.0), mask=live)
    store_column(numbers, 0, samples, i, m, live)
    store_column(numbers, 1, samples, i, factor, live)
    store_column(numbers, 2, samples, i, kept, live)
    store_column(numbers, 3, samples, i, share, live)
    if STATS:
        right = best == (truth if SOFT else y)
        store_column(stats, 0, samples, i, tl.where(counted & right, 1.0, 0.0), live)
        store_column(stats, 1, samples, i, tl.where(counted, log_sum - heat / total, 0.0), live)
        store_column(stats, 2, samples, i, tl.where(counted, 1.0 / total, 0.0), live)
        store_column(stats, 3, samples, i, tl.where(counted, lse, 0.0), live)
    if GRADIENT:
        up = values_at(scale, i * scale_step, live, REAL)
        if SINGLE:
            g = slope(x, w, q, h, y, m, factor, kept, share, c, SOFT, SMOOTHED, CAPPED, QUICK)
            store_gradient(gradient, g_start, h, g_class, live[:, None] & (h < classes), g, up, counted, WIDE)
        else:
            walk_gradient(z, z_start, z_class, target, t_start, t_class, gradient, g_start, g_class, weight, classes,
                          live, counted, y, m, factor, kept, share, up, c, SOFT, WEIGHTED, SMOOTHED, CAPPED, REAL,
                          WIDE, QUICK, BLOCK)  # fmt: skip


@triton.jit(do_not_specialize=["samples", "before", "ignore_index"])
def cross_entropy_gradient(
    z, target, weight, scale, upstream, gradient, numbers,
    samples, classes, before, inner,
    z_outer, z_class, z_inner, t_outer, t_class, t_inner,
    g_outer, g_class, g_inner, upstream_step,
    ignore_index, softcap: tl.float64,
    SOFT: tl.constexpr, WEIGHTED: tl.constexpr, SMOOTHED: tl.constexpr, CAPPED: tl.constexpr, SKIPS: tl.constexpr,
    REAL: tl.constexpr, WIDE: tl.constexpr, QUICK: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient times ``scale`` and ``upstream`` from the numbers of each sample; SKIPS: nothing if that one is 1.

    It may be that of some of the classes alone, with so many ``before`` them; weights and soft targets are theirs.
    A tile is read before it is written and no other program touches it, so the gradient may lie where the logits lay.
    """
    if SKIPS:  # noqa: SIM102 (the one is known to the compiler, the other to the device)
        if tl.load(upstream).to(tl.float64) == 1.0:
            return
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = i < samples
    counted, y = load_index(target, i, live, ignore_index, SOFT)
    y -= before
    z_start, g_start = place(i, inner, z_outer, z_inner), place(i, inner, g_outer, g_inner)
    t_start = place(i, inner, t_outer, t_inner)
    m, factor = load_column(numbers, 0, samples, i, live), load_column(numbers, 1, samples, i, live)
    kept, share = load_column(numbers, 2, samples, i, live), load_column(numbers, 3, samples, i, live)
    up = value_at(scale, 0, REAL) * tl.load(upstream + i * upstream_step, mask=live, other=0.0).to(REAL)
    walk_gradient(z, z_start, z_class, target, t_start, t_class, gradient, g_start, g_class, weight, classes, live,
                  counted, y, m, factor, kept, share, up, tl.full([], softcap, REAL), SOFT, WEIGHTED, SMOOTHED, CAPPED,
                  REAL, WIDE, QUICK, BLOCK)  # fmt: skip
