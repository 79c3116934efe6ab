"""exp, log, log1p and tanh as polynomials that the compiler turns into vector instructions.

Each is right to about one unit in the last place over the range the losses use. `contract` lets a multiply
and an add fuse; no other liberty is taken, so NaN and the infinities go through as they should.

Sources: S. L. Moshier, Cephes Mathematical Library (expf, tanhf, tanh); for the rest Taylor's series
on a range so short that the next term is below the last place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from losscope.kernels.cpu.intrinsics import bits_of_float, choose_below, float_of_bits, power_of_two
from losscope.kernels.cpu.vectors import doubled

EXACT = {"contract"}  # multiply and add in one rounding, and nothing else
SUMS = {"contract", "reassoc", "nsz"}  # for sums alone: a vector's lanes are added up in another order

F, D = np.float32, np.float64

_LOG2E, _LOG2E_D = F(1.4426950408889634), D(1.4426950408889634)
_LN2, _LN2_REST = F(0.6931471805599453), F(0.6931471805599453 - D(F(0.6931471805599453)))
_ROUNDING, _ROUNDING_D = F(1.5 * 2**23), D(1.5 * 2**52)  # added to a number, they leave it the nearest integer
_LN2_HIGH, _LN2_LOW = F(0.693359375), F(-2.12194440e-4)  # the product with a small integer is exact
_LN2_HIGH_D, _LN2_LOW_D = D(6.93145751953125e-1), D(1.42860682030941723212e-6)
_SMALL_SUM = 2.0**-21
TINY = float(np.finfo(np.float32).tiny)  # below it 0·∞ is not looked for
_SMALLEST, _SMALLEST_D = F(-87.3), D(-708.3)  # exp is a normal number above, and 0 below


@njit(fastmath=EXACT, error_model="numpy")
def _reduced_float32(x: Any) -> Any:
    """(e^r − 1, 2^n) with x = n ln 2 + r and |r| ≤ ½ ln 2."""
    shifted = x * _LOG2E + _ROUNDING  # its lowest bits are the integer n nearest to x / ln 2
    n = shifted - _ROUNDING
    r = x - n * _LN2
    r = r - n * _LN2_REST
    p = F(0.0013751356163993478) * r + F(0.008368930779397488)  # least squares
    p = p * r + F(0.041669536381959915)
    p = p * r + F(0.166665181517601)
    p = p * r + F(0.49999988079071045)
    return p * (r * r) + r, power_of_two(shifted)


def _exp_float32(x: Any) -> Any:
    rest, power = _reduced_float32(x)
    return choose_below(x, _SMALLEST, F(0), (rest + F(1)) * power)


def _expm1_float32(x: Any) -> Any:
    rest, power = _reduced_float32(x)
    return F(-1) if x < _SMALLEST else rest * power + (power - F(1))


def _expm1_float64(x: Any) -> Any:
    return np.expm1(x)


def _exp_float64(x: Any) -> Any:
    shifted = x * _LOG2E_D + _ROUNDING_D
    n = shifted - _ROUNDING_D
    r = x - n * _LN2_HIGH_D
    r = r - n * _LN2_LOW_D
    p = D(1 / 6227020800) * r + D(1 / 479001600)
    p = p * r + D(1 / 39916800)
    p = p * r + D(1 / 3628800)
    p = p * r + D(1 / 362880)
    p = p * r + D(1 / 40320)
    p = p * r + D(1 / 5040)
    p = p * r + D(1 / 720)
    p = p * r + D(1 / 120)
    p = p * r + D(1 / 24)
    p = p * r + D(1 / 6)
    p = p * r + D(1 / 2)
    p = p * (r * r) + r + D(1)
    return choose_below(x, _SMALLEST_D, D(0), p * power_of_two(shifted))


def _log_float32(x: Any) -> Any:
    """Ln x of a positive normal x; -inf at 0, NaN stays."""
    bits = np.int32(bits_of_float(x) - 0x3F3504F3)  # x = m · 2ⁿ with m in [√½, √2)
    n = F(np.int32(bits >> 23))
    t = float_of_bits(np.int32((bits & 0x7FFFFF) + 0x3F3504F3)) - F(1)
    p = F(7.0376836292e-2) * t + F(-1.1514610310e-1)
    p = p * t + F(1.1676998740e-1)
    p = p * t + F(-1.2420140846e-1)
    p = p * t + F(1.4249322787e-1)
    p = p * t + F(-1.6668057665e-1)
    p = p * t + F(2.0000714765e-1)
    p = p * t + F(-2.4999993993e-1)
    p = p * t + F(3.3333331174e-1)
    square = t * t
    rest = p * t * square + n * _LN2_LOW - F(0.5) * square
    value = (t + rest) + n * _LN2_HIGH
    return value if x > F(0) else (F(-np.inf) if x == F(0) else x)


def _log1p_float32(x: Any) -> Any:
    p = F(0.0019794295076280832) * x + F(-0.01315114926546812)  # ln(1+x)/x, least squares on [0, 1]
    p = p * x + F(0.04092780873179436)
    p = p * x + F(-0.0817866325378418)
    p = p * x + F(0.12371236830949783)
    p = p * x + F(-0.1608460247516632)
    p = p * x + F(0.19884996116161346)
    p = p * x + F(-0.2498636692762375)
    p = p * x + F(0.3333248794078827)
    p = p * x + F(-0.4999997913837433)
    p = p * x + F(1)
    return p * x


def _log1p_float64(x: Any) -> Any:
    """ln(1+x) for 0 ≤ x ≤ 1, by 2·atanh(x/(2+x))."""
    s = x / (D(2) + x)
    q = s * s
    p = D(2 / 33) * q + D(2 / 31)
    p = p * q + D(2 / 29)
    p = p * q + D(2 / 27)
    p = p * q + D(2 / 25)
    p = p * q + D(2 / 23)
    p = p * q + D(2 / 21)
    p = p * q + D(2 / 19)
    p = p * q + D(2 / 17)
    p = p * q + D(2 / 15)
    p = p * q + D(2 / 13)
    p = p * q + D(2 / 11)
    p = p * q + D(2 / 9)
    p = p * q + D(2 / 7)
    p = p * q + D(2 / 5)
    p = p * q + D(2 / 3)
    return p * q * s + D(2) * s


def _tanh_float32(x: Any) -> Any:
    q = x * x
    p = F(-5.70498872745e-3) * q + F(2.06390887954e-2)
    p = p * q + F(-5.37397155531e-2)
    p = p * q + F(1.33314422036e-1)
    p = p * q + F(-3.33332819422e-1)
    near = p * q * x + x
    e = exp(F(-2) * np.abs(x))
    far = np.copysign((F(1) - e) / (F(1) + e), x)
    return near if np.abs(x) < F(0.625) else far


def _tanh_float64(x: Any) -> Any:
    q = x * x
    p = (D(-9.64399179425052238628e-1) * q + D(-9.92877231001918586564e1)) * q + D(-1.61468768441708447952e3)
    d = ((q + D(1.12811678491632931402e2)) * q + D(2.23548839060100448583e3)) * q + D(4.84406305325125486048e3)
    near = x + x * q * (p / d)
    e = exp(D(-2) * np.abs(x))
    far = np.copysign((D(1) - e) / (D(1) + e), x)
    return near if np.abs(x) < D(0.625) else far


def _log_float64(x: Any) -> Any:
    return np.log(x)


def expm1(x: Any) -> Any:
    """e^x − 1 for x ≤ 0."""
    raise NotImplementedError("compiled code only")


def exp(x: Any) -> Any:
    """e^x for x ≤ 0; 0 where it would be below the normal numbers."""
    raise NotImplementedError("compiled code only")


def log(x: Any) -> Any:
    """Ln x for normal x > 0, and -inf at 0."""
    raise NotImplementedError("compiled code only")


def log1p(x: Any) -> Any:
    """ln(1+x) for 0 ≤ x ≤ 1."""
    raise NotImplementedError("compiled code only")


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    raise NotImplementedError("compiled code only")


def _choose(function: Any, single: Any, double: Any) -> None:
    """Compile `function` as `single` for float32 and as `double` for float64, numbers or vectors of them."""

    @overload(function, jit_options={"fastmath": EXACT, "error_model": "numpy"})
    def by_type(x: Any) -> Any:
        return single if getattr(x, "real", x) == types.float32 else double


_choose(exp, _exp_float32, _exp_float64)
_choose(expm1, _expm1_float32, _expm1_float64)
_choose(log, _log_float32, _log_float64)
_choose(log1p, _log1p_float32, _log1p_float64)
_choose(tanh, _tanh_float32, _tanh_float64)


# Σ ln(1+x): of float32 as the logarithm of a product in float64, whose factors are joined by fours before;
# of float64 as the sum of as many logarithms as there are terms.


def _log1p_term_float32(x: Any) -> Any:
    return x


def _log1p_joined_float32(a: Any, b: Any) -> Any:
    return a * b + (a + b)  # (1 + a)(1 + b) − 1, to the last places of what is small


def _log1p_joined_float64(a: Any, b: Any) -> Any:
    return a + b


def _log1p_split_float32(x: Any) -> Any:
    wide = doubled(x)
    return wide, wide + D(1), F(0)


def _log1p_split_float64(x: Any) -> Any:
    return D(0), D(1), x


def log1p_term(x: Any) -> Any:
    """What stands for ln(1+x), 0 ≤ x ≤ 1, in `log1p_joined`."""
    raise NotImplementedError("compiled code only")


def log1p_joined(a: Any, b: Any) -> Any:
    """Two such terms as one; at most eight may go into one."""
    raise NotImplementedError("compiled code only")


def log1p_split(x: Any) -> Any:
    """(a, b, c) of a vector of terms, with Σ ln(1+x) = `log1p_sum`(Σ a, Π b) + Σ c; a and b in float64."""
    raise NotImplementedError("compiled code only")


_choose(log1p_term, _log1p_term_float32, _log1p_float64)
_choose(log1p_split, _log1p_split_float32, _log1p_split_float64)


@overload(log1p_joined, jit_options={"fastmath": EXACT, "error_model": "numpy"})
def _joined_by_type(a: Any, b: Any) -> Any:
    return _log1p_joined_float32 if a.real == types.float32 else _log1p_joined_float64


@njit(error_model="numpy")
def log1p_sum(small: Any, product: Any) -> Any:
    """Σ ln(1+x).

    Below the threshold Σ x is nearer: it lacks at most half of itself squared, where the factors lose 2⁻⁵³ each.
    """
    return small if small < _SMALL_SUM else np.log(product)
