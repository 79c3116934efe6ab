"""Suspicions about confidence: more of it than the hits bear out, and confident disagreement with the labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from losscope.linting.context import Context
from losscope.linting.finding import INFO, WARNING, Finding
from losscope.linting.reading import Reading, part
from losscope.linting.rule import Rule, rule
from losscope.linting.statistics import entropy, pick

_ROWS = 20_000
_BINS = 15
_SEVERE = 0.075


@rule("overconfident", WARNING, {"cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"})
def overconfident(rule: Rule, c: Context) -> Iterator[Finding]:
    """Divided by a temperature well above 1 the outputs fit far better, and the ECE is outside its null band."""
    found = _problem(c)
    if found is None:
        return
    z, y = found
    n, chance = len(z), entropy(torch.bincount(y, minlength=z.shape[1]).double() / len(y))
    temperature, fitted = fit_temperature(z, y)
    loss = nll(z, y, 1.0)
    if temperature < 1.2 or fitted > 0.7 * chance or 2 * n * (loss - fitted) < 20:
        return
    ece, band = expected_calibration_error(z, y)
    if ece <= band:
        return
    severe = temperature >= 3 and loss >= 1.5 * fitted and ece >= band + _SEVERE
    yield rule.found(
        "the outputs seem more confident than they are right",
        f"ECE {ece:.3g} on {n:,} decisions, where a calibrated model shows at most {band:.3g}; its best temperature"
        f" is {temperature:.3g}, and with it the loss is {fitted:.4g} instead of {loss:.4g} nats",
        f"ls.softmax(z / {temperature:.3g}, 1)  # temperature scaling, fitted on held-out data; or label_smoothing=0.1",
        None if severe else INFO,
        temperature=temperature,
        ece=ece,
        ece_null_band=band,
        loss=loss,
        loss_at_temperature=fitted,
        samples=n,
    )


def _problem(c: Context) -> tuple[Tensor, Tensor] | None:
    """Logits (n, H) and indices (n,), n ≥ 100; labels on their own as problems of H = 2, all in one."""
    r = c.reading
    if r is None or getattr(c.loss, "focal_gamma", None) or _reweighted(c):
        return None
    usable = r.usable & ~r.z.isinf().any(1)
    z, y = _as_classes(c, r, usable)
    if y is None or len(z) < 100 or z.shape[1] < 2:
        return None
    some = part(len(z), _ROWS, z.device)
    return z[some].double(), y[some]


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


def nll(z: Tensor, y: Tensor, temperature: float) -> float:
    """The mean of −ln softmax(z / T)_y."""
    return float(-pick((z / temperature).log_softmax(1), y).mean())


def fit_temperature(z: Tensor, y: Tensor) -> tuple[float, float]:
    """T that minimises the loss of z / T, between 1/50 and 50, and that loss (Guo et al. 2017, section 4.2)."""
    best = minimize_scalar(lambda t: nll(z, y, math.exp(t)), bounds=(-math.log(50), math.log(50)), method="bounded")
    return math.exp(float(best.x)), float(best.fun)


def expected_calibration_error(z: Tensor, y: Tensor) -> tuple[float, float]:
    """The ECE of 15 equal bins, and what it stays below in 999 of 1000 draws of a calibrated model."""
    top = z.softmax(1).max(1)
    confidence, right = top.values, (top.indices == y).double()
    bins = (confidence * _BINS).long().clamp(max=_BINS - 1)
    generator = torch.Generator(z.device).manual_seed(0)
    draws = torch.rand(400, len(z), generator=generator, device=z.device, dtype=z.dtype) < confidence
    null = _ece(confidence.expand_as(draws), draws.double(), bins)
    band = float(null.mean() + 3.5 * null.std())
    return float(_ece(confidence.unsqueeze(0), right.unsqueeze(0), bins)[0]), band


def _ece(confidence: Tensor, right: Tensor, bins: Tensor) -> Tensor:
    """Σ_b |Σ_{i in b} (right − confidence)| / N, one for each row."""
    gaps = torch.zeros(len(right), _BINS, dtype=right.dtype, device=right.device)
    gaps.index_add_(1, bins, right - confidence)
    return gaps.abs().sum(1) / right.shape[1]


@rule("label-noise", WARNING, {"cross_entropy", "nll_loss"}, by_default=False)
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
        "look at these: (ls.softmax(z, 1).max(1).values > 0.9) & (z.argmax(1) != y); then label_smoothing=0.1",
        rate=rates[best],
        likelihood_ratio=evidence,
        confident_disagreements=int(sure.sum()),
    )


def _floored(z: Tensor, y: Tensor, rate: float) -> float:
    """The least mean of −ln((1 − η) softmax(z/T)_y + η/H) over T."""

    def loss(t: float) -> float:
        s = pick((z / math.exp(t)).log_softmax(1), y)
        return float(-((1 - rate) * s.exp() + rate / z.shape[1]).clamp(min=1e-300).log().mean())

    return float(minimize_scalar(loss, bounds=(-math.log(50), math.log(50)), method="bounded").fun)
