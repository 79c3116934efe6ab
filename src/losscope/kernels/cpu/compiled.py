"""Kernels compiled on first use, kept on disk for the next process."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import torch
from numba import cfunc, types

from losscope.errors import LosscopeWarning
from losscope.kernels.cpu.arguments import ELEMENTS, record, version

_broken = False


class NotCompiled(RuntimeError):
    """This machine cannot have the kernel; torch's operators serve from now on."""


def works() -> bool:
    """False once a kernel could not be compiled or kept."""
    return not _broken


class Function(NamedTuple):
    """A kernel's machine code: where it is, and as Python calls it."""

    address: int
    call: Callable[[int], None]


@cache
def function(kernel: Callable[[Any], None], structure: type[ctypes.Structure], dtype: torch.dtype) -> Function:
    """The machine code of `kernel`, which takes such a structure, over elements of this dtype."""
    if not works():
        raise NotCompiled
    try:
        signature = types.void(record(structure, ELEMENTS[dtype]))
        address = int(_keep(cfunc(signature, cache=True, error_model="numpy")(_named(kernel, dtype))).address)
        return Function(address, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address))
    except Exception as error:  # whatever numba, LLVM or the file system has to say
        raise _give_up(error) from error


def _named(kernel: Callable[[Any], None], dtype: torch.dtype) -> Callable[[Any], None]:
    """The kernel under a name of its own for these elements and this version, and so with files of its own.

    Numba numbers a function's files, and writes the list of the numbers before the code: of two processes that compile
    at once, for two dtypes or after an upgrade, one could get the other's code, or the old.
    """
    name = f"{kernel.__name__}_{str(dtype).removeprefix('torch.')}_{version()}"
    named = FunctionType(kernel.__code__, kernel.__globals__, name)
    named.__qualname__ = name
    return named


_kept: list[Any] = []


def _keep(function: Any) -> Any:
    """Machine code lives as long as the object it came with."""
    _kept.append(function)
    return function


def _give_up(error: Exception) -> NotCompiled:
    """Say it once; `works` remembers."""
    global _broken
    if not _broken:
        _broken = True
        reason = str(error).strip().split("\n")[0]
        warnings.warn(
            f"the fused CPU kernels cannot be used, torch's own serve instead: {type(error).__name__}: {reason}. "
            "Where no folder for their cache is writable, set NUMBA_CACHE_DIR to one that is.",
            LosscopeWarning,
            stacklevel=2,
        )
    return NotCompiled()
