"""Counting and summing what was found of each sample: the loops over rows, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from losscope.summary.bins import BINS, LOSS_EDGES, PARTS, part, slot
from losscope.summary.exact import NATS, add

State = dict[str, NDArray[Any]]
Default = tuple[Tensor, str | Callable[[Tensor], Tensor]]

SAMPLES, COUNTED, INFINITE, NAN, RIGHT, LOSS_INFINITE, LOSS_NAN, SURE, WORSE = range(9)
COUNTS = 9
LOSS, WEIGHT, NLL, ENTROPY, CONFIDENCE = range(5)
SUPPORT, PREDICTED, TRUE_POSITIVE, CLASS_INFINITE, CLASS_NAN, CLASS_COUNTED = range(6)
_LOW, _LIMIT = NATS.low, NATS.limit
_ROUNDING = 1e-12  # a guess is not worse than a guess, whatever its logarithms are rounded to


def zeros(*shape: int) -> Default:
    """Counts: two of them are added."""
    return torch.zeros(shape, dtype=torch.int64), "sum"


def above(chance: float) -> float:
    """What is worse than a guess has an ℓ above this."""
    return chance * (1 + _ROUNDING)


def exact_zeros(*shape: int) -> Default:
    """Exact sums: two of them are added, digit by digit."""
    return zeros(*shape, NATS.digits)


@njit(error_model="numpy", nogil=True, cache=True)
def note(total: Any, x: Any, counts: Any, infinite: Any, nan: Any) -> Any:
    """Add x, or count that it is not finite; whether it was added."""
    if x != x:
        counts[nan] += 1
    elif abs(x) >= _LIMIT:
        counts[infinite] += 1
    else:
        add(total, _LOW, x)
        return True
    return False


@njit(error_model="numpy", nogil=True, cache=True)
def totals(found: Any, ks: Any, worse: Any, counts: Any, sums: Any, ranked: Any) -> None:
    """What is summed over all samples."""
    for i in range(found.nll.size):
        counts[COUNTED] += 1
        counts[RIGHT] += found.decision[i] == found.truth[i]
        counts[WORSE] += found.nll[i] > worse
        note(sums[LOSS], found.loss[i], counts, LOSS_INFINITE, LOSS_NAN)
        note(sums[NLL], found.nll[i], counts, INFINITE, NAN)
        add(sums[WEIGHT], _LOW, found.weight[i])
        if abs(found.entropy[i]) < _LIMIT and found.confidence[i] < _LIMIT:
            counts[SURE] += 1
            add(sums[ENTROPY], _LOW, found.entropy[i])
            add(sums[CONFIDENCE], _LOW, found.confidence[i])
        for k in range(ks.size):
            ranked[k] += found.rank[i] < ks[k]


@njit(error_model="numpy", nogil=True, cache=True)
def classes(found: Any, counts: Any, sums: Any, losses: Any) -> None:
    """What is counted and summed by class."""
    for i in range(found.nll.size):
        y, d = found.truth[i], found.decision[i]
        counts[SUPPORT, y] += 1
        counts[PREDICTED, d] += 1
        counts[TRUE_POSITIVE, y] += y == d
        if note(sums[y], found.nll[i], counts[:, y], CLASS_INFINITE, CLASS_NAN):
            losses[y if losses.shape[0] > 1 else 0, slot(LOSS_EDGES, found.nll[i])] += 1


@njit(error_model="numpy", nogil=True, cache=True)
def confidences(found: Any, counts: Any, sums: Any) -> None:
    """How sure the right and the wrong decisions are, in fine bins."""
    for i in range(found.nll.size):
        if found.confidence[i] < _LIMIT:
            b, y = part(found.confidence[i], PARTS), found.truth[i]
            counts[y if counts.shape[0] > 1 else 0, int(found.decision[i] == y), b] += 1
            add(sums[b], _LOW, found.confidence[i])


@njit(error_model="numpy", nogil=True, cache=True)
def grid(found: Any, sums: Any, counts: Any, confidence: Any) -> None:
    """ℓ, its derivative and the bins at each temperature, of the samples whose ℓ is finite."""
    for i in range(found.nll.size):
        if abs(found.nll[i]) < _LIMIT:
            for k in range(sums.shape[0]):
                b = part(found.at[i, k, 2], BINS)
                add(sums[k, 0], _LOW, found.at[i, k, 0])
                add(sums[k, 1], _LOW, found.at[i, k, 1])
                add(confidence[k, b], _LOW, found.at[i, k, 2])
                counts[k, int(found.decision[i] == found.truth[i]), b] += 1
