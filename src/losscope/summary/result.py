"""What a summary holds: frozen records of plain numbers and CPU tensors (int64 counts, float64 measures).

Everything is in nats unless it says otherwise. A measure that is not defined (the precision of a class that was
never decided for) is NaN here and None in ``to_dict()``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """Counts between fixed edges, so that two of them add.

    Attributes:
        edges: ascending, (B + 1,).
        counts: (B + 2,) or (H, B + 2): below the first edge, in [edges_b, edges_{b+1}), from the last edge on.
    """

    edges: Tensor
    counts: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class NullBand:
    """What the ECE of a perfectly calibrated model of this size, with these confidences, comes out as.

    Such a model is right with exactly the probability it says; its ECE is above 0 by chance alone. ``draws`` such
    models were drawn.

    Attributes:
        low: 5 % of them have a smaller ECE.
        mean: the mean of their ECE.
        high: 5 % of them have a larger ECE.
        p_value: the part of them whose ECE is at least the one observed.
        draws: how many were drawn.
        seed: what they were drawn with.
        bin_low: (15,) 5 % of them have a smaller accuracy in this bin; NaN where it is empty.
        bin_high: (15,) 5 % of them have a larger accuracy in this bin; NaN where it is empty.
    """

    low: float
    mean: float
    high: float
    p_value: float
    draws: int
    seed: int
    bin_low: Tensor
    bin_high: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """Confidence against how often it is right, in bins of equal width.

    Categorical: the confidence is max_h ŷ_ih, and right is d_i = y_i. Binary: the confidence is ŷ_ih, over all
    labels, and right is m_ih = 1.

    Attributes:
        edges: (16,), from 0 to 1; a bin is [edges_b, edges_{b+1}), the last one holds 1 too.
        count: (15,) int64.
        confidence: (15,) mean confidence of the bin; NaN where it is empty.
        accuracy: (15,) part of the bin that is right; NaN where it is empty.
        ece: Σ_b count_b/N · |accuracy_b − confidence_b| (Naeini et al. 2015).
        mce: the largest |accuracy_b − confidence_b|.
        null: what chance alone would show.
    """

    edges: Tensor
    count: Tensor
    confidence: Tensor
    accuracy: Tensor
    ece: float
    mce: float
    null: NullBand


@dataclass(frozen=True, eq=False, slots=True)
class Temperature:
    """softmax(z / T) for the T that has the smallest mean ℓ (Guo et al. 2017), of the unweighted ℓ and softcapped z.

    Attributes:
        temperature: T; above 1 the model was too sure of itself.
        nll: mean ℓ at T.
        ece: at T, from the bins of the two neighbours on the grid (their signed gaps interpolated in ln T).
        nll_before: mean ℓ at T = 1.
        ece_before: at T = 1.
        at_edge: the minimum lies at an end of the grid, so the best T is beyond it.
        bin_count: (15,) float64, samples in the bins of the reliability diagram at T, interpolated as the ECE is.
        bin_confidence: (15,) their mean confidence at T; NaN where the bin is empty.
        bin_accuracy: (15,) the part of them that is right; NaN where the bin is empty.
        grid: (25,) the temperatures that were measured, 1/8 to 8.
        grid_nll: (25,) mean ℓ at each.
        grid_ece: (25,) ECE at each.
    """

    temperature: float
    nll: float
    ece: float
    nll_before: float
    ece_before: float
    at_edge: bool
    bin_count: Tensor
    bin_confidence: Tensor
    bin_accuracy: Tensor
    grid: Tensor
    grid_nll: Tensor
    grid_ece: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class ConfidenceHistogram:
    """How sure the right and the wrong decisions were.

    Attributes:
        edges: (B + 1,), equal widths from 0 to 1.
        right: (B,) counts of max_h ŷ_ih where d_i = y_i.
        wrong: (B,) the same where d_i ≠ y_i.
        right_by_class: (H, B) by true class; None above ``class_limit`` classes.
        wrong_by_class: (H, B) by true class; None above ``class_limit`` classes.
    """

    edges: Tensor
    right: Tensor
    wrong: Tensor
    right_by_class: Tensor | None
    wrong_by_class: Tensor | None


@dataclass(frozen=True, eq=False, slots=True)
class ClassMeasures:
    """One row for each class h (or, of a binary loss, for each label), each (H,).

    Attributes:
        labels: their names, or None: ``name(h)`` gives the number then.
        support: int64, samples whose truth is h.
        predicted: int64, samples decided as h.
        true_positive: int64, both.
        precision: true_positive / predicted; NaN where nothing was decided so.
        recall: true_positive / support; NaN where there is none.
        f1: 2 true_positive / (support + predicted); NaN where both are 0.
        mean_loss: mean ℓ of the samples whose truth is h; of a label, the mean ℓ_ih of all its samples.
        loss_histogram: of ℓ by class, counts (H, B + 2); None above ``class_limit`` classes.
    """

    labels: tuple[str, ...] | None
    support: Tensor
    predicted: Tensor
    true_positive: Tensor
    precision: Tensor
    recall: Tensor
    f1: Tensor
    mean_loss: Tensor
    loss_histogram: Histogram | None

    def name(self, h: int) -> str:
        """The name of class h."""
        return str(h) if self.labels is None else self.labels[h]

    @property
    def macro_f1(self) -> float:
        """The mean of F1 over the classes that have one."""
        return float(self.f1.nanmean())

    @property
    def balanced_accuracy(self) -> float:
        """The mean of recall over the classes that occur."""
        return float(self.recall.nanmean())


@dataclass(frozen=True, eq=False, slots=True)
class Confusion:
    """So many samples of one class were taken for another."""

    target: int
    decision: int
    count: int


@dataclass(frozen=True, eq=False, slots=True)
class WorstSample:
    """One of the samples with the largest ℓ; equal ones in the order of their index.

    Attributes:
        index: i, the row, 0-based, counted over all updates (or the one given to ``update``).
        position: where in the row, for inputs with further dimensions; () without. Of a binary or regression loss
            on (N, H) it is (h,).
        loss: ℓ in nats (regression: its unit); inf and NaN come first.
        target: y_i (a soft target's largest class), m_ih, or the value.
        decision: d_i, d_ih, or the value the network says.
        target_probability: ŷ of the truth; None in regression.
        decision_probability: ŷ of the decision; None in regression.
    """

    index: int
    position: tuple[int, ...]
    loss: float
    target: float
    decision: float
    target_probability: float | None
    decision_probability: float | None


@dataclass(frozen=True, eq=False, slots=True)
class ThresholdCurve:
    """What a decision at ŷ ≥ threshold would give, for each label.

    Attributes:
        thresholds: (B,), b/B for b = 0…B−1 (B = 120; 1/2 is among them).
        true_positive: (H, B) int64: decided and true.
        predicted: (H, B) int64: decided.
        support: (H,) int64: true.
    """

    thresholds: Tensor
    true_positive: Tensor
    predicted: Tensor
    support: Tensor

    @property
    def precision(self) -> Tensor:
        """(H, B): true_positive / predicted, NaN where nothing is decided."""
        return self.true_positive / self.predicted

    @property
    def recall(self) -> Tensor:
        """(H, B): true_positive / support, NaN where nothing is true."""
        return self.true_positive / self.support[:, None]

    @property
    def f1(self) -> Tensor:
        """(H, B): 2 true_positive / (support + predicted), NaN where both are 0."""
        return 2 * self.true_positive / (self.support[:, None] + self.predicted)

    @property
    def best(self) -> Tensor:
        """(H,): the smallest threshold of the largest F1; NaN for a label that is never true."""
        best = self.thresholds[self.f1.nan_to_num(-1.0).argmax(1)]
        return best.masked_fill(self.support == 0, torch.nan)


@dataclass(frozen=True, eq=False, kw_only=True)
class SummaryResult:
    """What every loss has. The subclasses are one for each kind of target.

    Attributes:
        loss_name: the class of the loss.
        formula: its LaTeX, with the options that are on.
        num_samples: what came: samples (categorical: positions included), or elements (binary, regression).
        num_counted: those that count, Σ v.
        num_infinite: of the counted, those whose ℓ is infinite (the truth is masked).
        num_nan: of the counted, those whose ℓ is NaN.
        loss: L_mean as the loss itself defines it, with weights, smoothing and what else is on.
        loss_sum: L_sum, likewise.
        loss_histogram: of ℓ (unweighted, no smoothing), over all counted and finite ones.
        worst: the samples with the largest ℓ, the largest first.
    """

    loss_name: str
    formula: str
    num_samples: int
    num_counted: int
    num_infinite: int
    num_nan: int
    loss: float
    loss_sum: float
    loss_histogram: Histogram
    worst: tuple[WorstSample, ...]

    @property
    def num_ignored(self) -> int:
        """Those that do not count: ignore_index."""
        return self.num_samples - self.num_counted

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: plain lists, numbers and strings, and None for what is not a finite number."""
        result: dict[str, Any] = {"kind": type(self).__name__, "num_ignored": self.num_ignored}
        return result | {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    def __rich__(self) -> Any:
        from losscope.summary.render import table

        return table(self)

    def __str__(self) -> str:
        from losscope.summary.render import text

        return text(self)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class CategoricalSummary(SummaryResult):
    """One of H classes is true.

    Attributes:
        num_classes: H.
        nll: mean ℓ_i = −ln ŷ_{i,y_i} (soft: −Σ_h q_h ln ŷ_h), without weights and smoothing.
        chance: ln H, the ℓ of a guess.
        num_worse: of the counted, those whose ℓ is larger; infinite ones included.
        accuracy: part of the counted samples with d_i = y_i (soft targets: the largest q).
        top_k: k to the part whose truth is among the k largest outputs (equal ones in the order of their class).
        entropy: mean of −Σ_h ŷ_ih ln ŷ_ih.
        confidence: mean of max_h ŷ_ih.
        classes: the measures of each class.
        confusion: (H, H) int64, rows the truth, columns the decision; None above ``class_limit`` classes.
        top_confusions: the most frequent mistakes, the most frequent first.
        confusions_missed: no count in ``top_confusions`` is too small by more than this. 0: they are exact.
        calibration: confidence against accuracy.
        temperature: the best T; None where some ℓ is not finite, or nothing counts.
        confidence_histogram: of right and of wrong decisions.
    """

    num_classes: int
    nll: float
    chance: float
    num_worse: int
    accuracy: float
    top_k: dict[int, float]
    entropy: float
    confidence: float
    classes: ClassMeasures
    confusion: Tensor | None
    top_confusions: tuple[Confusion, ...]
    confusions_missed: int
    calibration: Calibration
    temperature: Temperature | None
    confidence_histogram: ConfidenceHistogram


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class BinarySummary(SummaryResult):
    """Each of H labels is true on its own.

    Attributes:
        num_labels: H.
        nll: mean ℓ_ih, without weights and smoothing.
        chance: ln 2, the ℓ of a guess.
        num_worse: of the counted, those whose ℓ is larger; infinite ones included.
        accuracy: part of the counted labels with [z_ih > 0] = m_ih (a soft label is true above 1/2).
        entropy: mean entropy of (ŷ_ih, 1 − ŷ_ih).
        classes: the measures of each label, at the threshold ŷ = 1/2 (z = 0).
        thresholds: what other thresholds would give; None above ``class_limit`` labels.
        pooled_thresholds: the same over all labels, H = 1.
        calibration: ŷ against how often the label is true, over all labels.
    """

    num_labels: int
    nll: float
    chance: float
    num_worse: int
    accuracy: float
    entropy: float
    classes: ClassMeasures
    thresholds: ThresholdCurve | None
    pooled_thresholds: ThresholdCurve
    calibration: Calibration


@dataclass(frozen=True, eq=False, slots=True)
class OutputMeasures:
    """One row for each output h of a regression, each (H,) float64.

    Attributes:
        count: int64.
        mean_loss: mean ℓ.
        bias: mean of r.
        r2: 1 − Σ r² / Σ (t − mean t)².
    """

    count: Tensor
    mean_loss: Tensor
    bias: Tensor
    r2: Tensor


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RegressionSummary(SummaryResult):
    """A value. r = z − t is the residual, t the target as the loss compares it: y, or ln y for ``MSLELoss``.

    Attributes:
        num_outputs: H.
        unit: "unit of the target" or "nats" (a logarithm): of r, bias, rmse and mae.
        bias: mean of r.
        rmse: root of the mean of r².
        mae: mean of |r|.
        r2: 1 − Σ r² / Σ (t − mean t)², all outputs together; NaN where t does not vary.
        chance: the variance of t: the ℓ of always saying the mean.
        residual_histogram: of r, signed.
        outputs: the measures of each output; None above ``class_limit`` outputs.
    """

    num_outputs: int
    unit: str
    bias: float
    rmse: float
    mae: float
    r2: float
    chance: float
    residual_histogram: Histogram
    outputs: OutputMeasures | None


def _plain(value: Any) -> Any:
    """Records, tensors and tuples as what JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value
