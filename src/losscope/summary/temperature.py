"""The temperature that fits best, from what was summed up on a grid of temperatures.

The mean ℓ(T) and its derivative by ln β are known at each point of the grid, exactly. ℓ is convex in β = 1/T, so the
point where the derivative changes its sign is the minimum; between two neighbours both are taken as cubic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from losscope.summary.calibration import signed_gaps
from losscope.summary.exact import Integers, means
from losscope.summary.result import Temperature
from losscope.summary.scan import GRID, ONE

Floats = NDArray[np.float64]


def temperature(sums: Integers, counts: Integers, confidence: Integers, count: int) -> Temperature:
    """From Σ ℓ and Σ dℓ/d ln β (25, 2, digits), and from the bins at each T: [wrong, right] (25, 2, 15), Σ ŷ."""
    nll, slope = means(sums, np.full(sums.shape[:2], count)).T
    right, filled = counts[:, 1], counts.sum(1)
    gaps = np.array([signed_gaps(r, c) for r, c in zip(right, confidence, strict=True)]) / count
    t, at_edge = _minimum(nll, slope)
    filled_at, right_at, confident = (_between(x, t) for x in (filled, right, right - count * gaps))
    curve = CubicHermiteSpline(np.log(GRID), nll, -slope)
    return Temperature(
        temperature=t,
        nll=float(curve(np.log(t))),
        ece=float(np.abs(_between(gaps, t)).sum()),
        nll_before=float(nll[ONE]),
        ece_before=float(np.abs(gaps[ONE]).sum()),
        at_edge=at_edge,
        bin_count=torch.tensor(filled_at),
        bin_confidence=torch.tensor(_parts(confident, filled_at)),
        bin_accuracy=torch.tensor(_parts(right_at, filled_at)),
        grid=torch.tensor(GRID),
        grid_nll=torch.tensor(nll),
        grid_ece=torch.tensor(np.abs(gaps).sum(1)),
    )


def _minimum(nll: Floats, slope: Floats) -> tuple[float, bool]:
    """T where dℓ/d ln T, which is −slope, goes from below 0 to above."""
    rising = -slope >= 0
    if rising.all() or not rising.any():
        return float(GRID[0] if rising.all() else GRID[-1]), True
    after = int(rising.argmax())
    piece = slice(after - 1, after + 1)
    x = np.log(GRID[piece])
    derivative = CubicHermiteSpline(x, nll[piece], -slope[piece]).derivative()
    roots = [r for r in derivative.roots(extrapolate=False) if x[0] <= r <= x[1]]
    return float(np.exp(roots[0] if roots else x[1])), False


def _parts(sums: Floats, filled: Floats) -> Floats:
    """Means of the bins; NaN where one is empty."""
    return np.divide(sums, filled, out=np.full_like(filled, np.nan), where=filled > 0)


def _between(bins: NDArray[Any], t: float) -> Floats:
    """What the bins hold at T, linear in ln T between two points of the grid."""
    x = np.log(GRID)
    return np.array([np.interp(np.log(t), x, column) for column in bins.T])
