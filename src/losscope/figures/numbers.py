"""Numbers to be read: a few digits, thousands apart, and the signs of print."""

from __future__ import annotations

import math
from numbers import Integral, Real


def number(value: object) -> str:
    """Whole numbers grouped, others with three digits: what is 1.00 is near 1, what is 1 is 1.

    Example:
        >>> number(12345), number(0.00123456), number(2.0), number(1.99999), number(float("nan"))
        ('12,345', '0.00123', '2', '2.00', '–')
        >>> number(-1.5e-7), number(1234.5), number(-0.0)
        ('−1.5e−7', '1,234', '0')
    """
    if value is None:
        return "–"
    if isinstance(value, Integral):
        return f"{int(value):,}".replace("-", "−")
    return _measure(float(value)).replace("-", "−") if isinstance(value, Real) else str(value)


def percent(part: float) -> str:
    """A part in percent: what is not all of it is not 100 %, and what is not nothing is not 0 %.

    Example:
        >>> percent(0.5), percent(1.0), percent(0.9999), percent(1e-5), percent(float("nan"))
        ('50.0%', '100.0%', '>99.9%', '<0.1%', '–')
    """
    if math.isnan(part):
        return "–"
    if 0 < part < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= part < 1 else f"{part:.1%}"


def counted(count: int, what: str, many: str | None = None) -> str:
    """How many of them; many of them are called so where it is not the same word with an s.

    Example:
        >>> counted(1, "sample"), counted(1200, "sample"), counted(4, "class", "classes")
        ('1 sample', '1,200 samples', '4 classes')
    """
    return f"{number(count)} {what if count == 1 else many or what + 's'}"


def _measure(value: float) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value.is_integer() and abs(value) < 1e6:
        return f"{value + 0.0:,.0f}"  # −0 + 0 is 0
    if not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
