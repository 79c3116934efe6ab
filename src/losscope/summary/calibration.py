"""Confidence against how often it is right, and what chance alone would show."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from losscope.summary.bins import BINS, equal_edges
from losscope.summary.exact import Integers, integer, means
from losscope.summary.result import Calibration, NullBand

DRAWS = 2000
SEED = 0
_LOW, _HIGH = 0.05, 0.95

Floats = NDArray[np.float64]
Number = TypeVar("Number", np.int64, np.float64)


def calibration(right: Integers, count: Integers, confidence: Integers) -> Calibration:
    """From fine bins: how many there are, how many are right, and the exact sum of their confidences (…, digits)."""
    n, hits = _bins(count), _bins(right)
    mean_confidence = means(confidence.reshape(BINS, -1, confidence.shape[-1]).sum(1), n)
    with np.errstate(invalid="ignore"):
        accuracy = hits / n
    gaps = np.abs(accuracy - mean_confidence)
    ece = float(np.nansum(n * gaps) / n.sum()) if n.any() else float("nan")
    return Calibration(
        edges=equal_edges(BINS),
        count=torch.tensor(n),
        confidence=torch.tensor(mean_confidence),
        accuracy=torch.tensor(accuracy),
        ece=ece,
        mce=float(np.nanmax(gaps)) if n.any() else float("nan"),
        null=null_band(count, means(confidence, count), ece),
    )


def signed_gaps(right: Integers, confidence: Integers) -> Floats:
    """Σ (right − confidence) of each bin: the ECE is the sum of their sizes, over N."""
    unit = 1 << 96
    return np.array([(int(r) * unit - integer(c)) / unit for r, c in zip(right, confidence, strict=True)])


def null_band(count: Integers, confidence: Floats, observed: float) -> NullBand:
    """Draw models that are right with just the probability they say, in fine bins, and measure their ECE.

    Source: Vaicenavicius et al. 2019, "Evaluating model calibration in classification", section 5.
    """
    p = np.nan_to_num(confidence).clip(0, 1)
    drawn = np.random.default_rng(SEED).binomial(count, p, size=(DRAWS, count.size))
    right, n = _bins(drawn), _bins(count)
    expected = _bins(count * p)
    ece = np.abs(right - expected).sum(1) / max(n.sum(), 1)
    low, high = np.quantile(right, (_LOW, _HIGH), axis=0)
    with np.errstate(invalid="ignore"):
        bin_low, bin_high = torch.tensor(low / n), torch.tensor(high / n)
    if not n.any():
        nan = float("nan")
        return NullBand(nan, nan, nan, nan, DRAWS, SEED, bin_low, bin_high)
    low_ece, high_ece = np.quantile(ece, (_LOW, _HIGH))
    return NullBand(
        low=float(low_ece),
        mean=float(ece.mean()),
        high=float(high_ece),
        p_value=float((ece >= observed).mean()),
        draws=DRAWS,
        seed=SEED,
        bin_low=bin_low,
        bin_high=bin_high,
    )


def _bins(fine: NDArray[Number]) -> NDArray[Number]:
    """Fine bins, the last dimension, put together to the 15 of the diagram."""
    total: NDArray[Number] = np.add.reduce(fine.reshape(*fine.shape[:-1], BINS, -1), -1)
    return total


def grouped(fine: Tensor, groups: int) -> Tensor:
    """The last dimension in so many groups."""
    return fine.reshape(*fine.shape[:-1], groups, -1).sum(-1)
