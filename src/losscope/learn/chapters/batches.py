"""A batch: one row for each sample, the classes in dimension 1."""

from __future__ import annotations

from typing import Any

import marimo as mo
import torch

from losscope.figures import softmax_map
from losscope.learn import page
from losscope.links import softmax

TITLE = "Batches"
BATCH = ((1.0, 10.0), (2.0, -2.0), (2.0, 2.0), (0.0, 2.0), (4.5, 5.0), (0.0, 0.0))
REACH = 10.0
DIMS = {"1: over the classes": 1, "0: over the samples, which is wrong": 0}


def controls() -> mo.ui.dictionary:
    """The first sample's outputs, and the dimension of the softmax."""
    moving = page.sliders(("z₀₀", "z₀₁"), BATCH[0], reach=REACH)
    return mo.ui.dictionary({**moving, "dim": page.choice("dim", DIMS)})


def view(v: dict[str, Any]) -> page.View:
    """The six samples of the tutorial's text, of which the first moves."""
    z = torch.tensor([(v["z₀₀"], v["z₀₁"]), *BATCH[1:]])
    dim = DIMS[v["dim"]]
    estimate = softmax(z, dim)
    numbers: dict[str, page.Number] = {
        "ŷ of sample 0": estimate[0],
        "Σ_h ŷ of each sample": estimate.sum(1),
        "Σ_i ŷ of each class": estimate.sum(0),
    }
    rows = [[f"i = {i}", *z[i], *estimate[i], estimate[i].sum()] for i in range(len(z))]
    points = page.mark(softmax_map(1, REACH), z[:, 0], z[:, 1], "the six samples")
    body = page.stack(
        page.words(
            "A batch has one row for each sample $i$ and one column for each output $h$: shape $(N, H)$. The softmax "
            "runs **over the classes, dimension 1**, so every row sums to one. Over dimension 0 the samples compete "
            "with one another: the columns sum to one, no error is raised, and every number is wrong. Try it."
        ),
        page.readout(numbers),
        page.table("The batch", ["sample", "z₀", "z₁", "ŷ₀", "ŷ₁", "ŷ₀ + ŷ₁"], rows),
        page.picture(points),
        page.code(f"ls.softmax(z, dim={dim})  # z of shape (6, 2)"),
    )
    return page.View(numbers, body)
