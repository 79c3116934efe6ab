"""Kernels compiled on first use, kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from numba import cfunc, types

from losscope.kernels.cpu.arguments import ELEMENTS, record


@cache
def address(kernel: Callable[[Any], None], dtype: torch.dtype) -> int:
    """The machine code of `kernel` over elements of this dtype."""
    signature = types.void(record(ELEMENTS[dtype]))
    return int(cfunc(signature, cache=True, error_model="numpy")(kernel).address)
