"""Which calls of a loss add up to one optimizer step, seen from the gradients and from nothing else."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from losscope.kernels.options import CategoricalOptions
from losscope.kernels.reference import divisor
from losscope.losses import Loss

_DEPTH = 256


def nearest_leaf(z: Tensor) -> Tensor | None:
    """The tensor nearest to z whose gradient is accumulated: mostly the bias or weight of the last layer."""
    if z.grad_fn is None:
        return z if z.requires_grad else None
    nodes, seen = deque([z.grad_fn]), 0
    while nodes and seen < _DEPTH:
        node: Any = nodes.popleft()
        seen += 1
        if hasattr(node, "variable"):
            leaf: Tensor = node.variable
            return leaf
        nodes.extend(n for n, _ in node.next_functions if n is not None)
    return None


def mean_divisor(loss: Loss | nn.Module, z: Tensor, y: Tensor) -> Tensor:
    """What the mean divides by: Σ v_i w_{y_i} of index targets, the number of targets that count of others.

    A scalar on z's device, so that nothing waits for it.
    """
    weight, ignored = getattr(loss, "weight", None), getattr(loss, "ignore_index", None)
    if not y.is_floating_point():
        options = CategoricalOptions(ignore_index=-100 if ignored is None else ignored)
        return divisor(y, weight, options, torch.float64).sum()
    counted = torch.ones_like(y) if ignored is None else y != ignored
    return counted.sum(dtype=torch.float64)


class Accumulation:
    """The divisors of the means whose gradients were added up, as far as this window has seen.

    In the backward pass of a call, before it reaches the last layer, that layer's gradient is absent or 0 where a new
    optimizer step begins, and is not where an earlier call's is being added to. So no optimizer has to be known, and
    a step that a gradient scaler skips is no mistake.

    Attributes:
        open: this call and the next are followed.
        divisors: of one optimizer step, in order.
    """

    def __init__(self) -> None:
        self.open = False
        self.divisors: list[Tensor] = []
        self._begun = False
        self._calls = 0

    def start(self) -> None:
        """Follow the calls from here until one whole step was seen."""
        self.open, self._begun, self._calls, self.divisors = True, False, 0, []

    def follow(self, z: Tensor, n: Tensor) -> None:
        """Wait for the backward pass of this call."""
        leaf = nearest_leaf(z)
        if leaf is None or leaf is z:
            self.open = False
            return
        self._calls += 1
        z.register_hook(lambda _: self._arrived(leaf, n))  # type: ignore[no-untyped-call]

    def _arrived(self, leaf: Tensor, n: Tensor) -> None:
        """The gradient of one call is on its way to ``leaf``; it is left as it is."""
        calls, self._calls = self._calls, 0
        if calls != 1:  # several losses in one backward pass: no accumulation
            self.open, self.divisors = False, []
        elif leaf.grad is None or not bool(leaf.grad.any()):
            self.open, self._begun, self.divisors = self.open and not self._begun, True, [n]
        else:
            self.divisors.append(n)
