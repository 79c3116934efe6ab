"""exp, log1p, tanh and powers of tiles, to a unit or two in the last place in float32 and float64.

``tl.exp`` of float32 rounds x / ln 2 first, which costs |x| roundings of the result; libdevice's functions are slower
and don't run in Triton's interpreter.

Sources: the two-term product of W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980); Kahan's
log1p as in D. Goldberg, What Every Computer Scientist Should Know (1991), theorem 4; S. L. Moshier, Cephes (tanh).
"""

from __future__ import annotations

import triton
import triton.language as tl

_LOG2E = tl.constexpr(1.4426950216293335)  # to float32, and what that leaves
_LOG2E_REST = tl.constexpr(1.9259629911266175e-8)
_LN2 = tl.constexpr(0.6931471805599453)
_SMALLEST = tl.constexpr(-110.0)  # e^x is 0 in float32 from here on


@triton.jit
def value_at(x, at, REAL: tl.constexpr):
    """What lies there behind a pointer x, or x itself where it is a number."""
    x = tl.to_tensor(x)  # the interpreter leaves a number one of Python's
    if x.dtype.is_ptr():
        return tl.load(x + at).to(REAL)
    else:  # triton compiles what stands behind a return
        return tl.full([], x, REAL)


@triton.jit
def values_at(x, at, inside, REAL: tl.constexpr):
    """The same of many places."""
    x = tl.to_tensor(x)
    if x.dtype.is_ptr():
        return tl.load(x + at, mask=inside, other=0.0).to(REAL)
    else:
        return tl.full(at.shape, x, REAL)


@triton.jit
def exp(x):
    """e^x for x ≤ 0."""
    if x.dtype == tl.float64:
        return tl.exp(x)
    else:  # triton compiles what stands behind a return
        x = tl.where(x < _SMALLEST, _SMALLEST, x)  # the rest of −∞ would be NaN; NaN itself stays
        t = x * _LOG2E
        rest = tl.fma(x, tl.full([], _LOG2E, tl.float32), -t) + x * _LOG2E_REST
        return tl.exp2(t) * (1.0 + rest * _LN2)


@triton.jit
def quick_exp(x):
    """e^x to |x| roundings of float32, for numbers that came with fewer digits or go where fewer are kept."""
    return tl.exp2(x * _LOG2E)


@triton.jit
def e_to(x, QUICK: tl.constexpr):
    """e^x for x ≤ 0, the quicker way where the logits have 16 bits."""
    return quick_exp(x) if QUICK else exp(x)


@triton.jit
def log1p(x):
    """ln(1 + x) for 0 ≤ x ≤ 1: what rounding took from 1 + x is taken from its logarithm too."""
    y = 1.0 + x
    kept = y - 1.0
    return tl.where(kept == 0.0, x, tl.log(y) * (x / tl.where(kept == 0.0, 1.0, kept)))


@triton.jit
def quick_log1p(x):
    """ln(1 + x) for 0 ≤ x ≤ 1, off by 1.3e-6 of it at most: a polynomial fitted to ln(1 + x) / x there."""
    y = (0.014140845276415348 * x - 0.06640126556158066) * x + 0.14922326803207397
    y = ((y * x - 0.23503828048706055) * x + 0.3310944139957428) * x - 0.4998696446418762
    return (y * x + 0.9999987483024597) * x


@triton.jit
def power(x, exponent):
    """x^exponent for 0 ≤ x ≤ 1."""
    return tl.where(x > 0.0, exp(exponent * tl.log(tl.where(x > 0.0, x, 1.0))), tl.where(exponent > 0.0, x, 1.0))


@triton.jit
def tanh(x):
    """(1 − e^{−2|x|}) / (1 + e^{−2|x|}) with the sign of x, and a series in x near 0, where that cancels."""
    size = tl.abs(x)
    e = exp(-2.0 * size)
    far = (1.0 - e) / (1.0 + e)
    q = tl.where(size < 0.625, x * x, 0.0)
    if x.dtype == tl.float64:
        above = (-9.64399179425052238628e-1 * q - 9.92877231001918586564e1) * q - 1.61468768441708447952e3
        below = ((q + 1.12811678491632931402e2) * q + 2.23548839060100448583e3) * q + 4.84406305325125486048e3
        series = q * (above / below)
    else:
        series = (((-5.70498872745e-3 * q + 2.06390887954e-2) * q - 5.37397155531e-2) * q + 1.33314422036e-1) * q
        series = (series - 3.33332819422e-1) * q
    return tl.where(size < 0.625, x + x * series, tl.where(x < 0.0, -far, far))
