"""Outputs and targets as rows: (n, H) beside (n,) or (n, H), repaired where the meaning is plain.

A mistake in the target's dtype or shape is a finding of its own; the rules on values still run on what was meant.
Of large inputs a seeded random part is read, so that a check stays cheap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from losscope.kernels.reference import as_index
from losscope.targets import class_dim

LIMIT = 1 << 20
"""The most outputs that are read."""
LOW = -1e3
"""A value that stands for −inf as a mask is below this."""


@dataclass(frozen=True)
class Reading:
    """Rows of outputs with their targets.

    Attributes:
        z: outputs (n, H), float32 or float64; n samples, or positions of samples.
        index: y (n,), of categorical losses with index targets; ``ignored`` where it does not count.
        soft: q or m (n, H), of every other target.
        counted: v (n,), or (n, H) where each label counts on its own.
        total: how many rows there are in all; n of them were read.
        dtype: the precision of the outputs, found from their values: low-precision values kept in float32 are low.
    """

    z: Tensor
    index: Tensor | None
    soft: Tensor | None
    counted: Tensor
    total: int
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.z)

    @cached_property
    def part(self) -> str:
        """Which part was read, to be said in the evidence."""
        return "" if len(self) == self.total else f" (read: {len(self):,} of {self.total:,} samples)"

    @cached_property
    def finite(self) -> Tensor:
        """(n,) no output is NaN or +inf, and not all are −inf."""
        bad = self.z.isnan() | self.z.isposinf()
        return ~bad.any(1) & ~self.z.isneginf().all(1)

    @cached_property
    def usable(self) -> Tensor:
        """(n,) rows whose outputs are finite (−inf is a mask) and whose target counts."""
        counted = self.counted if self.counted.ndim == 1 else self.counted.all(1)
        return self.finite & counted

    @cached_property
    def masked(self) -> Tensor:
        """(n, H) −inf, or one very low value that stands for it: there more than once, or far below all others."""
        low = self.z.masked_fill(self.z.isneginf(), 0).amin()
        constant = self.z == low
        others = self.z.masked_fill(self.z.isneginf() | constant, 0).amin()
        return self.z.isneginf() | (constant & (low <= LOW) & ((constant.sum() > 1) | (others > low / 2)))

    @cached_property
    def log_probability(self) -> Tensor:
        """The log-probabilities log_softmax(z), (n, H)."""
        return self.z.log_softmax(1)

    @cached_property
    def frequencies(self) -> Tensor:
        """f_h, the share of class h among the targets that count, from index or soft targets."""
        h = self.z.shape[1]
        if self.index is not None:
            counts = torch.bincount(self.index[self.usable], minlength=h).double()
        else:
            assert self.soft is not None
            counts = self.soft[self.usable].double().sum(0)
        return counts / counts.sum().clamp(min=1e-300)


def expected_shape(z: Tensor) -> tuple[int, ...]:
    """The shape of index targets: that of z without the classes."""
    return tuple(z.shape[:1] + z.shape[2:]) if z.ndim > 1 else ()


def classes_last(z: Tensor, y: Tensor) -> bool:
    """The target fits only if the classes are z's last dimension."""
    return z.ndim > 2 and tuple(y.shape) == tuple(z.shape[:-1]) != expected_shape(z)


def integral(x: Tensor) -> bool:
    """Every value is a whole number; a look at the first row settles it nearly always."""
    if not x.is_floating_point():
        return True
    first = x[:1] if x.ndim else x
    return bool((first == first.round()).all()) and bool((x == x.round()).all())


def read(z: Tensor, y: Tensor, categorical: bool, ignore_index: float | None) -> Reading | None:
    """The rows, or None where outputs and targets cannot be paired."""
    if z.is_complex() or y.is_complex() or z.numel() == 0 or z.ndim == 0:
        return None
    z = z if z.is_floating_point() else z.float()
    pair = _categorical(z, y) if categorical else _elementwise(z, y)
    if pair is None:
        return None
    z, y = pair
    is_index = categorical and y.ndim < z.ndim
    rows, targets, total = _rows(z, y, is_index)
    dtype = effective_dtype(rows, z.dtype)
    if is_index:
        targets = as_index(targets)
        counted = (targets != ignore_index) & (targets >= 0) & (targets < rows.shape[1])
        return Reading(rows, targets.long().masked_fill(~counted, 0), None, counted, total, dtype)
    soft = targets.to(rows.dtype)
    counted = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    if not categorical and ignore_index is not None:
        counted = soft != ignore_index
    return Reading(rows, None, soft, counted, total, dtype)


def _categorical(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
    if z.ndim == 1:
        z, y = (z.unsqueeze(0), y.unsqueeze(0)) if y.ndim == 0 or y.shape == z.shape else (z, y)
    if z.ndim < 2:
        return None
    if y.shape == z.shape:
        return z, y
    if classes_last(z, y):
        z = z.movedim(-1, 1)
    expected = expected_shape(z)
    if y.ndim == len(expected) + 1 and 1 in y.shape and tuple(y.squeeze(class_dim(y)).shape) == expected:
        y = y.squeeze(class_dim(y))
    if tuple(y.shape) != expected or not integral(y):
        return None
    return z, y.long()


def _elementwise(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
    if y.shape != z.shape:
        if y.numel() != z.numel() or y.squeeze().shape != z.squeeze().shape:
            return None
        y = y.reshape(z.shape)
    return (z.unsqueeze(1), y.unsqueeze(1)) if z.ndim == 1 else (z, y)


def _rows(z: Tensor, y: Tensor, is_index: bool) -> tuple[Tensor, Tensor, int]:
    """(n, H) and its targets, at most LIMIT outputs of them."""
    z = z.flatten(2) if z.ndim > 2 else z.unsqueeze(2)
    y = y.reshape(y.shape[0], -1) if is_index else (y.flatten(2) if y.ndim > 2 else y.unsqueeze(2))
    samples, h, positions = z.shape
    rows = max(LIMIT // h, 64)
    if samples * positions > rows:
        of_positions = part(positions, max(1, rows // min(samples, rows)), z.device)
        of_samples = part(samples, math.ceil(rows / len(of_positions)), z.device)
        z, y = (x[of_samples][..., of_positions] for x in (z, y))
    flat = z.movedim(1, 2).reshape(-1, h)
    targets = y.reshape(-1) if is_index else y.movedim(1, 2).reshape(-1, h)
    return _widened(flat), targets, samples * positions


def part(size: int, wanted: int, device: torch.device) -> Tensor:
    """The indices of a seeded random part, in order."""
    if wanted >= size:
        return torch.arange(size, device=device)
    chosen = torch.randperm(size, generator=torch.Generator().manual_seed(0))[:wanted]
    return chosen.sort().values.to(device)


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def effective_dtype(x: Tensor, dtype: torch.dtype) -> torch.dtype:
    """The narrowest dtype that holds a few rows of the values exactly, and no wider than their own."""
    some = x[:64]
    some = some[some.isfinite()]
    if dtype in (torch.float16, torch.bfloat16) or some.numel() == 0 or integral(some):
        return dtype
    for narrow in (torch.bfloat16, torch.float16, torch.float32):
        if bool((some.to(narrow).to(x.dtype) == some).all()):
            return narrow
    return dtype
