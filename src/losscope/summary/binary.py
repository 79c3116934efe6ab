"""Each label is true on its own: what is counted and summed, and what it comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from losscope import validate
from losscope.kernels.cpu.functions import exp, log1p
from losscope.losses import BCELoss, BCEWithLogitsLoss
from losscope.summary import worst
from losscope.summary.batch import blocks, places, plain, rows, shape_only
from losscope.summary.bins import LOSS_EDGES, PARTS, equal_edges, histogram, part, slot
from losscope.summary.calibration import calibration
from losscope.summary.categorical import WHERE, class_measures, divide, unless
from losscope.summary.counting import (
    CLASS_COUNTED,
    CLASS_INFINITE,
    CLASS_NAN,
    COUNTED,
    COUNTS,
    ENTROPY,
    INFINITE,
    LOSS,
    LOSS_INFINITE,
    LOSS_NAN,
    NAN,
    NLL,
    PREDICTED,
    RIGHT,
    SAMPLES,
    SUPPORT,
    SURE,
    TRUE_POSITIVE,
    WORSE,
    Default,
    State,
    above,
    exact_zeros,
    note,
    zeros,
)
from losscope.summary.exact import NATS, Integers, add, carry, mean, means
from losscope.summary.result import BinarySummary, ThresholdCurve
from losscope.summary.scan import in_threads

_LOW, _LIMIT = NATS.low, NATS.limit
_NUMBERS = 16  # that are kept of a label while its block is looked at
_FLOOR = -100.0  # torch's: what the logarithm of a probability is held at


class Labels(NamedTuple):
    """What each label of each sample gave, (n, H).

    Attributes:
        loss: ℓ_ih with every option of the loss.
        nll: ℓ_ih without any option.
        entropy: of (ŷ, 1 − ŷ), in nats.
        probability: ŷ_ih.
    """

    loss: NDArray[np.float64]
    nll: NDArray[np.float64]
    entropy: NDArray[np.float64]
    probability: NDArray[np.float64]


@dataclass(frozen=True)
class Binary:
    """A pass for ``BCEWithLogitsLoss`` or ``BCELoss``."""

    loss: BCEWithLogitsLoss | BCELoss
    labels: tuple[str, ...] | None
    worst: int
    class_limit: int

    def outputs(self, z: Tensor) -> int:
        """H: dimension 1, and 1 for inputs (N,) and ()."""
        validate.logits(WHERE, z)
        return z.shape[1] if z.ndim > 1 else 1

    def states(self, h: int) -> dict[str, Default]:
        """What is kept, whatever the number of samples."""
        by_label = h if h <= self.class_limit else 1
        return {
            "counts": zeros(COUNTS),
            "totals": exact_zeros(5),
            "classes": zeros(6, h),
            "class_loss": exact_zeros(h),
            "histogram": zeros(by_label, LOSS_EDGES.size + 1),
            "confidence": zeros(by_label, 2, PARTS),
            "confidence_sum": exact_zeros(PARTS),
            "worst": (worst.empty(self.worst), worst.merge),
        }

    def update(self, state: State, z: Tensor, target: Tensor, index: Tensor) -> None:
        """Add samples (N,), (N, H) or (N, H, …) with targets of the same shape."""
        z, target = plain(z), plain(target)
        given = self._weights(z, target)
        weights = [None if w is None else _batched(w.detach().cpu().expand(z.shape)) for w in given]
        ndim, z, target = z.ndim, _batched(z), _batched(target)
        for start, stop in blocks(len(z), _NUMBERS * z[:1].numel()):
            cut = slice(start, stop)
            parts = [None if w is None else w[cut] for w in weights]
            self._add(state, z[cut], target[cut], parts, index[cut], ndim)
        for name in ("totals", "class_loss", "confidence_sum"):
            carry(state[name])

    def _weights(self, z: Tensor, target: Tensor) -> list[Tensor | None]:
        """The weights of the loss, after everything has been checked."""
        like, target = shape_only(tuple(z.shape), z.dtype), target.cpu()
        weights = {"weight": self.loss.weight, "pos_weight": getattr(self.loss, "pos_weight", None)}
        validate.label_target(WHERE, like, target, self._ignored())
        for name, weight in weights.items():
            if weight is not None:
                validate.broadcastable(WHERE, name, weight.cpu(), like)
        if isinstance(self.loss, BCELoss):
            validate.unit_interval(WHERE, "probabilities as input", z)
        elif self.loss.focal_gamma:
            validate.hard_labels(WHERE, target, self._ignored())
        return list(weights.values())

    def _ignored(self) -> float | None:
        return self.loss.ignore_index if isinstance(self.loss, BCEWithLogitsLoss) else None

    def _add(
        self, state: State, z: Tensor, target: Tensor, weights: list[Tensor | None], index: Tensor, ndim: int
    ) -> None:
        x, t = rows(z), rows(target)
        weight, pos_weight = (np.ones((1, 1)) if w is None else rows(w).astype(np.float64) for w in weights)
        ignored = self._ignored()
        counted = np.ones(t.shape, np.bool_) if ignored is None else rows((target != ignored).double()) != 0
        found = Labels(*(np.empty(x.shape) for _ in Labels._fields))
        options = self._options()
        in_threads(lambda i, j: _scan(i, j, x, t, weight, pos_weight, options, found), len(x), x.size)
        state["counts"][SAMPLES] += x.size
        _totals(found, counted, above(math.log(2)), state["counts"], state["totals"])
        _classes(
            found, t, x, options, counted, state["classes"], state["class_loss"], state["histogram"], state["counts"]
        )
        _confidences(found, t, counted, state["confidence"], state["confidence_sum"])
        self._worst(state, found, t, x, counted, index, ndim, tuple(z.shape[2:]))

    def _worst(
        self,
        state: State,
        found: Labels,
        t: NDArray[Any],
        x: NDArray[Any],
        counted: NDArray[np.bool_],
        index: Tensor,
        ndim: int,
        inner: tuple[int, ...],
    ) -> None:
        number, position = places(index, inner)
        row, label = np.nonzero(counted)
        at = np.concatenate((label[:, None], position[row]), 1)[:, : worst.AXES] if ndim > 1 else position[row]
        t, x, p = t[counted], x[counted], found.probability[counted]
        decision = x > self._options()[-1]
        of = (t, decision, np.where(t > 0.5, p, 1 - p), np.where(decision, p, 1 - p))
        worst.add(state["worst"], found.nll[counted], number[row], at, np.stack(of, 1))

    def _options(self) -> tuple[float, float, bool, float]:
        """ε, γ, whether the outputs are logits, and what is decided as true above."""
        if isinstance(self.loss, BCELoss):
            return 0.0, 0.0, False, 0.5
        return float(self.loss.label_smoothing), float(self.loss.focal_gamma), True, 0.0

    # ------------------------------------------------------------------------------------------- the result

    def result(self, state: State, h: int) -> BinarySummary:
        """What the sums come to."""
        counts, totals, classes = state["counts"], state["totals"], state["classes"]
        counted = int(counts[COUNTED])
        losses = means(state["class_loss"], classes[CLASS_COUNTED])
        losses[classes[CLASS_INFINITE] > 0] = np.inf
        losses[classes[CLASS_NAN] > 0] = np.nan
        by_label = h <= self.class_limit
        seen = state["confidence"].sum(0)
        loss_sum = mean(totals[LOSS], 1)
        return BinarySummary(
            loss_name=type(self.loss).__name__,
            formula=self.loss.formula,
            num_samples=int(counts[SAMPLES]),
            num_counted=counted,
            num_infinite=int(counts[INFINITE]),
            num_nan=int(counts[NAN]),
            loss=unless(counts[LOSS_INFINITE], counts[LOSS_NAN], mean(totals[LOSS], counted)),
            loss_sum=unless(counts[LOSS_INFINITE], counts[LOSS_NAN], loss_sum),
            loss_histogram=histogram(LOSS_EDGES, state["histogram"].sum(0)),
            worst=worst.samples(state["worst"]),
            num_labels=h,
            nll=unless(counts[INFINITE], counts[NAN], mean(totals[NLL], counted)),
            chance=math.log(2),
            num_worse=int(counts[WORSE]),
            accuracy=divide(int(counts[RIGHT]), counted),
            entropy=mean(totals[ENTROPY], int(counts[SURE])),
            classes=class_measures(
                self.labels, classes[:3], losses, histogram(LOSS_EDGES, state["histogram"]) if by_label else None
            ),
            thresholds=_curve(state["confidence"]) if by_label else None,
            pooled_thresholds=_curve(seen[None]),
            calibration=calibration(seen[1], seen.sum(0), state["confidence_sum"]),
        )


def _batched(x: Tensor) -> Tensor:
    """(N, H, …): one label of one sample where there is no dimension for them."""
    return x.reshape(-1, 1) if x.ndim < 2 else x


def _curve(counts: Integers) -> ThresholdCurve:
    """From counts of [false, true] in each part of ŷ, (H, 2, parts)."""
    above = torch.tensor(np.cumsum(counts[..., ::-1], -1)[..., ::-1].copy())
    return ThresholdCurve(
        thresholds=equal_edges(PARTS)[:-1],
        true_positive=above[:, 1],
        predicted=above.sum(1),
        support=above[:, 1, 0],
    )


# ----------------------------------------------------------------------------------------------- the scanning


@njit(error_model="numpy", nogil=True, cache=True)
def _log_sigmoid(x: Any) -> Any:
    """Ln σ(x) = min(x, 0) − ln(1 + e^{−|x|})."""
    return min(x, 0.0) - log1p(exp(-abs(x))) if x == x else x


@njit(error_model="numpy", nogil=True, cache=True)
def _logs(x: Any, logits: Any) -> Any:
    """(ln ŷ, ln(1 − ŷ))."""
    if logits:
        return _log_sigmoid(x), _log_sigmoid(-x)
    return max(np.log(x), _FLOOR), max(np.log1p(-x), _FLOOR)


@njit(error_model="numpy", nogil=True, cache=True)
def _times(share: Any, x: Any) -> Any:
    """Share · x with 0 · ∞ = 0."""
    return share * x if share else 0.0


@njit(error_model="numpy", nogil=True, cache=True)
def _scan(start: Any, stop: Any, z: Any, t: Any, weight: Any, pos_weight: Any, options: Any, found: Any) -> None:
    """ℓ_ih = w (−p t ln ŷ (1−ŷ)^γ − (1 − t) ln(1 − ŷ) ŷ^γ)."""
    eps, gamma, logits = options[0], options[1], options[2]
    for i in range(start, stop):
        for h in range(z.shape[1]):
            x, m = np.float64(z[i, h]), np.float64(t[i, h])
            is_true, is_false = _logs(x, logits)
            found.nll[i, h] = -_times(m, is_true) - _times(1 - m, is_false)
            soft = (1 - eps) * m + eps / 2
            w = weight[i % weight.shape[0], h % weight.shape[1]]
            p = pos_weight[i % pos_weight.shape[0], h % pos_weight.shape[1]]
            positive, negative = -_times(soft, is_true), -_times(1 - soft, is_false)
            if gamma:
                positive, negative = positive * exp(gamma * is_false), negative * exp(gamma * is_true)
            found.loss[i, h] = w * (p * positive + negative)
            probability = exp(is_true) if logits else x
            found.probability[i, h] = probability
            found.entropy[i, h] = -_times(probability, is_true) - _times(exp(is_false), is_false)


@njit(error_model="numpy", nogil=True, cache=True)
def _totals(found: Any, counted: Any, worse: Any, counts: Any, sums: Any) -> None:
    for i, h in np.ndindex(counted.shape):
        if counted[i, h]:
            counts[COUNTED] += 1
            counts[WORSE] += found.nll[i, h] > worse
            note(sums[LOSS], found.loss[i, h], counts, LOSS_INFINITE, LOSS_NAN)
            note(sums[NLL], found.nll[i, h], counts, INFINITE, NAN)
            if found.entropy[i, h] < _LIMIT:
                counts[SURE] += 1
                add(sums[ENTROPY], _LOW, found.entropy[i, h])


@njit(error_model="numpy", nogil=True, cache=True)
def _classes(
    found: Any, t: Any, z: Any, options: Any, counted: Any, counts: Any, sums: Any, losses: Any, right: Any
) -> None:
    for i, h in np.ndindex(counted.shape):
        if counted[i, h]:
            true, decided = t[i, h] > 0.5, z[i, h] > options[3]
            counts[CLASS_COUNTED, h] += 1
            counts[SUPPORT, h] += true
            counts[PREDICTED, h] += decided
            counts[TRUE_POSITIVE, h] += true and decided
            right[RIGHT] += true == decided
            if note(sums[h], found.nll[i, h], counts[:, h], CLASS_INFINITE, CLASS_NAN):
                losses[h if losses.shape[0] > 1 else 0, slot(LOSS_EDGES, found.nll[i, h])] += 1


@njit(error_model="numpy", nogil=True, cache=True)
def _confidences(found: Any, t: Any, counted: Any, counts: Any, sums: Any) -> None:
    for i, h in np.ndindex(counted.shape):
        p = found.probability[i, h]
        if counted[i, h] and p == p:
            b = part(p, PARTS)
            counts[h if counts.shape[0] > 1 else 0, int(t[i, h] > 0.5), b] += 1
            add(sums[b], _LOW, p)
