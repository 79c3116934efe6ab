"""Every control of the tutorial, made once: what is set in one chapter is found in the next."""

from __future__ import annotations

from typing import Any

import marimo as mo

from losscope.learn import page
from losscope.learn.chapters import batches, choosing, cross_entropy, multi_label, stability, targets, wrong
from losscope.linting import RULES


def controls() -> mo.ui.dictionary:
    """By the names that the chapters give them."""
    return mo.ui.dictionary({**_outputs_and_options(), **_of_one_chapter()})


def _outputs_and_options() -> dict[str, Any]:
    """z, the truth, temperature, γ and ε: the same in every chapter that has them."""
    return {
        **page.sliders(("z₀", "z₁", "z₂"), (1.0, 2.5, -0.5), reach=5),
        "y": page.amount("true class y", 0, 2, 1, 0),
        "m": page.several("true labels", multi_label.LABELS, ["label 0", "label 1"]),
        "T": page.amount("temperature T", 0.2, 5.0, 0.1, 1.0),
        "γ": page.amount("γ (focal)", 0.0, 5.0, 0.5, 0.0),
        "ε": page.amount("ε (smoothing)", 0.0, 0.5, 0.05, 0.0),
    }


def _of_one_chapter() -> dict[str, Any]:
    rules = [wrong.FIRST, *(rule for rule in RULES if rule != wrong.FIRST)]
    return {
        **page.sliders(("z₅₀", "z₅₁"), batches.BATCH[-1], reach=batches.REACH),
        "dim": page.choice("dim", batches.DIMS),
        "form": page.choice("form", targets.FORMS),
        "y₀": page.amount("y₀", 0, 3, 1, 0),
        "ε of q": page.amount("ε of the soft target", 0.0, 1.0, 0.05, 0.2),
        "labels": page.several("labels of sample 0", targets.CLASSES, ["cat", "dog"]),
        "z": page.amount("z", -stability.REACH, stability.REACH, 1, 95),
        "precision": page.choice("precision", stability.DTYPES),
        **{name: page.amount(name, 0.0, 5.0, 0.5, 1.0) for name in cross_entropy.WEIGHTS},
        "ignored": page.several("ignored samples, v = 0", cross_entropy.SAMPLES),
        "log₁₀ y₀": page.amount("log₁₀ y₀", -1, 4, 0.5, 0),
        "log₁₀ y₁": page.amount("log₁₀ y₁", -1, 4, 0.5, 3),
        "ratio": page.amount("estimate ÷ truth", 0.2, 3.0, 0.05, 1.5),
        "target": page.choice("a target is", choosing.CHOICES),
        **{name: mo.ui.switch(label=name) for name in choosing.EXTRAS},
        "rule": page.choice("rule", rules),
        "wrong": mo.ui.switch(value=True, label="plant the mistake"),
    }
