"""The fixed bins everything is counted in: fixed, so that two counts add."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from losscope.summary.exact import Integers
from losscope.summary.result import Histogram

BINS = 15  # of a reliability diagram
FINE = 8  # parts of each, for its null band and for thresholds
PARTS = BINS * FINE
SHOWN = 30  # bins of a histogram of confidences

LOSS_EDGES = 2.0 ** (np.arange(-80, 41) / 4)  # quarter octaves, 1e-6 … 1024
_MAGNITUDES = 2.0 ** (np.arange(-60, 61) / 2)  # half octaves, 1e-9 … 1e9
RESIDUAL_EDGES = np.concatenate((-_MAGNITUDES[::-1], [0.0], _MAGNITUDES))
VALUE_EDGES = 2.0 ** np.arange(-100, 101.0)  # octaves, for squared residuals of any unit


@njit(error_model="numpy", nogil=True, cache=True)
def slot(edges: Any, x: Any) -> Any:
    """How many edges are ≤ x: 0 is below the first, edges.size from the last one on."""
    low, high = 0, edges.size
    while low < high:
        middle = (low + high) // 2
        if edges[middle] <= x:
            low = middle + 1
        else:
            high = middle
    return low


@njit(error_model="numpy", nogil=True, cache=True)
def part(probability: Any, parts: Any) -> Any:
    """Which of so many equal parts of [0, 1]; the last one holds 1 too."""
    return max(0, min(parts - 1, int(probability * parts)))


def histogram(edges: Any, counts: Integers) -> Histogram:
    """As a record."""
    return Histogram(torch.tensor(edges), torch.tensor(counts))


def equal_edges(parts: int) -> Tensor:
    """0, 1/parts, …, 1."""
    return torch.arange(parts + 1, dtype=torch.float64) / parts
