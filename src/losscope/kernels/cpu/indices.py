"""One look at the index targets of a call: whether all are in range, and how many count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from losscope.kernels.cpu.intrinsics import load, pointer, real_like
from losscope.kernels.cpu.sharing import suspect


def survey(arguments: Any) -> None:
    """Raise the flag where a target is neither an index nor to be ignored; of the others, what the mean divides by."""
    a = carray(arguments, 1)[0]
    counted = weighed(a) if a.weighted else numbered(a)
    if counted < 0:
        suspect(a)
    if a.averaged:
        a.over = counted
        a.scale = 1 / counted if counted > 0 else 0.0


@njit(error_model="numpy")
def numbered(a: Any) -> Any:
    """Σ_i v_i, or −1 where one is out of range."""
    y, counted, refused = pointer(a.target, np.int64(0)), 0, 0
    for i in range(a.samples):
        counts = y[i] != a.ignore_index
        counted += counts
        refused += counts & ((y[i] < 0) | (y[i] >= a.classes))
    return np.float64(-1 if refused else counted)


@njit(error_model="numpy")
def weighed(a: Any) -> Any:
    """Σ_i v_i w_{y_i}, or −1."""
    y, w, total = pointer(a.target, np.int64(0)), pointer(a.weight, real_like(a.element)), 0.0
    for i in range(a.samples):
        if y[i] != a.ignore_index:
            if y[i] < 0 or y[i] >= a.classes:
                return -1.0
            total += load(w, y[i])
    return total
