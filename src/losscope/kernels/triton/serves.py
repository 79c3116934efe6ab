"""Which tensors the Triton kernels take; torch's own operators serve the rest."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad

from losscope.kernels.triton.launch import INTERPRETED

_PLAIN = (Tensor, torch.nn.Parameter)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def fits(z: Tensor, *constants: Tensor | None) -> bool:
    """Raw outputs on a GPU (on the CPU under the interpreter), beside tensors that need no gradient."""
    return (
        plain(z)
        and runs(z.device)
        and z.dtype in DTYPES
        and z.numel() > 0
        and all(is_constant(x, z) for x in constants)
        and forward_ad._current_level < 0
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._get_tracing_state() is None
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
    """A tensor of no subclass, outside ``torch.compile`` and ``torch.func``."""
    return type(x) in _PLAIN and not torch.compiler.is_compiling() and not torch._C._are_functorch_transforms_active()
