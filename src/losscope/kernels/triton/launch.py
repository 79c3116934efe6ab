"""Launching a kernel where its tensors are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple

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


class Work(NamedTuple):
    """So many programs of a kernel, with as many warps each, on the device of ``on``."""

    kernel: Any
    programs: int
    on: Tensor
    arguments: dict[str, Any]
    warps: int


_compiled: dict[tuple[Any, ...], Any] = {}


def launch(work: Work) -> None:
    """In the current stream of the device."""
    kernel, programs, on, arguments, warps = work
    if not programs:
        return
    with place(on.device):
        values = [arguments[name] for name in kernel.arg_names]
        if INTERPRETED:
            start(kernel, programs, warps, values)
            return
        # Triton's own way from arguments to the compiled kernel takes longer than many a kernel runs.
        kinds = [v if p.is_constexpr else kind(v) for p, v in zip(kernel.params, values, strict=True)]
        key = (kernel, on.device, warps, *kinds)
        if key in _compiled:
            _compiled[key][(programs, 1, 1)](*values)
        else:
            _compiled[key] = start(kernel, programs, warps, values)


def start(kernel: Any, programs: int, warps: int, values: list[Any]) -> Any:
    """Triton's way: the kernel is compiled for these arguments where it was not yet, and launched."""
    return kernel[(programs,)](*values, num_warps=warps, **DEVICE_CHECKS)


class Prepared:
    """Work that is done again and again, each time with other tensors of the same shapes, dtypes and alignment.

    Args:
        work: with tensors that are not kept.
        names: the arguments that every launch is given anew, in this order; the kernel need not have all of them.
    """

    def __init__(self, work: Work, *names: str) -> None:
        own = work.kernel.arg_names
        self._filled = [(k, own.index(name)) for k, name in enumerate(names) if name in own]
        self._values = [None if name in names else work.arguments[name] for name in own]
        self._kernel, self._programs, self._warps = work.kernel, work.programs, work.warps
        self._run: Callable[..., None] | None = None

    def __call__(self, *given: Any) -> None:
        """Where ``place`` is in force."""
        values = self._values.copy()
        for k, where in self._filled:
            values[where] = given[k]
        if self._run is not None:
            self._run(*values)
        elif (compiled := start(self._kernel, self._programs, self._warps, values)) is not None:
            self._run = compiled[(self._programs, 1, 1)]  # the interpreter compiles nothing


def kind(value: Any) -> Any:
    """What triton compiles a kernel anew for, of an argument: its type, and whether 16 divides it or it is 1."""
    if isinstance(value, Tensor):
        return value.dtype, value.data_ptr() % 16 == 0
    if isinstance(value, int):
        return value == 1, value % 16 == 0, value.bit_length() > 31
    return type(value)


def place(device: torch.device) -> AbstractContextManager[Any]:
    """That device; and numpy, which interprets, says no more of inf − inf and of ln 0 than a GPU does."""
    if device.type != "cuda":
        return numpy.errstate(all="ignore")
    return nullcontext() if device.index == torch.cuda.current_device() else torch.cuda.device(device)
