"""Launching a kernel where its tensors are."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy
import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED: bool = triton.knobs.runtime.interpret
"""Whether kernels run in Triton's interpreter, on tensors of the CPU: ``TRITON_INTERPRET=1`` before triton's import."""

DEVICE_CHECKS = {"debug": True, "sanitize_overflow": False}
"""The kernels' own assertions, as torch's kernels have them, and none that Triton would add to sums of integers."""

TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}


def real(*tensors: Tensor) -> torch.dtype:
    """What these are computed in: float64 where one of them is, else float32."""
    return torch.float64 if any(x.dtype == torch.float64 for x in tensors) else torch.float32


@cache
def multiprocessors(device: torch.device) -> int:
    """Of the GPU; under the interpreter few, so that a program takes more than one row."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2


def launch(kernel: Any, programs: int, on: Tensor, arguments: dict[str, Any], warps: int) -> None:
    """So many programs, on the device of ``on`` and in its current stream."""
    if programs:
        with _place(on.device):
            kernel[(programs,)](**arguments, num_warps=warps, **DEVICE_CHECKS)


def _place(device: torch.device) -> AbstractContextManager[Any]:
    """That device; and numpy, which interprets, says no more of inf − inf and of ln 0 than a GPU does."""
    if device.type != "cuda":
        return numpy.errstate(all="ignore")
    return nullcontext() if device.index == torch.cuda.current_device() else torch.cuda.device(device)
