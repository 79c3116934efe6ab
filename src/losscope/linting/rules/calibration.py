"""Suspicions about confidence: more of it than the hits bear out, and confident disagreement with the labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from losscope.kernels.reference import softcap
from losscope.linting.context import Context
from losscope.linting.finding import INFO, WARNING, Finding
from losscope.linting.reading import Reading, part
from losscope.linting.rule import Rule, rule
from losscope.linting.statistics import entropy, pick
from losscope.losses import CrossEntropyLoss

_ROWS, _OUTPUTS = 10_000, 1 << 20
_SURE = 30
_SEVERE = 0.075


@rule("overconfident", WARNING, {"cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"}, presumes=True)
def overconfident(rule: Rule, c: Context) -> Iterator[Finding]:
    """Divided by a temperature well above 1 the outputs fit far better, and the ECE is outside its null band.

    The outputs have to know the labels: what knows nothing has no confidence to be wrong.
    """
    found = _problem(c)
    if found is None:
        return
    z, y = found
    n, chance = len(z), entropy(torch.bincount(y, minlength=z.shape[1]).double() / len(z))
    if not _worth_measuring(z, y, chance):
        return
    from losscope.summary import CategoricalSummary, summarize

    summary = summarize(CrossEntropyLoss(), z, y)
    assert isinstance(summary, CategoricalSummary)
    scaled, calibration = summary.temperature, summary.calibration
    if scaled is None:
        return
    loss, t = scaled.nll_before, scaled.temperature
    knows = 2 * n * (chance - scaled.nll) > _SURE
    if t < 1.2 or calibration.null.p_value > 0 or not knows or 2 * n * (loss - scaled.nll) < _SURE:
        return
    severe = t >= 3 and loss >= 1.5 * scaled.nll and calibration.ece >= calibration.null.high + _SEVERE
    if not severe and scaled.nll > 0.7 * chance:
        return
    yield rule.found(
        "the outputs seem more confident than they are right",
        f"ECE {calibration.ece:.3g} on {n:,} decisions, where a calibrated model shows {calibration.null.low:.2g} to"
        f" {calibration.null.high:.2g}; the best temperature is {t:.3g}, and with it the loss is {scaled.nll:.4g}"
        f" instead of {loss:.4g} nats",
        f"ls.softmax({_capped_code(c)} / {t:.3g}, 1)  # temperature scaling, fitted on held-out data; or"
        " label_smoothing=0.1",
        None if severe else INFO,
        temperature=t,
        ece=calibration.ece,
        ece_null_high=calibration.null.high,
        loss=loss,
        loss_at_temperature=scaled.nll,
        samples=n,
    )


def _worth_measuring(z: Tensor, y: Tensor, chance: float) -> bool:
    """A look before the whole measurement: surer than right, and some temperature fits far better and beats chance."""
    top = z.softmax(1).max(1)
    if float(top.values.mean()) - float((top.indices == y).double().mean()) <= 0.01:
        return False
    losses = [float(-pick((z / t).log_softmax(1), y).mean()) for t in (1.0, 1.4, 2.0, 3.0, 5.0, 8.0)]
    margin = _SURE / (2 * len(z)) * 0.8  # the grid is coarse
    return min(losses[1:]) < min(chance, losses[0]) - margin


def _problem(c: Context) -> tuple[Tensor, Tensor] | None:
    """Logits (n, H) after the softcap and indices (n,), n ≥ 100; labels on their own as problems of H = 2."""
    r = c.reading
    if r is None or getattr(c.loss, "focal_gamma", None) or _reweighted(c):
        return None
    usable = r.usable & ~r.z.isinf().any(1)
    z, y = _as_classes(c, r, usable)
    if y is None or len(z) < 100 or z.shape[1] < 2:
        return None
    some = part(len(z), min(_ROWS, _OUTPUTS // z.shape[1]), z.device)
    return softcap(z[some].double(), _cap(c)), y[some]


def _cap(c: Context) -> float | None:
    """What the loss holds the logits below, before anything else."""
    return getattr(c.loss, "softcap", None)


def _capped_code(c: Context) -> str:
    """The logits as the loss has them."""
    cap = _cap(c)
    return "z" if cap is None else f"{cap:g} * torch.tanh(z / {cap:g})"


def _reweighted(c: Context) -> bool:
    """Class weights change what the probabilities mean."""
    weights = (c.weight, getattr(c.loss, "pos_weight", None))
    return any(w is not None and not bool((w == w.flatten()[0]).all()) for w in weights) or weights[1] is not None


def _as_classes(c: Context, r: Reading, usable: Tensor) -> tuple[Tensor, Tensor | None]:
    if c.categorical:
        return r.z[usable], None if r.index is None else r.index[usable]
    assert r.soft is not None
    z, m = r.z[usable].flatten(), r.soft[usable].flatten()
    hard = bool(((m == 0) | (m == 1)).all())
    return torch.stack((torch.zeros_like(z), z), 1), m.long() if hard else None


@rule("label-noise", WARNING, {"cross_entropy", "nll_loss"}, by_default=False, presumes=True)
def label_noise(rule: Rule, c: Context) -> Iterator[Finding]:
    """A floor η under every probability fits the labels far better: some disagree however sure the model is."""
    found = _problem(c) if c.held_out else None
    if found is None or len(found[0]) < 200:
        return
    z, y = found
    rates = torch.linspace(0, 0.5, 26).tolist()
    losses = [_floored(z, y, rate) for rate in rates]
    best = min(range(len(rates)), key=losses.__getitem__)
    evidence = 2 * len(z) * (losses[0] - losses[best])
    if evidence < 30 or rates[best] < 0.02:
        return
    p = z.softmax(1)
    sure = (p.max(1).values > 0.9) & (p.argmax(1) != y)
    yield rule.found(
        "some labels seem to be wrong",
        f"on {len(z):,} held-out samples the model that fits best takes {rates[best]:.0%} of the labels for random"
        f" (likelihood ratio {evidence:.3g}); {int(sure.sum()):,} samples disagree with a probability above 0.9",
        f"look at these: (ls.softmax({_capped_code(c)}, 1).max(1).values > 0.9) & (z.argmax(1) != y); then"
        " label_smoothing=0.1",
        rate=rates[best],
        likelihood_ratio=evidence,
        confident_disagreements=int(sure.sum()),
    )


def _floored(z: Tensor, y: Tensor, rate: float) -> float:
    """The least mean of −ln((1 − η) softmax(z/T)_y + η/H) over T."""

    def loss(t: float) -> float:
        s = pick((z / math.exp(t)).log_softmax(1), y)
        return float(-((1 - rate) * s.exp() + rate / z.shape[1]).clamp(min=1e-300).log().mean())

    from scipy.optimize import minimize_scalar

    return float(minimize_scalar(loss, bounds=(-math.log(50), math.log(50)), method="bounded").fun)
