"""Numbers that are not finite, or about to be."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.learn.mistakes.case import Case, Mistake, classes, labels, mistake
from losscope.links import sigmoid
from losscope.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss
from losscope.targets import one_hot

CE = CrossEntropyLoss()


def _right(z: Tensor, y: Tensor) -> Case:
    return Case("loss(z, y)", CE, z, y)


@mistake("non-finite-output")
def _nan() -> Mistake:
    z, y = classes()
    broken = z.clone()
    broken[0, 0] = torch.nan
    return Mistake(_right(z, y), Case("loss(z, y)  # one z is nan", CE, broken, y))


@mistake("fully-masked-row")
def _all_masked() -> Mistake:
    z, y = classes()
    masked = z.clone()
    masked[0] = -torch.inf
    return Mistake(_right(z, y), Case("loss(z, y)  # all outputs of sample 0 are −inf", CE, masked, y))


@mistake("masked-target")
def _truth_masked() -> Mistake:
    z, y = classes()
    truth = one_hot(y, 5, dtype=torch.bool)
    truth[1:] = False
    wrong = Case("loss(z.masked_fill(mask, −inf), y)  # the mask hides y₀", CE, z.masked_fill(truth, -torch.inf), y)
    return Mistake(_right(z, y), wrong)


@mistake("low-precision-overflow")
def _float16() -> Mistake:
    z, y = classes()
    return Mistake(_right(z, y), Case("loss(z.half(), y)  # z up to 50,000", CE, (8000 * z).clamp(-5e4, 5e4).half(), y))


@mistake("saturated-output")
def _saturated() -> Mistake:
    z, m = labels()
    z = 30 * z
    right = Case("ls.binary_cross_entropy_with_logits(z, m)", BCEWithLogitsLoss(), z, 1 - m)
    return Mistake(right, Case("ls.binary_cross_entropy(ls.sigmoid(z), m)", BCELoss(), z, 1 - m, sigmoid))
