"""Whether anything was learnt: the first loss, constant outputs, one class for everything."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from losscope.linting.context import Context
from losscope.linting.finding import INFO, WARNING, Finding
from losscope.linting.reading import Reading
from losscope.linting.rule import ALL, Rule, rule
from losscope.linting.statistics import binomial_tail, divergence, pick, softplus_loss, z_score
from losscope.linting.tolerance import roundoff

MINIMUM = 8
_LATE = 50


# ------------------------------------------------------------------------------------------------ initial-loss


@rule("initial-loss", WARNING, ALL - {"value"}, presumes=True)
def initial_loss(rule: Rule, c: Context) -> Iterator[Finding]:
    """At step 0 the outputs know nothing: the loss is ln H + σ²/2 (ln 2 for labels), and σ is small."""
    r = c.reading
    if c.step != 0 or r is None or int(r.usable.sum()) < MINIMUM or bool(r.masked.any()):
        return
    each, blind, chance = _categorical_start(c, r) if c.categorical else _binary_start(c, r)
    loss, independent, sigma = float(each.mean()), float(blind.mean()), float(r.z[r.usable].std(1, correction=0).mean())
    most, name = (3.0, f"ln {c.num_classes}") if c.categorical else (1.0, "ln 2")
    sure = abs(z_score(each - blind)) > 6 + 20 / len(each)
    if independent > chance + most:
        what, remedy = (
            "the first loss is far above chance: the outputs start too large",
            ("torch.nn.init.zeros_(last_layer.weight)  # or scale it down; and standardise the inputs"),
        )
    elif sure and loss < 0.5 * independent:
        what, remedy = (
            "the first loss is far below chance: the outputs know the labels already",
            ("check that the labels are not among the inputs, and that this is the first step (no checkpoint loaded)"),
        )
    elif sure and loss > independent + 1:
        what, remedy = (
            "the first loss is far above that of independent labels: the outputs contradict them",
            ("check the order of the classes, and that outputs and labels are of the same samples"),
        )
    else:
        return
    formula = f" = {name} + σ²/2" if c.categorical else ""
    yield rule.found(
        what,
        f"L_mean = {loss:.4g} at step 0{r.part}; chance is {name} = {chance:.4g}, and outputs of this spread that know"
        f" nothing of the labels give {independent:.4g}{formula and f' (about {name} + σ²/2, σ = {sigma:.3g})'}",
        remedy,
        loss=loss,
        chance=chance,
        independent=independent,
        sigma=sigma,
    )


def _categorical_start(c: Context, r: Reading) -> tuple[Tensor, Tensor, float]:
    """ℓ_i; its mean over labels drawn independently of the outputs; and ln H."""
    s, f = r.log_probability[r.usable].double(), r.frequencies
    blind = -(s * f).sum(1)
    if r.index is not None:
        return -pick(s, r.index[r.usable]), blind, math.log(c.num_classes)
    assert r.soft is not None
    return -(s * r.soft[r.usable]).sum(1), blind, math.log(c.num_classes)


def _binary_start(c: Context, r: Reading) -> tuple[Tensor, Tensor, float]:
    z, m = _logits(c, r)
    each = softplus_loss(z, m)
    return each.mean(1), (each + (m - m.mean(0)) * z).mean(1), math.log(2)


def _logits(c: Context, r: Reading) -> tuple[Tensor, Tensor]:
    """Logits and labels of the rows that are usable, where the outputs are probabilities too."""
    assert r.soft is not None
    z = r.z[r.usable].double()
    return (torch.logit(z, eps=1e-6) if c.likelihood == "binary_cross_entropy" else z), r.soft[r.usable].double()


# --------------------------------------------------------------------------------------------- constant-output


@rule("constant-output", WARNING, presumes=True)
def constant_output(rule: Rule, c: Context) -> Iterator[Finding]:
    """Every sample gets the same answer, though the targets differ: the inputs do not reach the outputs."""
    r, s = c.reading, _constant(c)
    if r is None or s is None or c.step == 0 or not _targets_vary(r):
        return
    spread = float((s.amax(0) - s.amin(0)).max())
    blank = c.step is None and _blank(c, s)
    yield rule.found(
        "every sample gets the same output",
        f"the outputs of {len(s):,} samples differ by at most {spread:.2g}{r.part}, though their targets differ"
        + ("; all are equal to those of a last layer that starts at 0" if blank else ""),
        "look at h.std(0), what reaches the last layer: dead ReLUs, equal inputs, too high a learning rate",
        INFO if blank else None,
        samples=len(s),
        spread=spread,
    )


def _constant(c: Context) -> Tensor | None:
    """The (log-)outputs (n, H) of at least 8 samples, where they are all the same; None elsewhere."""
    r = c.reading
    if r is None or (c.categorical and c.num_classes == 1):
        return None
    s = (r.log_probability if c.categorical else r.z)[r.usable]
    if len(s) < MINIMUM or bool((s.isneginf() != s[0].isneginf()).any()):
        return None
    s = s[:, ~s[0].isneginf()]
    allowed = 4 * min(roundoff(c.dtype), roundoff(torch.float32)) * (1 + float(s.abs().max()))
    return s if float((s.amax(0) - s.amin(0)).max()) <= allowed else None


def _targets_vary(r: Reading) -> bool:
    y = r.index if r.index is not None else r.soft
    assert y is not None
    y = y[r.usable]
    return len(y) > 0 and bool((y != y[0]).any())


def _blank(c: Context, s: Tensor) -> bool:
    """What a last layer of zeros gives before the first step: nothing is wrong then."""
    if c.likelihood == "binary_cross_entropy":
        return bool((s == 0.5).all())
    return bool((s == s[0, 0]).all()) if c.categorical else bool((s == 0).all())


# ------------------------------------------------------------------------------------------- majority-collapse


@rule("majority-collapse", WARNING, ALL - {"value"}, presumes=True)
def majority_collapse(rule: Rule, c: Context) -> Iterator[Finding]:
    """Every decision is the same class, and the outputs know no more of a sample than the classes' frequencies."""
    r = c.reading
    if c.step == 0 or r is None or int(r.usable.sum()) < 16 or bool(r.z[r.usable].isinf().any()):
        return
    if _constant(c) is not None:
        return  # told as such
    problems = list(_problems(c, r))
    late = c.step is not None and c.step >= _LATE
    found = [_collapsed(s, y, late) for s, y in problems]
    reasons = [reason for reason in found if reason]
    if not problems or len(reasons) < len(problems):
        return
    yield rule.found(
        "every decision is the same class",
        reasons[0] + (f" (and so for all {len(problems)} labels)" if len(problems) > 1 else "") + r.part,
        "loss = ls.CrossEntropyLoss(weight=counts.sum() / (H * counts))  # and look at the learning rate",
        problems=len(problems),
    )


def _problems(c: Context, r: Reading) -> Iterator[tuple[Tensor, Tensor]]:
    """Log-probabilities (n, H) and indices (n,): the one problem, or one of H = 2 for each label."""
    if c.categorical:
        if r.index is not None and c.num_classes > 1:
            yield r.log_probability[r.usable].double(), r.index[r.usable]
        return
    z, m = _logits(c, r)
    if not bool(((m == 0) | (m == 1)).all()):
        return
    for h in range(min(z.shape[1], 256)):
        if min(int(m[:, h].sum()), int((1 - m[:, h]).sum())) >= 10:
            yield torch.stack((torch.zeros_like(z[:, h]), z[:, h]), 1).log_softmax(1), m[:, h].long()


def _collapsed(s: Tensor, y: Tensor, late: bool) -> str:
    """Why this problem has collapsed; nothing where it has not, or where that cannot be known."""
    n, h = s.shape
    decisions = torch.bincount(s.argmax(1), minlength=h)
    answer = int(decisions.argmax())
    if int(decisions[answer]) < 0.998 * n:
        return ""
    f = torch.bincount(y, minlength=h).double() / n
    mean = s.exp().mean(0)
    share, given = float(f[answer]), float(mean[answer])
    wrong = n - int((y == answer).sum())
    text = f"all of {n:,} decisions are class {answer}, which {share:.1%} of the targets are"
    sure = 0.97 if share == float(f.max()) else 0.99
    much = given >= sure and share <= given - 0.1
    much |= late and share <= given - 0.2 and z_score(pick(s - mean.log(), y)) < 2
    if much and binomial_tail(wrong, n, 1 - given) < (1e-3 if late else 1e-5):
        return f"{text}; it is given a probability of {given:.3g}"
    like_frequencies = abs(given - share) <= 0.03 and n >= 64 and wrong >= 10
    unlike_untrained = share >= 0.75 and divergence(f, torch.full_like(f, 1 / h)) >= 0.1
    if like_frequencies and unlike_untrained and _knows_nothing(s, y, mean):
        return (
            f"{text}; its mean probability is {given:.3g}, and the outputs tell the samples apart no better than chance"
        )
    return ""


def _knows_nothing(s: Tensor, y: Tensor, mean: Tensor) -> bool:
    """The outputs do not beat their own mean by 2 standard errors; and they claim nothing, or what they do not keep.

    What they claim is the gain ln ŷ_iy − ln ȳ_y with y drawn from ŷ_i: its expectation and its variance are known.
    """
    gain, p = s - mean.log(), s.exp()
    expected = (p * gain).sum(1)
    variance = float(((p * gain.square()).sum(1) - expected.square()).sum())
    kept = pick(gain, y)
    short = float((expected - kept).sum()) / max(variance, 1e-300) ** 0.5
    return (float(expected.mean()) <= 1e-3 or short >= 4) and z_score(kept) < 2
