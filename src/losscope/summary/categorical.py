"""One of H classes is true: what is counted and summed, and what it comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from losscope import validate
from losscope.errors import InputError, describe
from losscope.kernels.reference import class_dim
from losscope.losses import CrossEntropyLoss, LinearCrossEntropyLoss, NLLLoss
from losscope.summary import confusion, counting, scan, worst
from losscope.summary.batch import blocks, places, plain, rows, shape_only
from losscope.summary.bins import BINS, LOSS_EDGES, PARTS, SHOWN, equal_edges, histogram
from losscope.summary.calibration import calibration, grouped
from losscope.summary.counting import (
    CLASS_INFINITE,
    CLASS_NAN,
    CONFIDENCE,
    COUNTED,
    COUNTS,
    ENTROPY,
    INFINITE,
    LOSS,
    LOSS_INFINITE,
    LOSS_NAN,
    NAN,
    NLL,
    RIGHT,
    SAMPLES,
    SUPPORT,
    SURE,
    WEIGHT,
    WORSE,
    Default,
    State,
    above,
    exact_zeros,
    zeros,
)
from losscope.summary.exact import NATS, Integers, carry, integer, mean, means, ratio
from losscope.summary.result import CategoricalSummary, ClassMeasures, ConfidenceHistogram
from losscope.summary.temperature import temperature

WHERE = "Summary.update"


@dataclass(frozen=True)
class Categorical:
    """A pass for ``CrossEntropyLoss``, ``LinearCrossEntropyLoss`` or ``NLLLoss``."""

    loss: CrossEntropyLoss | NLLLoss
    labels: tuple[str, ...] | None
    top_k: tuple[int, ...]
    worst: int
    class_limit: int

    def outputs(self, z: Tensor) -> int:
        """H."""
        validate.class_logits(WHERE, z)
        if not isinstance(self.loss, LinearCrossEntropyLoss):
            return z.shape[class_dim(z)]
        features = self.loss.linear.in_features
        if z.ndim > 2 or z.shape[-1] != features:
            raise InputError(WHERE, f"(N, {features}), what the linear layer is given", describe(z), "give its input")
        return self.loss.num_classes

    def states(self, h: int) -> dict[str, Default]:
        """What is kept, whatever the number of samples."""
        by_class = h if h <= self.class_limit else 1
        mistakes: Default = zeros(h, h) if h <= self.class_limit else (confusion.empty(), confusion.merge)
        return {
            "counts": zeros(COUNTS),
            "totals": exact_zeros(5),
            "ranked": zeros(len(self.top_k)),
            "classes": zeros(5, h),
            "class_loss": exact_zeros(h),
            "histogram": zeros(by_class, LOSS_EDGES.size + 1),
            "confusion": mistakes,
            "confidence": zeros(by_class, 2, PARTS),
            "confidence_sum": exact_zeros(PARTS),
            "grid": exact_zeros(scan.GRID.size, 2),
            "grid_counts": zeros(scan.GRID.size, 2, BINS),
            "grid_confidence": exact_zeros(scan.GRID.size, BINS),
            "worst": (worst.empty(self.worst), worst.merge),
        }

    def update(self, state: State, z: Tensor, target: Tensor, index: Tensor) -> None:
        """Add samples (N, H, …) with index or soft targets; ``index`` (N,) are their numbers."""
        z, target = plain(z), plain(target).cpu()
        self._check(self._logits_like(z), target)
        if z.ndim == 1:
            z, target = z.unsqueeze(0), target.unsqueeze(0)
        mistakes = []
        for start, stop in blocks(len(z), self._size(z)):
            found = self._scan(state, self._logits(z[start:stop]), target[start:stop], index[start:stop])
            mistakes.append(self._tally(state, found))
        if mistakes and state["classes"].shape[1] > self.class_limit:
            confusion.add(state["confusion"], np.concatenate(mistakes))
        for name in ("totals", "class_loss", "confidence_sum", "grid", "grid_confidence"):
            carry(state[name])

    def _check(self, like: Tensor, target: Tensor) -> None:
        validate.class_target(WHERE, like, target, self.loss.ignore_index)
        if isinstance(self.loss, CrossEntropyLoss):
            validate.categorical_options(WHERE, self.loss.options, soft=target.is_floating_point())
        if self.loss.weight is not None:
            validate.class_weight(WHERE, self.loss.weight.cpu(), like, like.shape[class_dim(like)])

    def _logits(self, z: Tensor) -> Tensor:
        return self.loss.logits(z).detach() if isinstance(self.loss, LinearCrossEntropyLoss) else z

    def _logits_like(self, z: Tensor) -> Tensor:
        """Of the shape of the logits."""
        if not isinstance(self.loss, LinearCrossEntropyLoss):
            return shape_only(tuple(z.shape), z.dtype)
        return shape_only((*z.shape[:-1], self.loss.num_classes, *self.loss.out_features), z.dtype)

    def _size(self, z: Tensor) -> int:
        """The numbers that a sample takes: its logits, and what is found of each of its rows."""
        _, h, *inner = self._logits_like(z).shape
        return (h + len(scan.Rows._fields) + 3 * scan.GRID.size) * math.prod(inner)

    def _scan(self, state: State, z: Tensor, target: Tensor, index: Tensor) -> scan.Rows:
        """What is found of the rows that count; the worst are noted with where they stand."""
        number, position = places(index, tuple(z.shape[2:]))
        x = rows(z)
        soft = target.is_floating_point()
        q, y = (rows(target), np.zeros(len(x), np.int64)) if soft else (None, target.reshape(-1).long().numpy())
        state["counts"][SAMPLES] += len(x)
        if not soft and (y == self.loss.ignore_index).any():
            keep = y != self.loss.ignore_index
            x, y, number, position = x[keep], y[keep], number[keep], position[keep]
        found = scan.categorical(x, y, q, self._weight(z.shape[1]), self._options())
        rest = np.stack((found.truth, found.decision, found.truth_probability, found.confidence), 1).astype(np.float64)
        worst.add(state["worst"], found.nll, number, position, rest)
        return found

    def _tally(self, state: State, found: scan.Rows) -> Integers:
        """Count and sum; returns the mistakes, truth · H + decision."""
        h = state["classes"].shape[1]
        ks, worse = np.array(self.top_k, np.int64), above(math.log(h))
        counting.totals(found, ks, worse, state["counts"], state["totals"], state["ranked"])
        counting.classes(found, state["classes"], state["class_loss"], state["histogram"])
        counting.confidences(found, state["confidence"], state["confidence_sum"])
        counting.grid(found, state["grid"], state["grid_counts"], state["grid_confidence"])
        if h <= self.class_limit:
            np.add.at(state["confusion"], (found.truth, found.decision), 1)
        wrong = found.truth != found.decision
        mistakes: Integers = found.truth[wrong] * h + found.decision[wrong]
        return mistakes

    def _weight(self, h: int) -> NDArray[np.float64]:
        weight = self.loss.weight
        return np.ones(h) if weight is None else weight.detach().double().cpu().numpy()

    def _options(self) -> scan.Options:
        if isinstance(self.loss, NLLLoss):
            return scan.Options(0.0, 0.0, 0.0, 0.0, False)
        o = self.loss.options
        return scan.Options(
            float(o.label_smoothing), float(o.focal_gamma), float(o.z_loss), float(o.softcap or 0.0), True
        )

    # ------------------------------------------------------------------------------------------- the result

    def result(self, state: State, h: int) -> CategoricalSummary:
        """What the sums come to."""
        counts, totals = state["counts"], state["totals"]
        counted = int(counts[COUNTED])
        mistakes, missed = self._mistakes(state["confusion"], h)
        finite = counted > 0 and not counts[INFINITE] and not counts[NAN]
        seen = state["confidence"].sum(0)
        return CategoricalSummary(
            loss_name=type(self.loss).__name__,
            formula=self.loss.formula,
            num_samples=int(counts[SAMPLES]),
            num_counted=counted,
            num_infinite=int(counts[INFINITE]),
            num_nan=int(counts[NAN]),
            loss=self._loss(totals, counts),
            loss_sum=unless(counts[LOSS_INFINITE], counts[LOSS_NAN], mean(totals[LOSS], 1)),
            loss_histogram=histogram(LOSS_EDGES, state["histogram"].sum(0)),
            worst=worst.samples(state["worst"]),
            num_classes=h,
            nll=unless(counts[INFINITE], counts[NAN], mean(totals[NLL], counted)),
            chance=math.log(h),
            num_worse=int(counts[WORSE]),
            accuracy=divide(int(counts[RIGHT]), counted),
            top_k={k: divide(int(n), counted) for k, n in zip(self.top_k, state["ranked"], strict=True) if k <= h},
            entropy=mean(totals[ENTROPY], int(counts[SURE])),
            confidence=mean(totals[CONFIDENCE], int(counts[SURE])),
            classes=self._classes(state, h),
            confusion=torch.tensor(state["confusion"]) if h <= self.class_limit else None,
            top_confusions=mistakes,
            confusions_missed=missed,
            calibration=calibration(seen[1], seen.sum(0), state["confidence_sum"]),
            temperature=temperature(state["grid"], state["grid_counts"], state["grid_confidence"], counted)
            if finite
            else None,
            confidence_histogram=self._confidences(state["confidence"], h),
        )

    def _loss(self, totals: Integers, counts: Integers) -> float:
        """L_mean, by the divisor the loss has."""
        normalizer = getattr(self.loss, "normalizer", None)
        if normalizer is None:
            value = ratio(totals[LOSS], totals[WEIGHT])
        else:
            value = integer(totals[LOSS]) / (1 << -NATS.low) / float(normalizer)
        return unless(counts[LOSS_INFINITE], counts[LOSS_NAN], value)

    def _mistakes(self, state: Integers, h: int) -> tuple[tuple[Any, ...], int]:
        if h <= self.class_limit:
            return confusion.of_matrix(state, self.class_limit), 0
        return confusion.of_table(state, h, self.class_limit)

    def _classes(self, state: State, h: int) -> ClassMeasures:
        classes = state["classes"]
        losses = means(state["class_loss"], classes[SUPPORT])
        losses[classes[CLASS_INFINITE] > 0] = np.inf
        losses[classes[CLASS_NAN] > 0] = np.nan
        histograms = histogram(LOSS_EDGES, state["histogram"]) if h <= self.class_limit else None
        return class_measures(self.labels, classes[:3], losses, histograms)

    def _confidences(self, counts: Integers, h: int) -> ConfidenceHistogram:
        shown = grouped(torch.tensor(counts), SHOWN)
        wrong, right = shown.sum(0)
        by_class = h <= self.class_limit
        return ConfidenceHistogram(
            edges=equal_edges(SHOWN),
            right=right,
            wrong=wrong,
            right_by_class=shown[:, 1] if by_class else None,
            wrong_by_class=shown[:, 0] if by_class else None,
        )


def divide(part_: int, whole: int) -> float:
    """NaN when there is nothing."""
    return part_ / whole if whole else math.nan


def unless(infinite: np.int64, nan: np.int64, value: float) -> float:
    """The value, unless what was summed was not finite somewhere."""
    return math.nan if nan else math.inf if infinite else value


def class_measures(
    labels: tuple[str, ...] | None, counts: Integers, losses: NDArray[np.float64], histograms: Any
) -> ClassMeasures:
    """From support, predicted and true positive (3, H)."""
    support, predicted, true_positive = (torch.tensor(row) for row in counts)
    return ClassMeasures(
        labels=labels,
        support=support,
        predicted=predicted,
        true_positive=true_positive,
        precision=true_positive.double() / predicted,
        recall=true_positive.double() / support,
        f1=2.0 * true_positive.double() / (support + predicted),
        mean_loss=torch.tensor(losses),
        loss_histogram=histograms,
    )
