"""The truth in four forms: index, one-hot, soft, multi-hot."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from losscope.figures import target_grid
from losscope.learn import page
from losscope.losses import binary_cross_entropy_with_logits, cross_entropy
from losscope.targets import multi_hot, one_hot, recognise, smooth

TITLE = "Targets: index, one-hot, soft, multi-hot"
CLASSES = ("cat", "dog", "bird", "fish")
LOGITS = ((2.0, 0.5, -1.0, 0.0), (0.0, 1.0, 1.5, -0.5), (-1.0, 0.0, 0.5, 3.0))
OTHERS = (2, 3)
FORMS = {
    "index y": "ls.cross_entropy(z, y)",
    "one-hot t": "t = ls.one_hot(y, 4)\nls.cross_entropy(z, t)",
    "soft q": "ls.cross_entropy(z, q)  # a distribution: distillation, mixup, label smoothing",
    "multi-hot m": "ls.binary_cross_entropy_with_logits(z, m)  # each label on its own",
}


MOVED_BY = {"index y": ("y₀",), "one-hot t": ("y₀",), "soft q": ("y₀", "ε of q"), "multi-hot m": ("labels",)}


def views(v: dict[str, Any]) -> tuple[page.View]:
    """The target in the chosen form, and the loss that takes it."""
    z = torch.tensor(LOGITS, dtype=torch.float64)
    y = torch.tensor([v["y₀"], *OTHERS])
    target = _targets(y, v)[v["form"]]
    multi = v["form"] == "multi-hot m"
    loss = (binary_cross_entropy_with_logits if multi else cross_entropy)(z, target)
    sums = {"Σ_h of each row": target.sum(1)} if target.ndim == 2 else {}
    numbers: dict[str, page.Number] = {"target of sample 0": target[0], **sums, "L_mean (nats)": loss}
    kind = recognise(target, z).value
    body = page.stack(
        page.words(
            "The truth of a sample is a class index $y_i$. As a row with a single 1 it is **one-hot**, $t_{ih}$. A "
            "distribution instead of the 1 is a **soft** target, $q_{ih}$. Where several labels may be true at once, "
            "or none, it is **multi-hot**, $m_{ih}$, and nothing is said of its sum."
        ),
        page.readout(numbers),
        page.words(f"`ls.recognise(target, z)` takes it for: **{kind}**."),
        page.picture(target_grid(target, len(CLASSES), class_names=CLASSES)),
        page.code(FORMS[v["form"]]),
        page.words(
            "An index and its one-hot give the same loss. A one-hot row that is also a valid multi-hot row means "
            "something else there: every 0 is then a statement of its own, *this label is false*. That is why the loss "
            "is told which of them it gets, and never guesses."
        ),
    )
    return (page.View(("form", *MOVED_BY[v["form"]]), numbers, body),)


def _targets(y: Tensor, v: dict[str, Any]) -> dict[str, Tensor]:
    t = one_hot(y, len(CLASSES), dtype=torch.float64)
    labels = [[CLASSES.index(name) for name in v["labels"]], [1, 2], []]
    return {
        "index y": y,
        "one-hot t": t,
        "soft q": smooth(t, v["ε of q"]),
        "multi-hot m": multi_hot(labels, len(CLASSES), dtype=torch.float64),
    }
