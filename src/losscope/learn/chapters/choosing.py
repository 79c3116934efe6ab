"""Choosing a loss: a few questions, and the code that answers them, run."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

import losscope as ls
from losscope.learn import page

TITLE = "Choosing a loss"


class Choice(NamedTuple):
    """A row of the decision table."""

    target: str
    meaning: str
    loss: str
    example: str
    options: tuple[str, ...] = ()


RARE, NOISY, VOID = "some classes are rare", "some labels are wrong", "some targets must not count"
EXTRAS = {RARE: "focal_gamma=2.0", NOISY: "label_smoothing=0.1", VOID: "ignore_index=-100"}
INDEX = "z, y = torch.randn(4, 3), torch.tensor([0, 2, 1, 2])"
LABELS = "z, m = torch.randn(4, 3), torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])"
CHOICES = {
    "one of H classes": Choice("index y (N,)", "logits of one distribution", "CrossEntropyLoss", INDEX, tuple(EXTRAS)),
    "a distribution over H classes": Choice(
        "soft q (N, H)",
        "logits of one distribution",
        "CrossEntropyLoss",
        "z, q = torch.randn(4, 3), ls.softmax(torch.randn(4, 3), dim=1)",
        (NOISY,),
    ),
    "yes or no": Choice(
        "m (N, 1), 0 or 1",
        "one logit",
        "BCEWithLogitsLoss",
        "z, m = torch.randn(4, 1), torch.tensor([[1.0], [0], [0], [1]])",
        tuple(EXTRAS),
    ),
    "any subset of H labels": Choice(
        "multi-hot m (N, H)", "one logit for each label", "BCEWithLogitsLoss", LABELS, tuple(EXTRAS)
    ),
    "a value": Choice("y (N, 1)", "the value", "MSELoss", "z, y = torch.randn(4, 1), torch.randn(4, 1)"),
    "a positive value, where ratios matter": Choice(
        "y > 0 (N, 1)",
        "the logarithm of the value",
        "MSLELoss",
        "z, y = torch.randn(4, 1), torch.tensor([[1.0], [10], [100], [1000]])",
    ),
    "one of H classes, log-probabilities given": Choice(
        "index y (N,)",
        "log-probabilities",
        "NLLLoss",
        "z, y = ls.log_softmax(torch.randn(4, 3), dim=1), torch.tensor([0, 2, 1, 2])",
        (VOID,),
    ),
    "labels, only probabilities given": Choice(
        "multi-hot m (N, H)", "probabilities", "BCELoss", LABELS.replace("torch.randn(4, 3)", "torch.rand(4, 3)")
    ),
}


def views(v: dict[str, Any]) -> tuple[page.View]:
    """The row that fits, as code, and what the code gives."""
    choice = CHOICES[v["target"]]
    text = snippet(v)
    result = run(text)
    numbers: dict[str, page.Number] = {"loss(z, …)": result["value"], "d": result["decision"]}
    left_out = [name for name in choice.options if v[name] and name not in _chosen(v)]
    body = page.stack(
        page.words(
            "Ask what one target looks like, then what the network's raw outputs shall mean. The network itself gives "
            "raw outputs, without softmax or sigmoid."
        ),
        page.code(text),
        page.readout(numbers),
        *([page.note("info", f"Not beside {EXTRAS[RARE]}: {EXTRAS[name]}", []) for name in left_out]),
        page.table(
            "The decision table",
            ["a target is", "loss", "its form", "outputs mean"],
            [[name, row.loss, row.target, row.meaning] for name, row in CHOICES.items()],
        ),
        page.words(
            "A vocabulary so large that the logits do not fit: `ls.linear_cross_entropy(x, weight, y)`. Outputs that "
            "are impossible for a sample: a logit of −inf. Means over micro-batches or ranks: `normalizer=`."
        ),
    )
    return (page.View(("target", *choice.options), numbers, body),)


def _chosen(v: dict[str, Any]) -> list[str]:
    """The extras that this loss has; focal loss and smoothing exclude one another."""
    able = [name for name in CHOICES[v["target"]].options if v[name]]
    return [name for name in able if not (name == NOISY and RARE in able)]


def snippet(v: dict[str, Any]) -> str:
    """The code that the answers come to."""
    choice = CHOICES[v["target"]]
    options = ", ".join(EXTRAS[name] for name in _chosen(v))
    target = choice.example[3]
    void = f"{target}[-1] = -100  # must not count\n" if VOID in _chosen(v) else ""
    return (
        f"import torch\nimport losscope as ls\n\ntorch.manual_seed(0)\n{choice.example}\n{void}\n"
        f"loss = ls.{choice.loss}({options})\nvalue = loss(z, {target})\ndecision = loss.decode(z)"
    )


def run(text: str) -> dict[str, Any]:
    """What the code defines; the caller's random numbers stay as they are."""
    names: dict[str, Any] = {"ls": ls}
    with torch.random.fork_rng(devices=[]):
        exec(text, names)
    return names
