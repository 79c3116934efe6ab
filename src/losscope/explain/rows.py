"""Inputs of any shape as rows: one sample, or one position of a sample, each."""

from __future__ import annotations

from torch import Tensor

from losscope.kernels.reference import class_dim


def class_rows(z: Tensor) -> Tensor:
    """(N, H), (N, H, d_1, …) or (H,) as (rows, H)."""
    return z.movedim(class_dim(z), -1).reshape(-1, z.shape[class_dim(z)])


def label_rows(z: Tensor) -> Tensor:
    """Elements as (rows, H), H the length of dimension 1; what has no dimension 1 has one output per row."""
    return class_rows(z) if z.ndim > 1 else z.reshape(-1, 1)


def positions(z: Tensor, *, classes: bool) -> tuple[int, ...]:
    """The shape that the rows run over: z's without the dimension of the outputs."""
    if z.ndim > 1:
        return tuple(z.shape[:1] + z.shape[2:])
    return () if classes else tuple(z.shape)


def in_rows(theirs: Tensor, z: Tensor, like: Tensor) -> Tensor:
    """What the loss or autograd gave for z, laid out as the step that it is compared with."""
    has_outputs = theirs.shape == z.shape and z.ndim > 2
    return (theirs.movedim(1, -1) if has_outputs else theirs).reshape(like.shape)
