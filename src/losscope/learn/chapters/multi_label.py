"""Many labels, each true or false on its own."""

from __future__ import annotations

from typing import Any

import marimo as mo
import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.figures import focal, loss_of_logit, smoothing, squared_error_on_probability
from losscope.figures.style import BLUE, VERMILLION
from losscope.learn import page
from losscope.links import sigmoid
from losscope.losses import BCEWithLogitsLoss, mse_loss
from losscope.targets import multi_hot

TITLE = "Multi-label: a sum of binary ones"
Z = ("z₀", "z₁", "z₂")
LABELS = ("label 0", "label 1", "label 2")


def controls() -> mo.ui.dictionary:
    """Raw outputs, the true labels, and the options."""
    return mo.ui.dictionary(
        {
            **page.sliders(Z, (1.0, 2.5, -0.5)),
            "m": mo.ui.multiselect(list(LABELS), value=["label 0", "label 1"], label="true labels"),
            "γ": page.amount("γ (focal)", 0.0, 5.0, 0.5, 0.0),
            "ε": page.amount("ε (label smoothing)", 0.0, 0.5, 0.05, 0.0),
        }
    )


def view(v: dict[str, Any]) -> page.View:
    """Each label's loss and gradient, and their mean."""
    z = torch.tensor([[v[name] for name in Z]], dtype=torch.float64)
    m = multi_hot([[LABELS.index(name) for name in v["m"]]], 3, dtype=z.dtype)
    refused = []
    try:
        loss = BCEWithLogitsLoss(focal_gamma=v["γ"], label_smoothing=v["ε"])
    except InputError as error:
        loss, refused = BCEWithLogitsLoss(), [page.refused(error)]
    numbers = _numbers(loss, z, m)
    body = page.stack(
        page.formula(loss.formula),
        page.words(
            "When several labels may be true, each output is a question of its own: the sigmoid instead of the "
            "softmax. `mean` divides by all $N \\cdot H$ labels, so chance is $\\ln 2 = 0.693$ whatever $H$ is, and a "
            "label is decided by $z > 0$."
        ),
        *refused,
        page.readout(numbers),
        page.picture(_figure(z[0], m[0])),
        page.beside(
            page.picture(focal(sorted({0.0, 1.0, 2.0, v["γ"]}))),
            page.picture(smoothing(sorted({0.0, 0.1, v["ε"]}))),
        ),
        page.picture(_squared_error(z[0], m[0])),
        page.code(f"loss = ls.BCEWithLogitsLoss({loss.extra_repr()})\nloss(z, m)  # raw outputs, and m as floats"),
    )
    return page.View(numbers, body)


def _numbers(loss: BCEWithLogitsLoss, z: Tensor, m: Tensor) -> dict[str, page.Number]:
    leaf = z.clone().requires_grad_()
    value = loss(leaf, m)
    each = BCEWithLogitsLoss(reduction="none", focal_gamma=loss.focal_gamma, label_smoothing=loss.label_smoothing)
    return {
        "ŷ": loss.activation(z)[0],
        "m": m[0],
        "ℓ of each label (nats)": each(z, m)[0],
        "L_mean (nats)": value.detach(),
        "∂L/∂z": torch.autograd.grad(value, leaf)[0][0],
        "(ŷ − m)/H": (loss.activation(z) - m)[0] / 3,
        "d": loss.decode(z)[0],
    }


def _figure(z: Tensor, m: Tensor) -> Any:
    result = loss_of_logit()
    each = BCEWithLogitsLoss(reduction="none")(z, m)
    for truth, color in ((1, BLUE), (0, VERMILLION)):
        some = m == truth
        if some.any():
            page.mark(result, z[some], each[some], f"your labels with m = {truth}", color)
    return result


def _squared_error(z: Tensor, m: Tensor) -> Any:
    """A label that is false is at −z: 1 − σ(z) = σ(−z)."""
    toward = torch.where(m == 1, z, -z)
    true = torch.ones_like(z)
    result = squared_error_on_probability().update_yaxes(range=[0, 8.2])  # z reaches 8, and so does ℓ
    page.mark(result, toward, BCEWithLogitsLoss(reduction="none")(toward, true), "your labels: cross-entropy", BLUE)
    squared = mse_loss(sigmoid(toward), true, reduction="none")
    return page.mark(result, toward, squared, "your labels: squared error")
