"""The sigmoid and the softmax, and what a temperature does."""

from __future__ import annotations

from typing import Any

import marimo as mo
import torch

from losscope.figures import sigmoid_link, softmax_link
from losscope.learn import page
from losscope.links import logsumexp, sigmoid, softmax

TITLE = "Sigmoid and softmax"
Z = ("z₀", "z₁", "z₂")


def controls() -> mo.ui.dictionary:
    """Raw outputs and a temperature."""
    temperature = page.amount("temperature T", 0.2, 5.0, 0.1, 1.0)
    return mo.ui.dictionary({**page.sliders(Z, (2.0, 0.0, 1.0), reach=5), "temperature T": temperature})


def view(v: dict[str, Any]) -> page.View:
    """Probabilities of z/T."""
    z = torch.tensor([v[name] for name in Z], dtype=torch.float64) / v["temperature T"]
    estimate = softmax(z)
    numbers: dict[str, page.Number] = {
        "σ(z₀/T)": sigmoid(z[0]),
        "softmax of (0, z₀/T)": softmax(torch.stack([torch.zeros_like(z[0]), z[0]])),
        "softmax(z/T)": estimate,
        "Σ softmax": estimate.sum(),
        "entropy (nats)": -(estimate * estimate.log()).sum(),
        "ln Σ e^(z/T)": logsumexp(z),
    }
    mover = page.mark(softmax_link((float(z[1]), float(z[2]))), z[0], estimate[0], "here: z₀/T")
    body = page.stack(
        page.formula(r"\sigma(z) = \frac{1}{1 + e^{-z}}, \quad \hat{y}_h = \frac{e^{z_h}}{\sum_k e^{z_k}}"),
        page.words(
            "The sigmoid makes one probability of one output; the softmax makes a distribution of all of them. "
            "A binary problem is $H = 2$ with outputs $(0, z)$, and the sigmoid is that softmax: the first two numbers "
            "say the same."
        ),
        page.readout(numbers),
        page.picture(page.mark(sigmoid_link(), z[0], sigmoid(z[0]), "here: z₀/T")),
        page.picture(mover),
        page.words(
            "A temperature $T$ divides every $z$. Above 1 the distribution is flatter and its entropy larger, below 1 "
            "sharper; the largest stays the largest, so no decision changes. Adding one number to all $z$ changes "
            "nothing at all: only differences count."
        ),
        page.code("ls.sigmoid(z)\nls.softmax(z / T, dim=1)"),
    )
    return page.View(numbers, body)
