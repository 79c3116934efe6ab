"""A value: what is counted and summed of the residuals, and what it comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from losscope import validate
from losscope.losses import MSELoss, MSLELoss
from losscope.summary import worst
from losscope.summary.batch import blocks, places, plain, rows, shape_only
from losscope.summary.bins import RESIDUAL_EDGES, VALUE_EDGES, histogram, slot
from losscope.summary.categorical import WHERE, unless
from losscope.summary.counting import COUNTED, INFINITE, NAN, SAMPLES, Default, State, zeros
from losscope.summary.exact import FULL, Integers, add, add_square, carry, integer, mean
from losscope.summary.result import OutputMeasures, RegressionSummary

_RESIDUAL, _SIZE, _SQUARE, _TARGET, _TARGET_SQUARE = range(5)
_NUMBERS = 12  # that are kept of a value while its block is looked at
_LOW = FULL.low


@dataclass(frozen=True)
class Regression:
    """A pass for ``MSELoss`` or ``MSLELoss``."""

    loss: MSELoss
    worst: int
    class_limit: int

    def outputs(self, z: Tensor) -> int:
        """H: dimension 1, and 1 for inputs (N,) and ()."""
        validate.logits(WHERE, z)
        return z.shape[1] if z.ndim > 1 else 1

    def states(self, h: int) -> dict[str, Default]:
        """What is kept, whatever the number of samples."""
        by_output = h if h <= self.class_limit else 1
        return {
            "counts": zeros(8),
            "counted": zeros(by_output),
            "sums": zeros(by_output, 5, FULL.digits),
            "histogram": zeros(VALUE_EDGES.size + 1),
            "residuals": zeros(RESIDUAL_EDGES.size + 1),
            "worst": (worst.empty(self.worst), worst.merge),
        }

    def update(self, state: State, z: Tensor, target: Tensor, index: Tensor) -> None:
        """Add samples (N,), (N, H) or (N, H, …) with targets of the same shape."""
        z, target = plain(z), plain(target).cpu()
        validate.same_shape(WHERE, shape_only(tuple(z.shape), z.dtype), target)
        if isinstance(self.loss, MSLELoss):
            validate.positive(WHERE, "targets", target)
        ndim = z.ndim
        z, target = (x.reshape(-1, 1) if ndim < 2 else x for x in (z, target))
        for start, stop in blocks(len(z), _NUMBERS * z[:1].numel()):
            self._add(state, z[start:stop], target[start:stop], index[start:stop], ndim)
        carry(state["sums"])

    def _add(self, state: State, z: Tensor, target: Tensor, index: Tensor, ndim: int) -> None:
        x, t = rows(z).astype(np.float64), rows(target).astype(np.float64)
        state["counts"][SAMPLES] += x.size
        log = isinstance(self.loss, MSLELoss)
        residual = _residuals(x, t, log)
        _count(residual, t, log, *(state[name] for name in ("counts", "counted", "sums", "histogram", "residuals")))
        number, position = places(index, tuple(z.shape[2:]))
        row, output = (i.ravel() for i in np.indices(x.shape))
        at = np.concatenate((output[:, None], position[row]), 1)[:, : worst.AXES] if ndim > 1 else position[row]
        nothing = np.full(x.size, -1.0)
        said = np.exp(x) if log else x
        rest = np.stack((t.ravel(), said.ravel(), nothing, nothing), 1)
        with np.errstate(over="ignore"):
            worst.add(state["worst"], np.square(residual).ravel(), number[row], at, rest)

    # ------------------------------------------------------------------------------------------- the result

    def result(self, state: State, h: int) -> RegressionSummary:
        """What the sums come to."""
        counts, sums, n = state["counts"], state["sums"].sum(0), int(state["counted"].sum())
        bad = counts[INFINITE], counts[NAN]
        square = mean(sums[_SQUARE], n, FULL)
        return RegressionSummary(
            loss_name=type(self.loss).__name__,
            formula=self.loss.formula,
            num_samples=int(counts[SAMPLES]),
            num_counted=int(counts[COUNTED]),
            num_infinite=int(counts[INFINITE]),
            num_nan=int(counts[NAN]),
            loss=unless(*bad, square),
            loss_sum=unless(*bad, mean(sums[_SQUARE], 1, FULL)),
            loss_histogram=histogram(VALUE_EDGES, state["histogram"]),
            worst=worst.samples(state["worst"]),
            num_outputs=h,
            unit="nats" if isinstance(self.loss, MSLELoss) else "unit of the target",
            bias=mean(sums[_RESIDUAL], n, FULL),
            rmse=math.sqrt(square),
            mae=mean(sums[_SIZE], n, FULL),
            r2=_r2(sums, n),
            chance=_variance(sums, n),
            residual_histogram=histogram(RESIDUAL_EDGES, state["residuals"]),
            outputs=_outputs(state["sums"], state["counted"]) if h <= self.class_limit else None,
        )


def _spread(sums: Integers, n: int) -> int:
    """N Σ t² − (Σ t)², in units of 2^(2·low): without a rounding, so nothing cancels."""
    return n * (integer(sums[_TARGET_SQUARE]) << -_LOW) - integer(sums[_TARGET]) ** 2


def _variance(sums: Integers, n: int) -> float:
    return _spread(sums, n) / (n * n << -2 * _LOW) if n else math.nan


def _r2(sums: Integers, n: int) -> float:
    spread = _spread(sums, n)
    return 1 - (n * integer(sums[_SQUARE]) << -_LOW) / spread if spread > 0 else math.nan


def _outputs(sums: Integers, counted: Integers) -> OutputMeasures:
    each = [(row, int(n)) for row, n in zip(sums, counted, strict=True)]
    return OutputMeasures(
        count=torch.tensor(counted),
        mean_loss=torch.tensor([mean(row[_SQUARE], n, FULL) for row, n in each], dtype=torch.float64),
        bias=torch.tensor([mean(row[_RESIDUAL], n, FULL) for row, n in each], dtype=torch.float64),
        r2=torch.tensor([_r2(row, n) for row, n in each], dtype=torch.float64),
    )


@njit(error_model="numpy", nogil=True, cache=True)
def _residuals(z: Any, t: Any, log: Any) -> Any:
    """Z − t, or z − ln t."""
    r = np.empty(z.shape)
    for i, h in np.ndindex(z.shape):
        r[i, h] = z[i, h] - (np.log(t[i, h]) if log else t[i, h])
    return r


@njit(error_model="numpy", nogil=True, cache=True)
def _count(
    residual: Any, t: Any, log: Any, counts: Any, counted: Any, sums: Any, histogram: Any, residuals: Any
) -> None:
    for i, h in np.ndindex(residual.shape):
        r, y = residual[i, h], (np.log(t[i, h]) if log else t[i, h])
        output = h if counted.size > 1 else 0
        counts[COUNTED] += 1
        if r != r:
            counts[NAN] += 1
        elif abs(r * r) == np.inf or abs(y * y) == np.inf:
            counts[INFINITE] += 1
        else:
            counted[output] += 1
            add(sums[output, 0], _LOW, r)
            add(sums[output, 1], _LOW, abs(r))
            add(sums[output, 2], _LOW, r * r)
            add(sums[output, 3], _LOW, y)
            add_square(sums[output, 4], _LOW, y)
            histogram[slot(VALUE_EDGES, r * r)] += 1
            residuals[slot(RESIDUAL_EDGES, r)] += 1
