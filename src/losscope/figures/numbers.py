"""Numbers to be read: a few digits, thousands apart, and the signs of print."""

from __future__ import annotations

import math


def number(value: object) -> str:
    """Whole numbers grouped, others with three digits: what is 1.00 is near 1, what is 1 is 1.

    Example:
        >>> number(12345), number(0.00123456), number(2.0), number(1.99999), number(float("nan"))
        ('12,345', '0.00123', '2', '2.00', '–')
        >>> number(-1.5e-7), number(1234.5)
        ('−1.5e−7', '1,234')
    """
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    return _measure(value).replace("-", "−") if isinstance(value, float) else str(value)


def _measure(value: float) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value.is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    if not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
