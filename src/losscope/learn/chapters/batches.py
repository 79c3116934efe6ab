"""A batch: one row for each sample, the classes in dimension 1."""

from __future__ import annotations

from typing import Any

import marimo as mo
import torch
from torch import Tensor

from losscope.figures import softmax_map
from losscope.figures.style import figure
from losscope.figures.style import table as numbers_of
from losscope.learn import page
from losscope.links import softmax

TITLE = "Batches"
BATCH = ((1.0, 10.0), (2.0, -2.0), (2.0, 2.0), (0.0, 2.0), (4.5, 5.0), (0.0, 0.0))
REACH = 10.0
NO_MAP = "There is no map of this: a row's $\\hat{y}$ depends on all other rows, not on its $z$ alone."
DIMS = {"1: over the classes": 1, "0: over the samples, which is wrong": 0}


def views(v: dict[str, Any]) -> tuple[page.View]:
    """The six samples of the tutorial's text, of which the last moves."""
    z = torch.tensor([*BATCH[:-1], (v["z₅₀"], v["z₅₁"])])
    dim = DIMS[v["dim"]]
    estimate = softmax(z, dim)
    numbers: dict[str, page.Number] = {
        "ŷ of sample 5": estimate[5],
        "Σ_h ŷ of each sample": estimate.sum(1),
        "Σ_i ŷ of each class": estimate.sum(0),
    }
    rows = [[f"i = {i}", *z[i], *estimate[i], estimate[i].sum()] for i in range(len(z))]
    body = page.stack(
        page.words(
            "A batch has one row for each sample $i$ and one column for each output $h$: shape $(N, H)$. The softmax "
            "runs **over the classes, dimension 1**, so every row sums to one. Over dimension 0 the samples compete "
            "with one another: the columns sum to one, no error is raised, and every number is wrong. Try it."
        ),
        page.readout(numbers),
        page.table("The batch", ["sample", "z₀", "z₁", "ŷ₀", "ŷ₁", "ŷ₀ + ŷ₁"], rows),
        page.picture(_sums(estimate)),
        _map(z) if dim == 1 else page.words(NO_MAP),
        page.code(f"ls.softmax(z, dim={dim})  # z of shape (6, 2)"),
    )
    return (page.View(("z₅₀", "z₅₁", "dim"), numbers, body),)


def _map(z: Tensor) -> mo.Html:
    return page.picture(page.mark(softmax_map(1, REACH), z[:, 0], z[:, 1], "the six samples"))


def _sums(estimate: Tensor) -> Any:
    names = [f"i = {i}" for i in range(len(estimate))]
    rows = [[name, *(float(f"{float(p):.4g}") for p in row)] for name, row in zip(names, estimate, strict=True)]
    result = figure(
        "Do the probabilities of a sample sum to one?",
        "ŷ₀ and ŷ₁ of each sample, one upon the other. A row is a distribution where its bar ends at 1.",
        numbers_of(["sample", "ŷ₀", "ŷ₁"], rows),
        x="sample i",
        y="ŷ (probability)",
        height=320,
        barmode="stack",
        legend_traceorder="normal",
    )
    return page.bars(result, names, {"ŷ₀": estimate[:, 0], "ŷ₁": estimate[:, 1]})
