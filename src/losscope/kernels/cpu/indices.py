"""One look at the index targets of a call: whether all are in range, and how many count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from losscope.kernels.cpu.intrinsics import pointer
from losscope.kernels.cpu.sharing import suspect


def survey(arguments: Any) -> None:
    """Raise the flag where a target is neither an index nor to be ignored. The mean is over those that count."""
    a = carray(arguments, 1)[0]
    y, counted, refused = pointer(a.target, np.int64(0)), 0, 0
    for i in range(a.samples):
        counts = y[i] != a.ignore_index
        counted += counts
        refused += counts & ((y[i] < 0) | (y[i] >= a.classes))
    if refused:
        suspect(a)
    if a.averaged:
        a.over = counted
        a.scale = 1 / a.over if counted else 0.0
