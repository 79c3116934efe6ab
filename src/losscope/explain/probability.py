"""Each label is true on its own, and the network gives probabilities: binary cross-entropy, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.explain.binary import CHANCE, factor, label_gradient, label_terms, multi_hot, weighted
from losscope.explain.reduction import reduction
from losscope.explain.rows import label_rows
from losscope.explain.softmax import compared
from losscope.explain.step import Formula, Trail, Worked
from losscope.kernels import naive
from losscope.kernels.options import BinaryOptions
from losscope.kernels.reference import upcast
from losscope.losses import BCELoss

_LOWEST = -100  # where torch holds the logarithm of a probability that was rounded to 0
# What torch keeps ŷ(1 − ŷ) above in the gradient: it writes it in float32, whatever the dtype.
_FLATTEST = float(torch.tensor(1e-12, dtype=torch.float32))


def explain_bce(loss: BCELoss, probability: Tensor, target: Tensor) -> Worked:
    """Binary cross-entropy of probabilities."""
    at = Trail()
    y_hat = at.add(
        "ŷ",
        "estimated probability",
        r"\hat{y}_{ih}",
        "ŷ_ih",
        upcast(label_rows(probability)),
        "What the network gives: already a probability, so what its sigmoid rounded away is lost.",
        "ih",
    )
    _logarithms(at, y_hat)
    m, counted = multi_hot(at, upcast(label_rows(target)), BinaryOptions())
    sentence = "Every label's loss is multiplied by it; the mean's divisor is not."
    w = factor(at, loss.weight, probability, "w", "weight", sentence)
    each = -at[m] * at["ln ŷ"] - (1 - at[m]) * at["ln(1−ŷ)"]
    body = weighted(
        w,
        Formula(
            r"-m_{ih} \ln \hat{y}_{ih} - (1 - m_{ih}) \ln(1 - \hat{y}_{ih})",
            "−m_ih ln ŷ_ih − (1 − m_ih) ln(1 − ŷ_ih)",
        ),
    )
    at.add(
        "ℓ",
        "loss of one label",
        rf"\ell_{{ih}} = {body.latex}",
        f"ℓ_ih = {body.text}",
        each if w is None else w * each,
        "In nats." + (f" {CHANCE}" if w is None else ""),
        "ih",
    )
    terms = label_terms(at, counted, ignoring=False)
    share = reduction(at, terms, loss.reduction, probability.dtype)
    slope = (y_hat - at["m"]) / (y_hat * (1 - y_hat)).clamp(min=_FLATTEST)
    by = ("", "") if w is None else ("w_{ih} ", "w_ih ")
    at.add(
        "∂ℓ/∂ŷ",
        "gradient of one label",
        rf"\frac{{\partial \ell_{{ih}}}}{{\partial \hat{{y}}_{{ih}}}} = "
        rf"{by[0]}\frac{{\hat{{y}}_{{ih}} - m_{{ih}}}}{{\hat{{y}}_{{ih}} (1 - \hat{{y}}_{{ih}})}}",
        f"∂ℓ_ih/∂ŷ_ih = {by[1]}(ŷ_ih − m_ih) / (ŷ_ih (1 − ŷ_ih)), the divisor held above {_FLATTEST:g}",
        slope if w is None else w * slope,
        "With respect to the probability. The sigmoid before it multiplies by ŷ(1 − ŷ), which leaves "
        f"{'ŷ − m' if w is None else 'w (ŷ − m)'}.",
        "ih",
    )
    checks = label_gradient(at, "ŷ", w, counted, share, float(slope.abs().max()) if slope.numel() else 0.0)
    notes = [compared("−m ln ŷ − (1−m) ln(1−ŷ) without the hold", naive.binary_cross_entropy(y_hat, at["m"]), each)]
    return Worked(at.steps, checks, notes, at["m"], counted)


def _logarithms(at: Trail, y_hat: Tensor) -> None:
    at.add(
        "ln ŷ",
        "log-probability",
        rf"\max(\ln \hat{{y}}_{{ih}}, {_LOWEST})",
        f"ln ŷ_ih, held at {_LOWEST}",
        y_hat.log().clamp(min=_LOWEST),
        "In nats; a probability that was rounded to 0 has lost its logarithm, and gets −100 instead.",
        "ih",
    )
    at.add(
        "ln(1−ŷ)",
        "log-probability of false",
        rf"\max(\ln(1 - \hat{{y}}_{{ih}}), {_LOWEST})",
        f"ln(1 − ŷ_ih), held at {_LOWEST}",
        (-y_hat).log1p().clamp(min=_LOWEST),
        "The same for the probability that the label is false.",
        "ih",
    )
