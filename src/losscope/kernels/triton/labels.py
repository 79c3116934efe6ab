"""Binary cross-entropy with logits of tiles of labels, with every option.

    ℓ = w (p t M₁ (−ln σ(z)) + (1 − t) M₀ (−ln σ(−z))),   t ← (1 − ε) t + ε/2
    M₁ = σ(−z)^γ,   M₀ = σ(z)^γ

A program adds its losses up in one order, and what each program got is added up by torch: no atomics.
"""

from __future__ import annotations

import triton
import triton.language as tl

from losscope.kernels.triton.functions import e_to, exp, log1p, quick_log1p, value_at


@triton.jit
def label(z, QUICK: tl.constexpr):
    """(−ln σ(|z|), σ(z), σ(−z)) from one exponential, which is of −|z| and so cannot overflow."""
    e = e_to(-tl.abs(z), QUICK)
    rest = quick_log1p(e) if QUICK else log1p(e)
    likely = 1.0 / (1.0 + e)
    unlikely = e * likely
    return rest, tl.where(z > 0.0, likely, unlikely), tl.where(z > 0.0, unlikely, likely)


@triton.jit
def share(t, x):
    """t x, with 0·∞ = 0."""
    return tl.where(t == 0.0, 0.0, t * x)


@triton.jit
def modulated(surprise, other, p, p_other, gamma):
    """(M s, its slope) of the focal loss: s = −ln p, M = (1 − p)^γ; 1 − p = p_other and −ln(1 − p) = other."""
    modulation = exp(-gamma * other)
    return share(modulation, surprise), -modulation * p_other - gamma * share(modulation * p, surprise)


@triton.jit
def load(x, i, h, row_step, column_step, inside, REAL: tl.constexpr):
    """A tile in the numbers that are computed with."""
    return tl.load(x + i * row_step + h * column_step, mask=inside, other=0.0).to(REAL)


@triton.jit(do_not_specialize=["rows"])
def binary_cross_entropy(
    z, target, weight, pos_weight, scale, upstream, gradient, losses,
    rows, columns,
    z_row, z_column, target_row, target_column, weight_row, weight_column, pos_weight_row, pos_weight_column,
    scale_row, scale_column, gradient_row, gradient_column, losses_row, losses_column,
    smoothing: tl.float64, gamma: tl.float64, ignore_index: tl.float64,
    WEIGHTED: tl.constexpr, POSITIVE: tl.constexpr, SMOOTHED: tl.constexpr, FOCAL: tl.constexpr,
    IGNORING: tl.constexpr, GRADIENT: tl.constexpr, EACH: tl.constexpr, SKIPS: tl.constexpr, REAL: tl.constexpr,
    QUICK: tl.constexpr, SCALED: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ℓ of every value (EACH) or its sum over the tile, and the gradient times ``scale``.

    SKIPS: it is there already for an ``upstream`` of 1, and is made anew for another. SCALED: the scale is a number for
    each value and not one for all.
    """
    if SKIPS:  # noqa: SIM102 (the one is known to the compiler, the other to the device)
        if tl.load(upstream).to(tl.float64) == 1.0:
            return
    program, across = tl.program_id(0).to(tl.int64), tl.cdiv(columns, BLOCK)
    i = ((program // across) * ROWS + tl.arange(0, ROWS))[:, None]
    h = ((program % across) * BLOCK + tl.arange(0, BLOCK))[None, :]
    h = h if WIDE else h.to(tl.int32)
    inside = (i < rows) & (h < columns)

    hard = load(target, i, h, target_row, target_column, inside, REAL)
    counted = inside
    if IGNORING:  # as the target's dtype has it
        counted = inside & (hard != tl.full([], ignore_index, REAL).to(target.dtype.element_ty).to(REAL))
    x = load(z, i, h, z_row, z_column, counted, REAL)
    t = tl.where(counted, hard, 0.0)
    rest_of_t = 1.0 - t
    if SMOOTHED:  # both: of a smoothed 1 the rest has lost its digits
        epsilon = tl.full([], smoothing, REAL)
        t, rest_of_t = (1.0 - epsilon) * t + 0.5 * epsilon, (1.0 - epsilon) * rest_of_t + 0.5 * epsilon

    rest, p, p_other = label(x, QUICK)
    if FOCAL or POSITIVE:
        if_true, if_false = rest + tl.maximum(-x, 0.0), rest + tl.maximum(x, 0.0)
        true_loss, false_loss, true_slope, false_slope = if_true, if_false, -p_other, p
        if FOCAL:
            g = tl.full([], gamma, REAL)
            true_loss, true_slope = modulated(if_true, if_false, p, p_other, g)
            false_loss, false_slope = modulated(if_false, if_true, p_other, p, g)
            false_slope = -false_slope
        loss, slope = share(t, true_loss), share(t, true_slope)
        if POSITIVE:
            positive = load(pos_weight, i, h, pos_weight_row, pos_weight_column, inside, REAL)
            loss, slope = positive * loss, positive * slope
        loss, slope = loss + share(rest_of_t, false_loss), slope + share(rest_of_t, false_slope)
    else:  # the two add up to less
        loss, slope = rest + share(tl.where(x > 0.0, rest_of_t, t), tl.abs(x)), p - t
    if WEIGHTED:
        w = load(weight, i, h, weight_row, weight_column, inside, REAL)
        loss, slope = w * loss, w * slope

    loss = tl.where(counted, loss, 0.0)
    if EACH:
        tl.store(losses + i * losses_row + h * losses_column, loss, mask=inside)
    else:
        tl.store(losses + program, tl.sum(tl.sum(loss, 1), 0))
    if GRADIENT:
        up = load(scale, i, h, scale_row, scale_column, inside, REAL) if SCALED else value_at(scale, 0, REAL)
        if SKIPS:
            up *= tl.load(upstream).to(REAL)
        slope = tl.where(counted, slope * up, 0.0).to(gradient.dtype.element_ty)
        tl.store(gradient + i * gradient_row + h * gradient_column, slope, mask=inside)
