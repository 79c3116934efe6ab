"""Rows that are at hand, or in a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

LOGITS_AT_ONCE = 1 << 22


class Data(Protocol):
    """Rows of outputs and targets: a :class:`losscope.io.Source`, or tensors in memory."""

    def __len__(self) -> int:
        """N."""

    @property
    def begins(self) -> tuple[int, ...]:
        """The rows at which a piece begins that is best read whole."""

    def describe(self) -> str:
        """What was found, a line each."""

    def batches(self, rows: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows in order."""


def row(data: Data, i: int) -> tuple[Tensor, Tensor]:
    """The sample i alone, as a batch of one."""
    return next(iter(data.batches(1, i, i + 1)))


def rows_at_once(data: Data) -> int:
    """So many rows that their outputs fit a bounded memory."""
    outputs, _ = row(data, 0)
    return max(1, LOGITS_AT_ONCE // max(1, outputs.numel()))
