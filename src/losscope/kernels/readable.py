"""Whether a tensor's values can be looked at in Python without a sync, a graph break or a failing transform."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

_dispatch_modes, _tracing_state = torch._C._len_torch_dispatch_stack, torch._C._get_tracing_state
_PLAIN = (Tensor, torch.nn.Parameter)


def readable(x: Tensor) -> bool:
    """True for a plain CPU tensor outside ``torch.compile``, ``torch.func`` and modes, some of which trace."""
    return not torch.compiler.is_compiling() and is_plain(x) and x.is_cpu and not _dispatch_modes()


def is_plain(x: Tensor) -> bool:
    """True for a tensor of no subclass outside ``torch.func``, though perhaps while a graph is made."""
    return type(x) in _PLAIN and not torch._C._are_functorch_transforms_active()


def is_batch(x: Tensor) -> bool:
    """True for one that stands for many, as those that ``is_grads_batched`` sends backwards."""
    return torch._C._functorch.is_legacy_batchedtensor(x) or torch._C._functorch.is_batchedtensor(x)


def nothing_watches() -> bool:
    """No transform or mode that has to see the operators: forward-mode AD, tracing, a dispatch mode."""
    return forward_ad._current_level < 0 and not _dispatch_modes() and _tracing_state() is None
