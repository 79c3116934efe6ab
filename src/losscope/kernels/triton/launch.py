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


_compiled: dict[tuple[Any, ...], Any] = {}


def launch(kernel: Any, programs: int, on: Tensor, arguments: dict[str, Any], warps: int) -> None:
    """So many programs, on the device of ``on`` and in its current stream."""
    if not programs:
        return
    with _place(on.device):
        if INTERPRETED:
            kernel[(programs,)](**arguments, num_warps=warps, **DEVICE_CHECKS)
            return
        # Triton's own way from arguments to the compiled kernel takes longer than many a kernel runs.
        values = [arguments[parameter.name] for parameter in kernel.params]
        kinds = [v if p.is_constexpr else kind(v) for p, v in zip(kernel.params, values, strict=True)]
        key = (kernel, on.device, warps, *kinds)
        if key in _compiled:
            _compiled[key][(programs, 1, 1)](*values)
        else:
            _compiled[key] = kernel[(programs,)](*values, num_warps=warps, **DEVICE_CHECKS)


def kind(value: Any) -> Any:
    """What triton compiles a kernel anew for, of an argument: its type, and whether 16 divides it or it is 1."""
    if isinstance(value, Tensor):
        return value.dtype, value.data_ptr() % 16 == 0
    if isinstance(value, int):
        return value == 1, value % 16 == 0, value.bit_length() > 31
    return type(value)


def _place(device: torch.device) -> AbstractContextManager[Any]:
    """That device; and numpy, which interprets, says no more of inf − inf and of ln 0 than a GPU does."""
    if device.type != "cuda":
        return numpy.errstate(all="ignore")
    return nullcontext() if device.index == torch.cuda.current_device() else torch.cuda.device(device)
