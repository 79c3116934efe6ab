"""Which class is taken for which: the whole matrix for few classes, the frequent mistakes for many.

For many classes the mistakes are kept in a table of fixed size. It is exact as long as there are no more different
ones than it has rows. When there are more, it is a Misra–Gries summary: what falls out is bounded, the bound
is kept, and tables still merge (Agarwal et al. 2012, "Mergeable summaries").
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from losscope.summary.result import Confusion

Integers = NDArray[np.int64]

ROWS = 1 << 17  # different mistakes: 2 MiB
_MISSED = -1  # the last row: how much may be missing from each count


def empty(rows: int = ROWS) -> Tensor:
    """Rows of (truth · H + decision, count), a count of 0 is no mistake; and the last row."""
    return torch.zeros((rows + 1, 2), dtype=torch.int64)


def merge(tables: Tensor) -> Tensor:
    """(W, rows + 1, 2) to (rows + 1, 2)."""
    parts = tables.cpu().numpy()
    result = np.zeros_like(parts[0])
    _fill(result, np.concatenate([_used(p) for p in parts]), int(parts[:, _MISSED, 1].sum()))
    return torch.from_numpy(result).to(tables.device)


def add(table: Integers, mistakes: Integers) -> None:
    """Count mistakes, each truth · H + decision."""
    keys, counts = np.unique(mistakes, return_counts=True)
    _fill(table, np.concatenate((_used(table), np.stack((keys, counts), 1))), int(table[_MISSED, 1]))


def _used(table: Integers) -> Integers:
    return table[:-1][table[:-1, 1] > 0]


def _fill(table: Integers, pairs: Integers, missed: int) -> None:
    """The sum of pairs (key, count), ordered by key, into the table."""
    keys, at = np.unique(pairs[:, 0], return_inverse=True)
    counts = np.zeros(len(keys), np.int64)
    np.add.at(counts, at, pairs[:, 1])
    rows = len(table) - 1
    if len(keys) > rows:
        cut = int(np.partition(counts, -rows - 1)[-rows - 1])
        missed += cut
        counts -= cut
        keys, counts = keys[counts > 0], counts[counts > 0]
    table[:] = 0
    table[: len(keys), 0], table[: len(keys), 1] = keys, counts
    table[_MISSED, 1] = missed


def frequent(keys: Integers, counts: Integers, classes: int, limit: int) -> tuple[Confusion, ...]:
    """The largest counts first; equal ones in the order of truth and decision."""
    order = np.lexsort((keys, -counts))[:limit]
    return tuple(
        Confusion(int(keys[i]) // classes, int(keys[i]) % classes, int(counts[i])) for i in order if counts[i] > 0
    )


def of_matrix(matrix: Integers, limit: int) -> tuple[Confusion, ...]:
    """What is off the diagonal."""
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)
    flat = mistakes.ravel()
    keys = np.flatnonzero(flat)
    return frequent(keys, flat[keys], len(matrix), limit)


def of_table(table: Integers, classes: int, limit: int) -> tuple[tuple[Confusion, ...], int]:
    """What the table holds, and how much may be missing from each count."""
    used = _used(table)
    return frequent(used[:, 0], used[:, 1], classes, limit), int(table[_MISSED, 1])
