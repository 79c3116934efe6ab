"""Where things stand, whether anything was learnt, and how sure the outputs are."""

from __future__ import annotations

import torch

from losscope.learn.mistakes.case import Case, Mistake, classes, mistake
from losscope.losses import CrossEntropyLoss

CE = CrossEntropyLoss()


@mistake("class-dim-last")
def _classes_last() -> Mistake:
    z, y = classes(16, 5, 12)
    wrong = Case("loss(z, y)  # z is (16, 12, 5)", CE, z.movedim(1, -1).contiguous(), y)
    return Mistake(Case("loss(z, y)  # z is (16, 5, 12)", CE, z, y), wrong)


@mistake("shifted-labels")
def _shifted() -> Mistake:
    z, y = classes(16, 8, 40, strength=4.0)
    wrong = Case("loss(z, tokens)  # not shifted", CE, z, y.roll(1, 1))
    return Mistake(Case("loss(z[:, :, :-1], tokens[:, 1:])", CE, z, y), wrong)


@mistake("initial-loss")
def _starts_too_large() -> Mistake:
    z, _ = classes(strength=0.1)
    y = torch.arange(len(z)) % 5
    first = {"step": 0}
    wrong = Case("loss(z, y)  # the last layer starts 100 times too large", CE, 100 * z, y, known=first)
    return Mistake(Case("loss(z, y)  # the first step", CE, z, y, known=first), wrong)


@mistake("constant-output")
def _constant() -> Mistake:
    z, y = classes()
    return Mistake(Case("loss(z, y)", CE, z, y), Case("loss(z, y)  # dead ReLUs", CE, z[:1].repeat(len(z), 1), y))


@mistake("majority-collapse")
def _collapsed() -> Mistake:
    z, y = classes()
    collapsed = 0.1 * z + torch.tensor([8.0, 0, 0, 0, 0])
    return Mistake(
        Case("loss(z, y)", CE, z, y),
        Case("loss(z, y)  # every decision is class 0", CE, collapsed, y),
    )


@mistake("overconfident")
def _overconfident() -> Mistake:
    z, y = classes(2000)
    return Mistake(Case("loss(z, y)", CE, z, y), Case("loss(z, y)  # trained too long", CE, 4 * z, y))


@mistake("label-noise")
def _noise() -> Mistake:
    z, y = classes(2000, strength=6.0)
    noisy = y.clone()
    noisy[::5] = (y[::5] + 1 + torch.arange(len(y[::5])) % 4) % 5
    asked = {"select": "label-noise", "held_out": True}
    right = Case("loss(z, y)  # held out", CE, z, y, known=asked)
    return Mistake(right, Case("loss(z, y)  # one label of five is random", CE, z, noisy, known=asked))
