"""Launching a kernel where its tensors are."""

from __future__ import annotations

from typing import Any

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


def launch(kernel: Any, programs: int, on: Tensor, arguments: dict[str, Any], warps: int) -> None:
    """So many programs, on the device of ``on`` and in its current stream."""
    if programs:
        with torch.cuda.device(on.device) if on.is_cuda else _quiet():
            kernel[(programs,)](**arguments, num_warps=warps, **DEVICE_CHECKS)


def _quiet() -> Any:
    """numpy, which interprets, says no more of inf − inf and of ln 0 than a GPU does."""
    import numpy

    return numpy.errstate(all="ignore")
