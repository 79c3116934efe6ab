"""An activation too many or too few: what the outputs are is not what the loss declares."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from losscope.linting.context import Context
from losscope.linting.finding import ERROR, INFO, WARNING, Finding
from losscope.linting.reading import Reading, integral
from losscope.linting.rule import CATEGORICAL, Rule, rule
from losscope.linting.statistics import binomial_tail, probability_loss, softplus_loss, z_score
from losscope.linting.tolerance import (
    beyond_chance,
    log_probability_rows,
    lse_tolerance,
    probability_rows,
    roundoff,
    sum_tolerance,
)
from losscope.targets import class_dim

MINIMUM = 8


@rule("softmax-before-cross-entropy", ERROR, {"cross_entropy"}, kind=True)
def softmax_before_cross_entropy(rule: Rule, c: Context) -> Iterator[Finding]:
    """Every row is in [0, 1] and sums to one: the softmax inside the loss is the second one."""
    rows, h = c.rows, c.num_classes
    if rows is None or h < 2 or not probability_rows(rows, c.dtype):
        return
    low, high = math.log(1 + (h - 1) / math.e), math.log(math.e + h - 1)
    hard = integral(rows)
    yield rule.found(
        "cross_entropy is given probabilities: softmax is applied twice",
        f"all {len(rows):,} rows are in [0, 1] and sum to one within {sum_tolerance(c.dtype, h):.1g}{c.part}, so the"
        f" loss is trapped in [{low:.4g}, {high:.4g}]: one nat wide, and {low:.4g} even when every sample is right"
        + (". Every value is exactly 0 or 1: a saturated softmax, or decisions" if hard else ""),
        "pass the raw outputs: loss(z, y), without softmax in the model",
        WARNING if hard else None,
        rows=len(rows),
        furthest_sum_from_one=float((rows.sum(1, dtype=torch.float64) - 1).abs().max()),
        lowest_loss=low,
        highest_loss=high,
    )


@rule("log-softmax-before-cross-entropy", INFO, {"cross_entropy"}, presumes=True)
def log_softmax_before_cross_entropy(rule: Rule, c: Context) -> Iterator[Finding]:
    """Every ln Σ_h e^{z_h} is 0: log_softmax of a log_softmax is itself."""
    rows = c.rows
    if rows is None or c.num_classes < 2 or not log_probability_rows(rows, c.dtype):
        return
    yield rule.found(
        "cross_entropy is given log-probabilities: harmless, but its log-softmax is work done twice",
        f"ln Σ_h exp z_h is 0 within {lse_tolerance(c.dtype, c.num_classes):.1g} in all {len(rows):,} rows{c.part};"
        " log_softmax changes nothing of them",
        "pass the raw outputs, or use ls.nll_loss(s, y)",
        rows=len(rows),
    )


@rule("not-log-probabilities", ERROR, {"nll_loss"}, kind=True)
def not_log_probabilities(rule: Rule, c: Context) -> Iterator[Finding]:
    """Some ln Σ_h e^{s_h} is not 0: the loss can be made as low as one likes by making the outputs large."""
    rows, h = c.rows, c.num_classes
    if rows is None or h < 2 or len(rows) == 0 or normalised_elsewhere(c) is not None:
        return
    lse = rows.logsumexp(1)
    tolerance = 1e-2 + 2 * lse_tolerance(c.dtype, h)
    off = lse.abs() > tolerance
    if 2 * int(off.sum()) <= len(rows):
        return
    probabilities = probability_rows(rows, c.dtype)
    kind = "probabilities" if probabilities else "raw outputs"
    yield rule.found(
        f"nll_loss is given {kind}, not log-probabilities",
        (
            f"all {len(rows):,} rows are in [0, 1] and sum to one{c.part}: the loss is −ŷ_y, between −1 and 0"
            if probabilities
            else f"ln Σ_h exp s_h is 0 for log-probabilities; here its median is {float(lse.median()):.4g}{c.part},"
            " so the loss has no lower bound"
        ),
        "loss = ls.CrossEntropyLoss()  # of the raw outputs; or ls.nll_loss(ls.log_softmax(z, 1), y)",
        median_logsumexp=float(lse.median()),
        rows_off=int(off.sum()),
        rows=len(rows),
    )


@rule("probabilities-out-of-range", ERROR, {"binary_cross_entropy"}, kind=True)
def probabilities_out_of_range(rule: Rule, c: Context) -> Iterator[Finding]:
    """BCELoss takes ŷ in [0, 1]; what lies outside is a raw output."""
    if not c.z.is_floating_point():
        return
    outside = (c.z < 0) | (c.z > 1)
    if not bool(outside.any()):
        return
    finite = c.z[~c.z.isnan()]
    low, high = float(finite.min()), float(finite.max())
    yield rule.found(
        "BCELoss is given outputs outside [0, 1]: these are no probabilities",
        f"{int(outside.sum()):,} of {c.z.numel():,} outputs are outside [0, 1]: from {low:.4g} to {high:.4g}",
        "loss = ls.BCEWithLogitsLoss()  # takes the raw outputs",
        outside=int(outside.sum()),
        lowest=low,
        highest=high,
    )


@rule("softmax-over-wrong-dim", ERROR, CATEGORICAL, kind=True)
def softmax_over_wrong_dim(rule: Rule, c: Context) -> Iterator[Finding]:
    """The outputs sum to one over another dimension than the classes: samples compete with one another."""
    found = normalised_elsewhere(c)
    if found is None:
        return
    dim, kind, groups = found
    named = "the samples" if dim == 0 else f"dimension {dim}"
    several = f" (in each of {groups} batches)" if groups > 1 else ""
    yield rule.found(
        f"{kind} was taken over {named}, not over the classes",
        f"{'exp of the outputs' if kind == 'log_softmax' else 'the outputs'} sum to one along dimension {dim}{several},"
        f" and not along dimension {class_dim(c.z)}, where the {c.num_classes} classes are",
        "pass the raw outputs to ls.cross_entropy; where probabilities are needed: ls.softmax(z, dim=1)",
        dim=dim,
        class_dim=class_dim(c.z),
        groups=groups,
    )


@rule("single-output-softmax", ERROR, CATEGORICAL | {"binary_cross_entropy"}, kind=True)
def single_output_softmax(rule: Rule, c: Context) -> Iterator[Finding]:
    """A softmax over one output is 1 whatever the output: loss 0 and gradient 0."""
    remedy = "loss = ls.BCEWithLogitsLoss(); loss(z.squeeze(1), y.float())  # one output, two classes"
    if c.categorical and c.z.ndim > 1 and c.num_classes == 1:
        yield rule.found(
            "one output under a loss with softmax: the loss is always 0",
            f"the outputs {tuple(c.z.shape)} have one class, and softmax over one output is 1 whatever it is: nothing"
            " is learnt",
            remedy,
            classes=1,
        )
    elif (
        not c.categorical
        and c.z.numel() >= MINIMUM
        and min(c.extremes) == max(c.extremes) == 1
        and bool((c.y == 0).any())
    ):
        yield rule.found(
            "every output is exactly 1: a softmax over one output",
            f"all {c.z.numel():,} outputs are exactly 1, though {int((c.y == 0).sum()):,} targets are 0",
            remedy,
            outputs=c.z.numel(),
        )


def normalised_elsewhere(c: Context) -> tuple[int, str, int] | None:
    """The dimension, not the classes', along which the outputs are normalised; by what; and in how many batches.

    A file of batches that were each normalised over their samples sums to the number of batches.
    """
    rows = c.rows
    if rows is None or c.z.ndim < 2 or c.num_classes < 2 or not c.z.is_floating_point() or integral(rows):
        return None
    low, high = c.extremes
    is_probability, is_log = low >= 0 and high <= 1.01, low < 0 and high <= 0.01
    if is_log and not log_probability_rows(rows, c.dtype):
        kind = "log_softmax"
    elif is_probability and not probability_rows(rows, c.dtype):
        kind = "softmax"
    else:
        return None
    for dim in range(c.z.ndim):
        if dim != class_dim(c.z) and c.z.shape[dim] > 1:
            groups = _groups(c.z.double().exp() if kind == "log_softmax" else c.z, dim, c.dtype)
            if groups:
                return dim, kind, groups
    return None


def _groups(p: Tensor, dim: int, dtype: torch.dtype) -> int:
    """The k where every sum along ``dim`` is the same whole number k ≥ 1, too exactly for chance; 0 otherwise."""
    size = p.shape[dim]
    sums = p.sum(dim, dtype=torch.float64).flatten()
    groups = round(float(sums[0]))
    off = float((sums - groups).abs().max())
    if not 1 <= groups <= size // 2 or off > sum_tolerance(dtype, size) * math.log(size + 2) * groups:
        return 0
    # Outputs that are all above 0 are so by chance in one of two, for each sum.
    return groups if beyond_chance(len(sums), max(off, roundoff(dtype)) / 2) else 0


@rule("sigmoid-before-bce-with-logits", ERROR, {"binary_cross_entropy_with_logits"}, kind=True)
def sigmoid_before_bce_with_logits(rule: Rule, c: Context) -> Iterator[Finding]:
    """Every output is in [0, 1], and they stop there as only probabilities do: the loss takes a second sigmoid."""
    r = c.reading
    low, high = c.extremes
    if r is None or len(r) < MINIMUM or not (low >= 0 and high <= 1) or integral(r.z):
        return
    reason = _hugs_the_ends(r) or _fits_as_probability(r) or _positive_against_the_labels(c, r)
    if reason is None:
        return
    yield rule.found(
        "BCEWithLogitsLoss is given probabilities: sigmoid is applied twice",
        f"all {r.z.numel():,} outputs are in [{low:.4g}, {high:.4g}]{c.part} and {reason}; a second sigmoid makes of"
        " them 0.5 to 0.7311, so no label can be called absent",
        "pass the raw outputs: loss(z, y), without sigmoid in the model",
        lowest=low,
        highest=high,
        outputs=r.z.numel(),
    )


def _hugs_the_ends(r: Reading) -> str | None:
    """Too many outputs lie just inside 0 and 1, with none beyond.

    A density with one peak has at most about 0.08 within a fifth of its standard deviation, so 0.16 at both ends, and
    in proportion nearer to them; a binomial tail below 10⁻⁵ is not chance.
    """
    widest = (r.z.std(0) / 5).clamp(max=0.02)
    positive = (r.z > 0) & (widest > 0)  # an exact 0 may be a ReLU's
    trials = int(positive.sum())
    for factor in (1.0, 0.1, 0.01, 0.001):
        delta = factor * widest
        resolved = delta > 4 * roundoff(r.dtype)  # nearer to 1 than that, the dtype rounds to 1
        inside = positive & ((r.z < delta) | ((r.z > 1 - delta) & resolved))
        hits = int(inside.sum())
        if binomial_tail(hits, trials, 0.16 * factor) < 1e-5 / 4:
            return f"{hits / trials:.0%} of them lie within {float(delta.max()):.2g} of 0 or 1, with none beyond"
    return None


def _fits_as_probability(r: Reading) -> str | None:
    """They fit the labels far better as probabilities than as logits, and fill [0, 1] or do so for several labels.

    Logits of one untrained label may lie in [0, 1] by chance, but not from end to end, nor those of several labels.
    """
    assert r.soft is not None
    low, high = float(r.z.min()), float(r.z.max())
    filled = len(r) >= 30 and low <= 0.02 and high >= 0.98
    several = int((r.z.std(0) >= 0.1).sum()) >= 3 and r.z.numel() >= 48
    better = softplus_loss(r.z, r.soft) - probability_loss(r.z, r.soft)
    if not (filled or several) or z_score(better.mean(1) if filled else better.flatten()) < 4:
        return None
    return f"fit the labels better as probabilities, by {float(better.mean()):.3g} nats a label"


def _positive_against_the_labels(c: Context, r: Reading) -> str | None:
    """No output of any label is below 0, though these labels are false at least as often as true.

    The mean of an untrained label is above 0 in one of two, and that of one whose spread stays inside [0, 1] in one of
    five; training moves such a label below 0.
    """
    assert r.soft is not None
    if c.weight is not None or getattr(c.loss, "pos_weight", None) is not None:
        return None
    above = (r.soft.mean(0) <= 0.5) & (r.z.mean(0) > 0)
    labels, spread = int(above.sum()), int((above & (r.z.std(0) >= 0.1)).sum())
    if labels < 10 and spread < (6 if len(r) >= 30 else 8):
        return None
    return f"none is below 0, though {labels} of the labels are not true more often than false"


@rule("decision-not-output", ERROR, kind=True)
def decision_not_output(rule: Rule, c: Context) -> Iterator[Finding]:
    """The outputs are decisions (argmax, or a comparison): no gradient flows back through one."""
    if c.z.numel() < MINIMUM or c.z.is_complex():
        return
    what = _decisions(c)
    if what is None:
        return
    right = _saturated_and_right(c)
    yield rule.found(
        "the outputs are decisions, not raw outputs: there is no gradient through them",
        f"{what}: the derivative of a decision is 0 everywhere"
        + ("; or a sigmoid so sure, and right, that it is rounded to these" if right else ""),
        "pass what the decision was made from: loss(z, y), and decide outside with loss.decode(z)",
        INFO if right else None,
        outputs=c.z.numel(),
    )


def _decisions(c: Context) -> str | None:
    if not c.z.is_floating_point():
        return f"they are of dtype {str(c.z.dtype).removeprefix('torch.')}, as argmax and comparisons give"
    low, high = c.extremes
    if not 0 <= low < high < torch.inf or not integral(c.z):
        return None
    if not c.categorical:
        binary = low == 0 and high == 1
        whole = (c.likelihood == "value" or c.z.ndim == 1) and _may_have_fractions(c)
        return "every output is 0 or 1" if binary else _whole(c) if whole else None
    if c.z.shape == c.y.shape and not c.y.is_floating_point():
        return _whole(c)
    one_hot = low == 0 and high == 1 and c.z.ndim > 1 and bool((c.z.sum(class_dim(c.z)) == 1).all())
    return "every row of the outputs is one-hot" if one_hot else None


def _may_have_fractions(c: Context) -> bool:
    """Whether most outputs are so small that their dtype holds fractions of them: bfloat16 has none from 128 on."""
    return float((c.z < 1 / torch.finfo(c.dtype).eps).double().mean()) > 0.5


def _saturated_and_right(c: Context) -> bool:
    """Sigmoids so sure that they are rounded to 0 or 1 look the same; where they are all right nothing is lost."""
    return c.likelihood == "binary_cross_entropy" and c.z.shape == c.y.shape and bool((c.z == c.y).all())


def _whole(c: Context) -> str:
    return f"every output is a whole number, from {c.extremes[0]:g} to {c.extremes[1]:g}"
