"""How exactly a row of probabilities sums to one in each dtype, and how unlikely a row of logits does so by chance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losscope.linting.statistics import unique

_CHANCE = 1e-4
_DISTINCT = 64


def roundoff(dtype: torch.dtype) -> float:
    """U, the largest relative error of one rounding: 2⁻²⁴ float32, 2⁻¹¹ float16, 2⁻⁸ bfloat16."""
    return torch.finfo(dtype).eps / 2


def sum_tolerance(dtype: torch.dtype, classes: int) -> float:
    """Of Σ_h ŷ_h = 1: each ŷ_h is rounded by at most u·ŷ_h, or by half the smallest step below the normal numbers."""
    finfo = torch.finfo(dtype)
    return 1.5 * roundoff(dtype) + classes * finfo.tiny * finfo.eps / 2 + 1e-5


def lse_tolerance(dtype: torch.dtype, classes: int) -> float:
    """Of ln Σ_h e^{s_h} = 0: each s_h is rounded by at most u·|s_h|, and Σ ŷ_h |s_h| ≤ ln H."""
    return 1.5 * roundoff(dtype) * (1 + math.log(max(classes, 1))) + 1e-3


def beyond_chance(sums: int, off: float) -> bool:
    """So many independent sums would not all be as near to a number as ``off``, the furthest seen, by chance.

    A density of at most two gives each a probability of at most 4·off.
    """
    return (4 * off) ** sums <= _CHANCE


def distinct(rows: Tensor) -> int:
    """How many of the first rows differ: equal rows are one piece of evidence, not many."""
    return len(unique(rows[:_DISTINCT], dim=0))


def probability_rows(rows: Tensor, dtype: torch.dtype) -> bool:
    """Every row is in [0, 1] and sums to one, too exactly for chance."""
    tolerance = sum_tolerance(dtype, rows.shape[1])
    if len(rows) == 0 or bool((rows < 0).any()) or bool((rows > 1 + tolerance).any()):
        return False
    off = float((rows.sum(1, dtype=torch.float64) - 1).abs().max())
    return off <= tolerance and beyond_chance(distinct(rows), max(off, roundoff(dtype)))


def log_probability_rows(rows: Tensor, dtype: torch.dtype) -> bool:
    """Every row is ≤ 0 with ln Σ_h e^{s_h} = 0."""
    tolerance = lse_tolerance(dtype, rows.shape[1])
    if len(rows) == 0 or bool((rows > tolerance).any()):
        return False
    off = float(rows.logsumexp(1).abs().max())
    return off <= tolerance and beyond_chance(distinct(rows), max(off, roundoff(dtype)))
