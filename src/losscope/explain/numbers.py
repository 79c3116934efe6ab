"""Numbers as text: the same decimals down a table, and never 0.0000 for what is not 0."""

from __future__ import annotations

import math

from torch import Tensor


def formatted(x: Tensor, width: int) -> list[list[str]]:
    """A matrix as text, no cell wider than ``width`` where that can be helped.

    Example:
        >>> formatted(torch.tensor([[1.0, 10.0], [0.5, 1e-9]]), 8)
        [['1.0000', '10.0000'], ['0.5000', '1.00e-9']]
        >>> formatted(torch.tensor([[0, 1]]), 8)
        [['0', '1']]
    """
    decimals = _decimals(x, width)
    return [[number(v, decimals, width) for v in row] for row in x.tolist()]


def scalar(x: float) -> str:
    """One number with six significant digits."""
    return f"{x:.6g}"


def number(x: float, decimals: int, width: int) -> str:
    """Fixed decimals; scientific where they would show nothing or would not fit."""
    if not math.isfinite(x):
        return f"{x:g}"
    fixed = f"{x + 0.0:.{decimals}f}"  # −0 is 0
    vanishes = 0 < abs(x) < 10.0 ** -min(decimals, 3)
    return _scientific(x, width) if vanishes or len(fixed) > width else fixed


def _decimals(x: Tensor, width: int) -> int:
    """As many as fit, at most 4; none for whole numbers."""
    if not x.is_floating_point():
        return 0
    finite = x[x.isfinite()]
    if not finite.numel():
        return 0
    largest = float(finite.abs().max())
    if bool((finite == finite.round()).all()) and largest < 10 ** (width - 1):
        return 0
    whole = len(str(int(min(largest, 1e15)))) + int(bool((finite < 0).any()))
    return max(0, min(4, width - whole - 1))


def _scientific(x: float, width: int) -> str:
    for digits in (2, 1, 0):
        mantissa, exponent = f"{x:.{digits}e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
        if len(text) <= width:
            break
    return text
