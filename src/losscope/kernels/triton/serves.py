"""Which tensors the Triton kernels take; torch's own operators serve the rest."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from losscope.kernels.readable import is_plain, nothing_watches
from losscope.kernels.triton.launch import INTERPRETED

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def fits(z: Tensor, *constants: Tensor | None) -> bool:
    """Raw outputs on a GPU (on the CPU under the interpreter), beside tensors that need no gradient."""
    return (
        plain(z)
        and runs(z.device)
        and z.dtype in DTYPES
        and z.numel() > 0
        and all(is_constant(x, z) for x in constants)
        and nothing_watches()
    )


@cache
def runs(device: torch.device) -> bool:
    """An NVIDIA GPU of sm_80 or newer, or the CPU under the interpreter."""
    if device.type == "cuda":
        return torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)
    return INTERPRETED and device.type == "cpu"


def is_constant(x: Tensor | None, z: Tensor) -> bool:
    """A tensor beside z whose gradient nobody wants."""
    if x is None:
        return True
    return plain(x) and x.device == z.device and not (x.requires_grad and torch.is_grad_enabled())


def plain(x: Tensor) -> bool:
    """A tensor of no subclass, with no sign left for later, outside ``torch.compile`` and ``torch.func``."""
    return is_plain(x) and not x.is_neg() and not torch.compiler.is_compiling()
