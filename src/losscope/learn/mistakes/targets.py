"""Targets that are not what the loss takes."""

from __future__ import annotations

import torch

from losscope.learn.mistakes.case import Case, Mistake, classes, labels, mistake
from losscope.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from losscope.targets import one_hot

CE, BCE = CrossEntropyLoss(), BCEWithLogitsLoss()


@mistake("target-dtype")
def _float_index() -> Mistake:
    z, y = classes()
    return Mistake(Case("loss(z, y)", CE, z, y), Case("loss(z, y.float())", CE, z, y.float()))


@mistake("target-shape")
def _column() -> Mistake:
    z, y = classes()
    return Mistake(Case("loss(z, y)", CE, z, y), Case("loss(z, y.unsqueeze(1))", CE, z, y.unsqueeze(1)))


@mistake("broadcast-target")
def _column_of_values() -> Mistake:
    z = torch.linspace(-1, 1, 64).unsqueeze(1)
    y = z + 0.1
    right = Case("ls.mse_loss(z, y)  # both (64, 1)", MSELoss(), z, y)
    return Mistake(right, Case("ls.mse_loss(z, y)  # (64, 1) and (64,)", MSELoss(), z, y.squeeze(1)))


@mistake("target-out-of-range")
def _labels_from_one() -> Mistake:
    z, y = classes()
    return Mistake(Case("loss(z, y)  # 0…4", CE, z, y), Case("loss(z, y)  # 1…5", CE, z, y + 1))


@mistake("multi-hot-target-for-cross-entropy")
def _multi_hot() -> Mistake:
    z, m = labels()
    right = Case("ls.binary_cross_entropy_with_logits(z, m)", BCE, z, m)
    return Mistake(right, Case("ls.cross_entropy(z, m)", CE, z, m))


@mistake("target-not-a-distribution")
def _no_distribution() -> Mistake:
    z, y = classes()
    t = one_hot(y, 5)
    right = Case("loss(z, 0.9 * t + 0.1 / 5)", CE, z, 0.9 * t + 0.02)
    return Mistake(right, Case("loss(z, t + 0.1)  # rows of sum 1.5", CE, z, t + 0.1))


@mistake("target-outside-unit-interval")
def _signs() -> Mistake:
    z, m = labels()
    return Mistake(Case("loss(z, m)  # 0 and 1", BCE, z, m), Case("loss(z, m)  # −1 and 1", BCE, z, 2 * m - 1))


@mistake("weight-length")
def _weight_too_short() -> Mistake:
    z, y = classes()
    line = "loss = ls.CrossEntropyLoss(weight=torch.ones({}))"
    right = Case(line.format(5), CrossEntropyLoss(torch.ones(5)), z, y)
    return Mistake(right, Case(line.format(4), CrossEntropyLoss(torch.ones(4)), z, y))


@mistake("loss-raises")
def _options_that_exclude_each_other() -> Mistake:
    z, y = classes()
    q = 0.9 * one_hot(y, 5) + 0.02
    right = Case("ls.CrossEntropyLoss()(z, q)", CE, z, q)
    wrong = Case("ls.CrossEntropyLoss(focal_gamma=2)(z, q)  # q: soft targets", CrossEntropyLoss(focal_gamma=2), z, q)
    return Mistake(right, wrong)
