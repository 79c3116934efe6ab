"""Which tensors the fused kernels take; torch's own operators serve the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.kernels.cpu import compiled
from losscope.kernels.layout import repeats
from losscope.kernels.options import CategoricalOptions
from losscope.kernels.readable import nothing_watches, readable

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
LARGE_LINK = 1 << 24
"""Values; in four million torch is as fast."""


def is_constant(x: Tensor | None) -> bool:
    """A tensor whose values can be read and whose gradient nobody wants."""
    return x is None or (readable(x) and not (x.requires_grad and torch.is_grad_enabled()))


def fits(z: Tensor, *constants: Tensor | None) -> bool:
    """Raw outputs that a kernel can read and write, beside tensors that need no gradient."""
    return (
        readable(z)
        and z.dtype in DTYPES
        and z.numel() > 0
        and all(c is None or is_constant(c) for c in constants)
        and nothing_watches()
        and compiled.works()
    )


def categorical(z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions) -> bool:
    """Whether cross-entropy of these is for the fused kernel."""
    normalizer = options.normalizer if isinstance(options.normalizer, Tensor) else None
    same = not target.is_floating_point() or target.dtype == z.dtype
    return same and fits(z, target, weight, normalizer)


def links(z: Tensor) -> bool:
    """Whether a link's result is so large that fresh memory for it would cost more than computing it."""
    return z.numel() >= LARGE_LINK and z.is_contiguous() and fits(z)


def picks(s: Tensor, y: Tensor, weight: Tensor | None) -> bool:
    """Whether the gradient of a negative log-likelihood is wanted, of two dimensions as torch would lay it out."""
    wanted = torch.is_grad_enabled() and s.requires_grad
    return wanted and s.ndim == 2 and s.is_contiguous() and fits(s, y, weight)


def elementwise(z: Tensor, target: Tensor, *weights: Tensor | None) -> bool:
    """Whether a loss of these values is for the fused kernel: in one piece, of one dtype, weights easy to index."""
    same = target.dtype == z.dtype and target.shape == z.shape and z.is_contiguous() and target.is_contiguous()
    return same and fits(z, target, *weights) and all(w is None or repeats(w, z) for w in weights)
