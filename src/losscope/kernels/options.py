"""What a call asks of a kernel, and what it may give back beside the loss."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

REDUCED = ("mean", "sum")
_LARGEST = 2**63 - 1


class CategoricalOptions(NamedTuple):
    """The options of cross-entropy, all of them; the defaults are torch's."""

    ignore_index: int = -100
    reduction: str = "mean"
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    z_loss: float = 0.0
    softcap: float | None = None
    normalizer: float | Tensor | str | None = None
    return_stats: bool = False


def are_plain(options: CategoricalOptions, *, soft: bool) -> bool:
    """The loss alone, as one number, by options that the checks at the edge have nothing to say on."""
    softcap = 0.0 if options.softcap is None else options.softcap
    numbers = options.label_smoothing, options.focal_gamma, options.z_loss, softcap
    if options.normalizer is not None or options.return_stats or options.reduction not in REDUCED:
        return False
    if any(type(x) not in (int, float) or not 0 <= x < math.inf for x in numbers) or options.label_smoothing > 1:
        return False
    may_be_ignored = range(-_LARGEST, 0 if soft else _LARGEST)
    hard = not soft and not options.label_smoothing
    return options.softcap != 0 and (hard or not options.focal_gamma) and options.ignore_index in may_be_ignored


class LinearOptions(NamedTuple):
    """What a linear layer with its loss may leave out or make twice; its other options are those of its loss."""

    filter_eps: float | None = None
    recompute: bool = False


ALL_AT_ONCE = LinearOptions()
"""Nothing left out, and nothing made twice."""


class BinaryOptions(NamedTuple):
    """The options of binary cross-entropy with logits."""

    reduction: str = "mean"
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    ignore_index: float | None = None


class Stats(NamedTuple):
    """What one pass over the logits also tells, per sample and without gradient.

    Attributes:
        counted: v_i, False where the sample is ignored.
        correct: d_i = y_i; False where the sample is ignored.
        entropy: −Σ_h ŷ_ih ln ŷ_ih, in nats.
        max_probability: max_h ŷ_ih.
        logsumexp: ln Σ_h exp z_ih, after the softcap.
    """

    counted: Tensor
    correct: Tensor
    entropy: Tensor
    max_probability: Tensor
    logsumexp: Tensor

    @property
    def accuracy(self) -> Tensor:
        """Σ v_i [d_i = y_i] / Σ v_i, NaN when nothing counts."""
        return self.correct.sum().to(torch.float64) / self.counted.sum()
