"""What counts: ignored targets, padding, weights, the divisor of an accumulated mean."""

from __future__ import annotations

import torch

from losscope.learn.mistakes.case import Case, Mistake, classes, mistake
from losscope.linting import History
from losscope.losses import CrossEntropyLoss

CE = CrossEntropyLoss()


@mistake("nothing-counts")
def _everything_ignored() -> Mistake:
    z, y = classes()
    wrong = Case("loss(z, y)  # every y is −100", CE, z, torch.full_like(y, -100))
    return Mistake(Case("loss(z, y)", CE, z, y), wrong)


@mistake("weighted-mean")
def _weight_that_cancels() -> Mistake:
    z, y = classes()
    w = torch.tensor([1.0, 1.0, 1.0, 1.0, 10.0])
    alone = y[:1].repeat(len(y))
    right = Case("ls.CrossEntropyLoss(weight=w, normalizer=len(y))(z, y)", CrossEntropyLoss(w, normalizer=256), z, y)
    wrong = Case("ls.CrossEntropyLoss(weight=w)(z, y)  # all of one class", CrossEntropyLoss(w), z, alone)
    return Mistake(right, wrong)


@mistake("class-imbalance")
def _rare_classes() -> Mistake:
    z, y = classes(h=2)
    often = torch.zeros_like(y)
    often[:8] = 1
    return Mistake(
        Case("loss(z, y)", CE, z, y),
        Case("loss(z, y)  # 248 of class 0, 8 of class 1", CE, z, often),
    )


@mistake("padding-counted")
def _padding() -> Mistake:
    z, y = classes(32, 12, 20)
    y = y.clamp(min=1)
    lengths = torch.arange(32) % 12 + 6
    padded = y.where(torch.arange(20) < lengths.unsqueeze(1), 0)
    right = Case("ls.CrossEntropyLoss(ignore_index=0)(z, y)", CrossEntropyLoss(ignore_index=0), z, padded)
    return Mistake(right, Case("ls.CrossEntropyLoss()(z, y)  # 0 is padding", CE, z, padded))


@mistake("unequal-valid-counts")
def _accumulated_means() -> Mistake:
    z, y = classes(272)

    def accumulated(text: str, *counts: int) -> Case:
        return Case(text, CE, z, y, known={"history": History(tuple(map(float, counts)))}, micro_batches=counts)

    right = accumulated("loss(z, y).backward()  # 136 targets in each micro-batch", 136, 136)
    return Mistake(right, accumulated("loss(z, y).backward()  # 16 targets, then 256", 16, 256))
