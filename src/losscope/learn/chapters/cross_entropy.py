"""Cross-entropy, with its temperature, its focal exponent and its smoothing."""

from __future__ import annotations

import math
from typing import Any

import marimo as mo
import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.explain import explain
from losscope.figures import focal, gradients, smoothing, softmax_map, steps_of_sample
from losscope.figures.style import figure
from losscope.figures.style import table as numbers_of
from losscope.learn import page
from losscope.links import log_softmax, sigmoid, softmax
from losscope.losses import CrossEntropyLoss, nll_loss
from losscope.targets import one_hot

TITLE = "Cross-entropy"
Z = ("z₀", "z₁", "z₂")


def controls() -> mo.ui.dictionary:
    """Raw outputs, the truth, and the options."""
    return mo.ui.dictionary(
        {
            **page.sliders(Z, (1.0, 2.5, -0.5), reach=5),
            "y": mo.ui.slider(0, 2, 1, value=0, label="true class y", show_value=True),
            "T": page.amount("temperature T", 0.2, 5.0, 0.1, 1.0),
            "γ": page.amount("γ (focal)", 0.0, 5.0, 0.5, 0.0),
            "ε": page.amount("ε (label smoothing)", 0.0, 0.5, 0.05, 0.0),
        }
    )


def view(v: dict[str, Any]) -> page.View:
    """The loss and its gradient; what the library says where options exclude one another."""
    z = torch.tensor([[v[name] for name in Z]], dtype=torch.float64) / v["T"]
    y = torch.tensor([v["y"]])
    refused = []
    try:
        loss = CrossEntropyLoss(focal_gamma=v["γ"], label_smoothing=v["ε"])
    except InputError as error:
        loss, refused = CrossEntropyLoss(), [page.refused(error)]
    numbers = _numbers(loss, z, y)
    gradient = numbers["∂ℓ/∂(z/T), by autograd"]
    assert isinstance(gradient, Tensor)
    body = page.stack(
        page.formula(loss.formula),
        page.words(
            "Cross-entropy is the negative log-likelihood of a log-softmax, in one: raw outputs in, nats out. A model "
            r"that says $1/H$ for every class has $\ell = \ln H$: that is chance. The gradient is the simplest there "
            r"is: $\partial \ell / \partial z_h = \hat{y}_h - t_h$."
        ),
        *refused,
        page.readout(numbers),
        page.steps(explain(loss, z, y)),
        page.picture(_gradient_figure(gradient)),
        page.picture(steps_of_sample(z[0], v["y"])),
        page.words(
            r"**Focal**, $(1 - \hat{y})^\gamma$: what is right already counts less. **Label smoothing**, "
            r"$(1 - \varepsilon) t_h + \varepsilon / H$: being too sure costs again. Together they have no agreed "
            "meaning, and the loss says so: try both."
        ),
        page.beside(
            page.picture(focal(sorted({0.0, 1.0, 2.0, v["γ"]}))),
            page.picture(smoothing(sorted({0.0, 0.1, v["ε"]}))),
        ),
        page.picture(_slopes(z[0], v["y"], v["γ"], v["ε"])),
        page.words("With two outputs the whole loss is a map. The point is at the first two of your outputs."),
        page.picture(page.mark(softmax_map(min(v["y"], 1)), z[0, 0].clamp(-5, 5), z[0, 1].clamp(-5, 5), "z₀, z₁")),
        page.code(f"loss = ls.CrossEntropyLoss({loss.extra_repr()})\nloss(z, y)"),
    )
    return page.View(numbers, body)


def _numbers(loss: CrossEntropyLoss, z: Tensor, y: Tensor) -> dict[str, page.Number]:
    leaf = z.clone().requires_grad_()
    value = loss(leaf, y)
    estimate = softmax(z, 1)
    return {
        "ℓ (nats)": value.detach(),
        "nll of log-softmax": nll_loss(log_softmax(z, 1), y),
        "chance, ln H": math.log(z.shape[1]),
        "ŷ": estimate[0],
        "ŷ − t": (estimate - one_hot(y, z.shape[1], dtype=z.dtype))[0],
        "∂ℓ/∂(z/T), by autograd": torch.autograd.grad(value, leaf)[0][0],
    }


def _slopes(z: Tensor, y: int, gamma: float, epsilon: float) -> Any:
    """The true class against all others is a binary question: ŷ_y = σ(z_y − ln Σ e^z of the others)."""
    others = torch.cat([z[:y], z[y + 1 :]])
    margin = (z[y] - others.logsumexp(0)).clamp(-8, 8)
    return page.mark(gradients(gamma, epsilon), margin, sigmoid(margin) - 1, "your true class: ŷ − 1")


def _gradient_figure(gradient: Tensor) -> Any:
    rows = [[name, float(f"{float(g):.4g}")] for name, g in zip(Z, gradient, strict=True)]
    result = figure(
        "How hard each output is pushed",
        "The step goes against the gradient: the true class up, the others down, each by its share. The three sum "
        "to zero.",
        numbers_of(["output", "∂ℓ/∂z"], rows),
        x="output h",
        y="∂ℓ/∂(z/T)",
        height=300,
    )
    return page.bars(result, Z, {"∂ℓ/∂z": gradient})
