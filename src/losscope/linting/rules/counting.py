"""What counts: ignored targets, padding, weights, and the divisor of an accumulated mean."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from losscope.linting.context import Context
from losscope.linting.finding import ERROR, INFO, WARNING, Finding
from losscope.linting.reading import Reading
from losscope.linting.rule import ALL, CATEGORICAL, Rule, rule
from losscope.linting.statistics import pick, unique

_UNEQUAL = 1.1
_BREAK = torch.iinfo(torch.int64).min


@rule("nothing-counts", ERROR)
def nothing_counts(rule: Rule, c: Context) -> Iterator[Finding]:
    """Σ v_i w_{y_i} = 0: the mean is 0/0."""
    reason = _nothing(c)
    if reason:
        yield rule.found(
            "no target counts: the mean is NaN" if c.reduction == "mean" else "no target counts: the loss is 0",
            reason,
            "skip the batch: if (y != loss.ignore_index).any(): loss(z, y).backward()",
            targets=c.y.numel(),
        )


def _nothing(c: Context) -> str:
    if c.y.numel() == 0 or c.z.numel() == 0:
        return f"the batch is empty: outputs {tuple(c.z.shape)}, targets {tuple(c.y.shape)}"
    index = c.categorical and c.y.shape != c.z.shape
    if c.ignore_index is not None and (index or not c.categorical) and bool(c.is_ignored(c.y).all()):
        return f"all {c.y.numel():,} targets are ignore_index={c.ignore_index:g}"
    w = c.weight
    if w is None or w.numel() == 0:
        return ""
    if bool((w == 0).all()):
        return "every weight is 0"
    if index and not c.y.is_floating_point() and c.y.dtype != torch.bool and tuple(w.shape) == (c.num_classes,):
        counted = c.y[~c.is_ignored(c.y) & (c.y >= 0) & (c.y < c.num_classes)].long()
        if counted.numel() and not bool(w[counted].any()):
            return f"the weight of every class that occurs ({_listed(unique(counted))}) is 0"
    return ""


def _listed(classes: Tensor, most: int = 5) -> str:
    return ", ".join(str(int(k)) for k in classes[:most]) + (", …" if len(classes) > most else "")


@rule("weighted-mean", INFO, CATEGORICAL)
def weighted_mean(rule: Rule, c: Context) -> Iterator[Finding]:
    """L_mean = Σ ℓ / Σ w_y with ℓ = −w_y s_y: with one sample, or one class, the weight cancels."""
    r, w = c.reading, c.weight
    if r is None or r.index is None or w is None or c.reduction != "mean" or tuple(w.shape) != (c.num_classes,):
        return
    if getattr(c.loss, "normalizer", None) is not None or bool((w == w[0]).all()):
        return
    classes = unique(r.index[r.counted])
    if len(classes) == 0:
        return
    alone = len(classes) == 1
    of_the_batch = w[r.index[r.counted]]
    yield rule.found(
        "the weighted mean divides by the weights" + (", and here they cancel" if alone else ""),
        f"the mean divides by Σ w_y = {float(of_the_batch.double().sum()):.4g}{r.part}, not by the"
        f" {int(r.counted.sum()):,} samples"
        + ("; all of them are of one class, so its weight cancels" if alone else ", so the weights set ratios only"),
        "loss = ls.CrossEntropyLoss(weight=w, normalizer=len(y))  # divides by the samples",
        sum_of_weights=float(of_the_batch.double().sum()),
        samples=int(r.counted.sum()),
        classes=len(classes),
    )


@rule("class-imbalance", INFO, CATEGORICAL)
def class_imbalance(rule: Rule, c: Context) -> Iterator[Finding]:
    """The commonest class is ten times as frequent as the rarest that occurs."""
    r = c.reading
    if r is None or r.index is None or c.num_classes < 2:
        return
    counts = torch.bincount(r.index[r.counted], minlength=c.num_classes)
    if int(counts.sum()) < max(64, 5 * c.num_classes):
        return
    most, absent = int(counts.max()), int((counts == 0).sum())
    least = int(counts[counts > 0].min())
    if most < 10 * least and not (absent and most >= 100):
        return
    yield rule.found(
        "the classes are imbalanced",
        f"class {int(counts.argmax())} has {most:,} targets and the rarest that occurs {least:,}; {absent:,} of"
        f" {c.num_classes:,} classes do not occur{r.part}. A model that always answers the commonest is right in"
        f" {most / int(counts.sum()):.1%}",
        "loss = ls.CrossEntropyLoss(weight=counts.sum() / (H * counts))  # or focal_gamma=2; and look at the recall",
        commonest=most,
        rarest=least,
        absent=absent,
    )


@rule("padding-counted", WARNING, CATEGORICAL)
def padding_counted(rule: Rule, c: Context) -> Iterator[Finding]:
    """One id fills the end (or the start) of the sequences and is not ignored."""
    found = _padding(c)
    if found is None:
        return
    pad, share, how = found
    loss_at = _loss_at(c.reading, pad)
    yield rule.found(
        "padding seems to count as a class",
        f"id {pad} is {share:.0%} of the targets and {how}; it is not ignored, so the mean is diluted by positions that"
        f" mean nothing{loss_at}",
        f"loss = ls.CrossEntropyLoss(ignore_index={pad})  # or set these targets to −100",
        pad=pad,
        share=share,
    )


def _loss_at(r: Reading | None, pad: int) -> str:
    if r is None or r.index is None:
        return ""
    each, is_pad = -pick(r.log_probability, r.index), r.index == pad
    at, elsewhere = each[r.usable & is_pad], each[r.usable & ~is_pad]
    if at.numel() == 0 or elsewhere.numel() == 0:
        return ""
    return f" (loss there {float(at.mean()):.3g}, elsewhere {float(elsewhere.mean()):.3g} nats)"


def _padding(c: Context) -> tuple[int, float, str] | None:
    """The id, its share, and how it lies; None where nothing says padding."""
    y = c.y
    ignored = c.is_ignored(y)
    if y.is_floating_point() or y.dtype == torch.bool or int((~ignored).sum()) < 64:
        return None
    if c.z.ndim not in (2, 3) or y.ndim != c.z.ndim - 1:
        return None
    values, counts = torch.unique(y[~ignored], return_counts=True)
    pad, share = int(values[counts.argmax()]), float(counts.max() / counts.sum())
    if share < 0.15 or len(values) < 4 or _weightless(c, pad):
        return None
    how = _at_the_ends(y, pad, ignored) if y.ndim == 2 else _in_runs(y, pad, ignored)
    return None if how is None else (pad, share, how)


def _weightless(c: Context, pad: int) -> bool:
    w = c.weight
    return w is not None and 0 <= pad < w.numel() and float(w.flatten()[pad]) == 0


def _at_the_ends(y: Tensor, pad: int, ignored: Tensor) -> str | None:
    """In every sequence all of its positions are one run at the end, or at the start, of different lengths.

    Ignored positions may stand in the run.
    """
    is_pad = y == pad
    total, content = is_pad.sum(1), y[~is_pad & ~ignored]
    empty = (is_pad | ignored).long()
    at_start = (empty.cumprod(1) * is_pad).sum(1)
    at_end = (empty.flip(1).cumprod(1) * is_pad.flip(1)).sum(1)
    for run, where in ((at_end, "end"), (at_start, "start")):
        if bool((run == total).all()) and _varied(run, y.shape[1]) and len(unique(content)) >= 3:
            return f"stands only at the {where} of the {len(y):,} sequences, {int(run.min())} to {int(run.max())} times"
    return None


def _varied(runs: Tensor, length: int) -> bool:
    """Enough sequences are padded, by different amounts."""
    return int((runs >= 2).sum()) >= 4 and len(unique(runs)) >= 3 and int(runs.min()) < length


def _in_runs(y: Tensor, pad: int, ignored: Tensor) -> str | None:
    """In a flat target its runs are far longer than chance gives, while those of the others are not.

    Of independent targets a run of an id of share f is 1/(1 − f) long, and the mean of R of them is as much again with
    a standard error of 1/√R of it.
    """
    values, lengths = torch.unique_consecutive(y.where(~ignored, _BREAK), return_counts=True)
    runs, others = lengths[values == pad].double(), lengths[(values != pad) & (values != _BREAK)].double()
    share = float(runs.sum() / (runs.sum() + others.sum()))
    if len(runs) < 5 or len(others) < 64 or len(unique(runs)) < 3:
        return None
    longer = float(runs.mean()) * (1 - share)
    if longer < max(2, 1 + 6 / math.sqrt(len(runs))) or float(others.mean()) > 1.5:
        return None
    return f"comes in {len(runs):,} runs of {float(runs.mean()):.3g} on average (others: {float(others.mean()):.3g})"


@rule("unequal-valid-counts", WARNING, ALL - {"value"})
def unequal_valid_counts(rule: Rule, c: Context) -> Iterator[Finding]:
    """Means of micro-batches with n_k targets are added: each target of batch k weighs 1/n_k."""
    if c.history is None or c.history.normalizer or c.reduction != "mean" or getattr(c.loss, "normalizer", None):
        return
    divisors = [n for n in c.history.divisors if n > 0]
    if len(divisors) < 2 or max(divisors) <= _UNEQUAL * min(divisors):
        return
    ratio = max(divisors) / min(divisors)
    yield rule.found(
        "accumulated means over unequal counts are not the mean of the whole batch",
        f"the {len(divisors)} micro-batches of one optimizer step count {min(divisors):g} to {max(divisors):g} targets,"
        f" so a target of the smallest weighs {ratio:.3g} times one of the largest",
        "loss = ls.CrossEntropyLoss()(z, y, normalizer=n)  # n: valid targets of all micro-batches of the step",
        smallest=min(divisors),
        largest=max(divisors),
        ratio=ratio,
        micro_batches=len(divisors),
    )
