"""Raw outputs, and what each loss takes them to mean."""

from __future__ import annotations

from typing import Any

import torch

from losscope import losses
from losscope.figures.style import figure
from losscope.figures.style import table as numbers_of
from losscope.learn import page

TITLE = "Raw outputs and what they can mean"
Z = ("z₀", "z₁", "z₂")
LOSSES = (losses.CrossEntropyLoss(), losses.BCEWithLogitsLoss(), losses.MSELoss(), losses.MSLELoss())


def views(v: dict[str, Any]) -> tuple[page.View]:
    """The same numbers under four losses."""
    z = torch.tensor([v[name] for name in Z], dtype=torch.float64)
    softmax, sigmoid, value, exponential = (loss.activation(z) for loss in LOSSES)
    numbers: dict[str, page.Number] = {
        "ŷ by softmax": softmax,
        "Σ ŷ by softmax": softmax.sum(),
        "ŷ by sigmoid": sigmoid,
        "values": value,
        "values, from logarithms": exponential,
    }
    rows = [
        [type(loss).__name__, loss.link.space, loss.link.name, loss.activation(z), loss.decode(z)] for loss in LOSSES
    ]
    body = page.stack(
        page.words(
            "A network's last linear layer gives raw outputs $z_h$, any real numbers. They mean nothing by "
            "themselves: **the loss decides what they come to mean**. It brings a *link* from $z$ to an estimate "
            "$\\hat{y}$, a *likelihood* that compares it with the target, and a *decision*."
        ),
        page.readout(numbers),
        page.table(
            "The same raw outputs under four losses", ["loss", "z is a", "link", "estimate ŷ", "decision d"], rows
        ),
        page.picture(_figure(softmax, sigmoid)),
        page.words(
            "Move one output: under the softmax all three probabilities change, under the sigmoid only its own. "
            "$\\hat{y}$ is never a decision: that is made from $z$, by `loss.decode(z)`."
        ),
        page.code("loss = ls.CrossEntropyLoss()\nloss.activation(z)  # ŷ\nloss.decode(z)  # d"),
    )
    return (page.View(Z, numbers, body),)


def _figure(softmax: torch.Tensor, sigmoid: torch.Tensor) -> Any:
    both = {"softmax: one of H": softmax, "sigmoid: each on its own": sigmoid}
    rows = [[name, *(float(f"{float(v[h]):.4g}") for v in both.values())] for h, name in enumerate(Z)]
    result = figure(
        "One set of raw outputs, two meanings",
        f"The softmax shares out 1 among the outputs; the sigmoid asks each on its own, here to a sum of "
        f"{float(sigmoid.sum()):.3g}.",
        numbers_of(["output", *both], rows),
        x="output h",
        y="ŷ (probability)",
        yaxis_range=[0, 1.02],
    )
    return page.bars(result, Z, both)
