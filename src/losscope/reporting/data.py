"""Outputs and targets that are at hand, with the same methods as :class:`losscope.io.Source`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from losscope.errors import InputError, describe
from losscope.losses import CrossEntropyLoss, LinearCrossEntropyLoss, Loss
from losscope.summary.data import Data, row

OUTPUTS, BLOCKS = 1 << 24, 16  # as many numbers as the linter is shown, and from how many places


class InMemory:
    """Outputs and targets that are tensors already.

    Raises:
        InputError: they are no tensors, have no rows, or not the same number of them.
    """

    def __init__(self, outputs: Tensor, targets: Tensor) -> None:
        for name, tensor in (("outputs", outputs), ("targets", targets)):
            if not isinstance(tensor, Tensor) or tensor.ndim == 0 or len(tensor) == 0:
                raise InputError("report", f"{name}: a tensor with at least one row", describe(tensor), "pass a batch")
        if len(outputs) != len(targets):
            raise InputError(
                "report",
                "one target for each row of outputs",
                f"{len(outputs)} and {len(targets)} rows",
                "keep only the rows that belong together",
            )
        self.outputs, self.targets = outputs.detach(), targets.detach()

    begins = ()

    def __len__(self) -> int:
        """N."""
        return len(self.outputs)

    def describe(self) -> str:
        """Dtypes and shapes."""
        return f"outputs: {describe(self.outputs)}\ntargets: {describe(self.targets)}"

    def batches(self, rows: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows in order."""
        stop = len(self) if stop is None else stop
        for first in range(start, stop, rows):
            part = slice(first, min(first + rows, stop))
            yield self.outputs[part], self.targets[part]


def check_rows(data: Data, rows: Sequence[int]) -> None:
    """Every one of these rows is there.

    Raises:
        InputError: one is not.
    """
    for i in rows:
        if not 0 <= i < len(data):
            raise InputError("rows", f"numbers of rows in 0…{len(data) - 1}", f"{i}", "choose rows that are there")


def num_spread(data: Data) -> int:
    """How many rows ``spread`` reads: all, or as many as hold OUTPUTS numbers."""
    width = max(1, row(data, 0)[0].numel())
    total, rows = len(data), max(BLOCKS, OUTPUTS // width)
    return total if rows >= total else rows // BLOCKS * BLOCKS


def spread(data: Data) -> tuple[Tensor, Tensor]:
    """All rows, or as many as hold OUTPUTS numbers, in blocks that are spread over the data."""
    total, rows = len(data), num_spread(data)
    if rows == total:
        return next(iter(data.batches(total)))
    size = rows // BLOCKS
    starts = torch.linspace(0, total - size, BLOCKS, dtype=torch.float64).long().tolist()
    blocks = [next(iter(data.batches(size, start, start + size))) for start in starts]
    z, y = zip(*blocks, strict=True)
    return torch.cat(z), torch.cat(y)


def on_logits(loss: Loss, x: Tensor) -> tuple[Loss, Tensor]:
    """The loss of logits and the logits, where the loss has a linear layer of its own; else both as they are."""
    if not isinstance(loss, LinearCrossEntropyLoss):
        return loss, x
    return CrossEntropyLoss(loss.weight, **loss.options._asdict()), loss.logits(x).detach()
