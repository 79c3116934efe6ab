"""Sums that do not depend on the order: not on the batch size, not on the number of ranks, to the last digit.

A sum is one long integer in units of 2^low, held as digits of 32 bits in int64 (Kulisch's long accumulator, in the
form of Neal 2015, "Fast exact summation using small and large superaccumulators"). A float64 is such an integer
itself, so adding it is adding three digits, and integers add the same in any order. Only the last step rounds, once,
when the quotient of two of these integers becomes a float64.

    NATS  2^-96 … 2^192, 9 digits: losses, probabilities, entropies. What is below 2^-96 (1e-29) is cut off, each value
          for itself; a value from 2^179 (8e53) on counts as infinite.
    FULL  2^-1088 … 2^1088, 68 digits: every float64, nothing is cut off. For values whose unit is not known.

Between two ``carry`` 2^30 values may be added.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from losscope.kernels.cpu.intrinsics import bits_of_float

Integers = NDArray[np.int64]

_bits: Any = bits_of_float  # an intrinsic has no type of its own
_DIGIT = 0xFFFFFFFF
_FRACTION = (1 << 52) - 1


class Format(NamedTuple):
    """The exponent of the lowest bit, how many digits there are, and from where on a value counts as infinite."""

    low: int
    digits: int
    limit: float


NATS = Format(-96, 9, 2.0**179)
FULL = Format(-1088, 68, np.inf)


@njit(error_model="numpy", nogil=True, cache=True)
def add(total: Any, low: Any, x: Any) -> None:
    """Total += x, for |x| below the format's limit."""
    bits = _bits(x)
    exponent = (bits >> 52) & 0x7FF
    mantissa = bits & _FRACTION
    if exponent:
        mantissa |= 1 << 52
    else:
        exponent = 1  # a subnormal number
    place = exponent - 1075 - low
    if place < 0:
        mantissa >>= min(-place, 63)
        place = 0
    digit, shift = place >> 5, place & 31
    lower, upper = (mantissa & _DIGIT) << shift, (mantissa >> 32) << shift
    sign = -1 if bits < 0 else 1
    total[digit] += sign * (lower & _DIGIT)
    total[digit + 1] += sign * ((lower >> 32) + (upper & _DIGIT))
    total[digit + 2] += sign * (upper >> 32)


@njit(error_model="numpy", nogil=True, cache=True)
def add_square(total: Any, low: Any, x: Any) -> None:
    """Total += x², and what the product rounds away too (Dekker 1971): nothing is lost where sums of squares cancel."""
    square = x * x
    shifted = 134217729.0 * x  # 2^27 + 1 splits the 53 bits in two halves, whose products are exact
    high = shifted - (shifted - x)
    rest = x - high
    error = ((high * high - square) + 2 * high * rest) + rest * rest
    add(total, low, square)
    if abs(error) < np.inf:  # the split overflows above 1e300
        add(total, low, error)


def carry(totals: Integers) -> None:
    """Every digit back into 0…2^32−1; the last one holds what is above, and the sign."""
    for digit in range(totals.shape[-1] - 1):
        totals[..., digit + 1] += totals[..., digit] >> 32
        totals[..., digit] &= _DIGIT


def integer(total: Integers) -> int:
    """The sum in units of 2^low, as Python's integer."""
    return sum(int(digit) << (32 * k) for k, digit in enumerate(total) if digit)


def mean(total: Integers, count: int, form: Format = NATS) -> float:
    """Total / count, rounded once; NaN when nothing counts."""
    return integer(total) / (count << -form.low) if count else float("nan")


def means(totals: Integers, counts: Integers, form: Format = NATS) -> NDArray[np.float64]:
    """``mean`` of each row."""
    flat = totals.reshape(-1, totals.shape[-1])
    values = [mean(t, int(n), form) for t, n in zip(flat, counts.reshape(-1), strict=True)]
    return np.array(values, dtype=np.float64).reshape(counts.shape)


def ratio(total: Integers, divisor: Integers) -> float:
    """Of two sums of one format, rounded once; NaN when the divisor is 0."""
    below = integer(divisor)
    return integer(total) / below if below else float("nan")
