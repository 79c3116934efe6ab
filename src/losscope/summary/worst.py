"""The k samples with the largest loss: a table that any number of others can be merged into."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from losscope.summary.result import WorstSample

Floats = NDArray[np.float64]

AXES = 3  # subscripts of a position that are kept; further dimensions are counted in the last one
_LOSS, _INDEX, _POSITION, _REST = 0, 1, 2, 2 + AXES
COLUMNS = _REST + 4


def empty(k: int) -> Tensor:
    """K rows with no sample in them: their index is −1."""
    return torch.full((k, COLUMNS), -1.0, dtype=torch.float64)


def merge(tables: Tensor) -> Tensor:
    """(W, k, columns) to (k, columns): the largest losses, equal ones in the order of index and position.

    NaN and infinity are larger than any loss.
    """
    rows = tables.reshape(-1, COLUMNS)
    return rows[torch.from_numpy(_order(rows.cpu().numpy())).to(rows.device)][: tables.shape[1]]


def _order(rows: Floats) -> NDArray[np.int64]:
    loss = np.nan_to_num(rows[:, _LOSS], nan=np.inf)
    places = rows[:, _POSITION:_REST].T[::-1]
    return np.lexsort((*places, rows[:, _INDEX], -loss, rows[:, _INDEX] < 0))


def add(table: Floats, loss: Floats, index: NDArray[np.int64], position: NDArray[np.int64], rest: Floats) -> None:
    """Merge samples: ℓ (n,), index (n,), position (n, axes), rest (n, 4) target, decision, and the ŷ of both."""
    k = len(table)
    if not k or not len(loss):
        return
    key = np.nan_to_num(loss, nan=np.inf)
    smallest = np.partition(key, -k)[-k] if len(key) > k else -np.inf
    candidates = np.flatnonzero(key >= smallest)
    rows = np.full((len(candidates), COLUMNS), -1.0)
    rows[:, _LOSS], rows[:, _INDEX] = loss[candidates], index[candidates]
    rows[:, _POSITION : _POSITION + position.shape[1]] = position[candidates]
    rows[:, _REST:] = rest[candidates]
    both = np.concatenate((table, rows))
    table[:] = both[_order(both)[:k]]


def samples(table: Floats) -> tuple[WorstSample, ...]:
    """As records, the empty rows left out."""
    return tuple(_sample(row) for row in table if row[_INDEX] >= 0)


def _sample(row: Floats) -> WorstSample:
    target, decision, target_probability, decision_probability = (float(v) for v in row[_REST:])
    return WorstSample(
        index=int(row[_INDEX]),
        position=tuple(int(p) for p in row[_POSITION:_REST] if p >= 0),
        loss=float(row[_LOSS]),
        target=target,
        decision=decision,
        target_probability=None if target_probability < 0 else target_probability,
        decision_probability=None if decision_probability < 0 else decision_probability,
    )
