"""Negative log-likelihood: a pick."""

from __future__ import annotations

from typing import Any

import torch

from losscope.figures import log_against_linear, steps_of_sample
from losscope.learn import page
from losscope.links import log_softmax
from losscope.losses import nll_loss
from losscope.targets import one_hot

TITLE = "Negative log-likelihood: a pick"
Z = ("z₀", "z₁", "z₂")


def views(v: dict[str, Any]) -> tuple[page.View]:
    """The pick as the loss makes it, and as a sum over the one-hot target."""
    z = torch.tensor([v[name] for name in Z], dtype=torch.float64)
    y = torch.tensor(v["y"])
    s = log_softmax(z)
    loss = nll_loss(s, y)
    numbers: dict[str, page.Number] = {
        "s = ln ŷ (nats)": s,
        "ŷ": s.exp(),
        "ℓ = −s_y": loss,
        "−Σ_h t_h s_h": -(one_hot(y, 3, dtype=s.dtype) * s).sum(),
        "e^−ℓ = ŷ_y": (-loss).exp(),
    }
    body = page.stack(
        page.formula(r"\ell_i = -s_{i,y_i} = -\sum_h t_{ih} s_{ih}"),
        page.words(
            "Of a row of log-probabilities the loss **picks the entry of the true class**. With a one-hot target "
            "the same pick is a sum: all other terms are zero. The answers for the other classes matter only through "
            "the softmax, because all must share one 1."
        ),
        page.readout(numbers),
        page.picture(steps_of_sample(z, int(y))),
        page.picture(page.mark(log_against_linear(), (-loss).exp(), loss, "here")),
        page.code("s = ls.log_softmax(z, dim=1)\nls.nll_loss(s, y)  # log-probabilities in, never raw outputs"),
    )
    return (page.View((*Z, "y"), numbers, body),)
