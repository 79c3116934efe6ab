"""Where a sample's classes lie in memory: strided and N-dimensional tensors without a copy."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from losscope.kernels.reference import class_dim


class Layout(NamedTuple):
    """The element of sample outer · inner_count + k and class h is at outer · a + h · b + k · c."""

    outer: int
    classes: int
    inner: int


def samples_of(z: Tensor) -> tuple[int, int, int]:
    """(samples, classes, inner) of (N, H, d_1, …), (N, H) or (H,)."""
    classes = z.shape[class_dim(z)]
    inner = z.shape[2:].numel()
    return z.numel() // classes, classes, inner


def repeats(weight: Tensor, z: Tensor) -> bool:
    """Whether a weight is one number, one per column, or one per value: what the elementwise kernels can index."""
    return weight.numel() == 1 or weight.shape in (z.shape, z.shape[-1:])


def layout(z: Tensor) -> Layout | None:
    """The strides of z, or None where d_1, … are not one stretch of equal steps."""
    if z.ndim == 1:
        return Layout(0, z.stride(0), 0)
    if z.ndim == 2:
        return Layout(z.stride(0), z.stride(1), 0)
    steps = [(size, step) for size, step in zip(z.shape[2:], z.stride()[2:], strict=True) if size != 1]
    if any(a != size * b for (_, a), (size, b) in pairwise(steps)):
        return None
    return Layout(z.stride(0), z.stride(1), steps[-1][1] if steps else 0)


def laid_out(z: Tensor) -> tuple[Tensor, Layout]:
    """z and its layout; a copy only where no three strides describe it."""
    found = layout(z)
    if found is not None:
        return z, found
    z = z.contiguous()
    return z, Layout(z.stride(0), z.stride(1), 1)


def gradient_stride(z: Tensor) -> tuple[int, ...]:
    """The strides torch itself would give a tensor like z; where no three describe them, those of one in one piece."""
    if z.is_contiguous():
        return z.stride()
    like = torch.empty_like(z, device="meta")
    return (like if layout(like) is not None else torch.empty(z.shape, device="meta")).stride()


def gradient_like(z: Tensor) -> Tensor:
    """Memory for ∂/∂z with those strides."""
    return torch.empty_strided(z.shape, gradient_stride(z), dtype=z.dtype, device=z.device)
