"""Kernels compiled on first use, kept on disk for the next process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from numba import cfunc, types

from losscope.kernels.cpu.arguments import ELEMENTS, record


@cache
def address(kernel: Callable[[Any], None], structure: type[ctypes.Structure], dtype: torch.dtype) -> int:
    """The machine code of `kernel`, which takes such a structure, over elements of this dtype."""
    signature = types.void(record(structure, ELEMENTS[dtype]))
    return int(cfunc(signature, cache=True, error_model="numpy")(kernel).address)
