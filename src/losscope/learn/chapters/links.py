"""The sigmoid and the softmax, and what a temperature does."""

from __future__ import annotations

from typing import Any

import torch

from losscope.figures import sigmoid_link, softmax_link
from losscope.learn import page
from losscope.links import logsumexp, sigmoid, softmax

TITLE = "Sigmoid and softmax"
Z = ("z₀", "z₁", "z₂")


def views(v: dict[str, Any]) -> tuple[page.View]:
    """Probabilities of z/T."""
    z = torch.tensor([v[name] for name in Z], dtype=torch.float64) / v["T"]
    estimate = softmax(z)
    numbers: dict[str, page.Number] = {
        "σ(z/T), each on its own": sigmoid(z),
        "softmax of (0, z₀/T)": softmax(torch.stack([torch.zeros_like(z[0]), z[0]])),
        "softmax(z/T)": estimate,
        "Σ softmax": estimate.sum(),
        "entropy (nats)": -(estimate * estimate.log()).sum(),
        "ln Σ e^(z/T)": logsumexp(z),
    }
    reach = page.reach(z, 8)
    mover = page.mark(softmax_link(z[1:].tolist(), reach), z[0], estimate[0], "here: z₀/T")
    body = page.stack(
        page.formula(r"\sigma(z) = \frac{1}{1 + e^{-z}}, \quad \hat{y}_h = \frac{e^{z_h}}{\sum_k e^{z_k}}"),
        page.words(
            "The sigmoid makes one probability of one output; the softmax makes a distribution of all of them. "
            "A binary problem is $H = 2$ with outputs $(0, z)$, and the sigmoid is that softmax: $\\sigma(z_0/T)$, the "
            "first number of all, is the second of the softmax of $(0, z_0/T)$."
        ),
        page.readout(numbers),
        page.picture(page.mark(sigmoid_link(reach), z, sigmoid(z), "here: z/T")),
        page.picture(mover),
        page.words(
            "A temperature $T$ divides every $z$. Above 1 the distribution is flatter and its entropy larger, below 1 "
            "sharper; the largest stays the largest, so no decision changes. Adding one number to all $z$ changes "
            "nothing at all: only differences count."
        ),
        page.code("ls.sigmoid(z)\nls.softmax(z / T, dim=1)"),
    )
    return (page.View((*Z, "T"), numbers, body),)
