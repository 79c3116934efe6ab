"""Many labels, each true or false on its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.figures import focal, loss_of_logit, smoothing, squared_error_on_probability
from losscope.figures.style import BLUE, VERMILLION
from losscope.learn import page
from losscope.links import sigmoid
from losscope.losses import BCEWithLogitsLoss, binary_cross_entropy_with_logits, mse_loss
from losscope.targets import multi_hot

TITLE = "Multi-label: a sum of binary ones"
Z = ("z₀", "z₁", "z₂")
LABELS = ("label 0", "label 1", "label 2")


def views(v: dict[str, Any]) -> tuple[page.View]:
    """Each label's loss and gradient, and their mean."""
    z = torch.tensor([[v[name] for name in Z]], dtype=torch.float64)
    m = multi_hot([[LABELS.index(name) for name in v["m"]]], len(LABELS), dtype=z.dtype)
    refused = []
    try:
        loss = BCEWithLogitsLoss(focal_gamma=v["γ"], label_smoothing=v["ε"])
    except InputError as error:
        loss, refused = BCEWithLogitsLoss(), [page.refused(error)]
    numbers = _numbers(loss, z, m)
    toward = torch.where(m == 1, z, -z)[0]  # a label that is false is at −z: 1 − σ(z) = σ(−z)
    body = page.stack(
        page.formula(loss.formula),
        page.words(
            "When several labels may be true, each output is a question of its own: the sigmoid instead of the "
            "softmax. `mean` divides by all $N \\cdot H$ labels, so chance is $\\ln 2 = 0.693$ whatever $H$ is, and a "
            "label is decided by $z > 0$."
        ),
        page.stack(*refused),  # there even where it is empty, so that the figures keep their places
        page.readout(numbers),
        page.picture(_figure(loss, z[0], m[0])),
        page.words(
            "The same in the direction of the truth: a label that is false is at $-z$, because $1 - \\sigma(z) = "
            "\\sigma(-z)$. One figure knows $\\gamma$ only, the other $\\varepsilon$ only: together they have no "
            "agreed meaning, and the loss refuses them."
        ),
        page.beside(page.picture(_focal(toward, v["γ"])), page.picture(_smoothing(toward, v["ε"]))),
        page.picture(_squared_error(loss, toward)),
        page.code(f"loss = ls.BCEWithLogitsLoss({loss.extra_repr()})\nloss(z, m)  # raw outputs, and m as floats"),
    )
    return (page.View((*Z, "m", "γ", "ε"), numbers, body),)


def _each(loss: BCEWithLogitsLoss, z: Tensor, m: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(
        z, m, reduction="none", focal_gamma=loss.focal_gamma, label_smoothing=loss.label_smoothing
    )


def _numbers(loss: BCEWithLogitsLoss, z: Tensor, m: Tensor) -> dict[str, page.Number]:
    leaf = z.clone().requires_grad_()
    value = loss(leaf, m)
    smoothed = (1 - loss.label_smoothing) * m + loss.label_smoothing / 2
    return {
        "ŷ": loss.activation(z)[0],
        "m, smoothed by ε": smoothed[0],
        "ℓ of each label (nats)": _each(loss, z, m)[0],
        "L_mean (nats)": value.detach(),
        "∂L/∂z": torch.autograd.grad(value, leaf)[0][0],
        "(ŷ − m)/H": (loss.activation(z) - smoothed)[0] / len(LABELS),
        "d": loss.decode(z)[0],
    }


def _figure(loss: BCEWithLogitsLoss, z: Tensor, m: Tensor) -> Any:
    result = loss_of_logit(loss.focal_gamma, loss.label_smoothing)
    each = _each(loss, z, m)
    for truth, color in ((1, BLUE), (0, VERMILLION)):
        some = m == truth
        if some.any():
            page.mark(result, z[some], each[some], f"your labels with m = {truth}", color)
    return result


def _focal(toward: Tensor, gamma: float) -> Any:
    here = _each(BCEWithLogitsLoss(focal_gamma=gamma), toward, torch.ones_like(toward))
    return page.mark(focal(sorted({0.0, 1.0, 2.0, gamma})), toward, here, f"your labels, at γ = {gamma:g}")


def _smoothing(toward: Tensor, epsilon: float) -> Any:
    here = _each(BCEWithLogitsLoss(label_smoothing=epsilon), toward, torch.ones_like(toward))
    return page.mark(smoothing(sorted({0.0, 0.1, epsilon})), toward, here, f"your labels, at ε = {epsilon:g}")


def _squared_error(loss: BCEWithLogitsLoss, toward: Tensor) -> Any:
    true = torch.ones_like(toward)
    result = squared_error_on_probability(loss.focal_gamma, loss.label_smoothing)
    page.mark(result, toward, _each(loss, toward, true), "your labels: cross-entropy", BLUE)
    squared = mse_loss(sigmoid(toward), true * (1 - loss.label_smoothing / 2), reduction="none")
    return page.mark(result, toward, squared, "your labels: squared error")
