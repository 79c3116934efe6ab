"""A mistake as data: what is called when it is right, what when it is wrong; and outputs of models to call it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.linting import LintResult, lint
from losscope.losses import Loss


def identity(z: Tensor) -> Tensor:
    """The raw outputs as they are."""
    return z


class Measured(NamedTuple):
    """The loss, and its gradient to the model's raw outputs; or why there is neither."""

    loss: Tensor | None
    gradient: Tensor | None
    error: InputError | None


@dataclass(frozen=True)
class Case:
    """One call of a loss.

    Attributes:
        code: the line as it stands in a program.
        loss: the loss.
        z: the model's raw outputs.
        y: the targets as the loss is given them.
        given: from z to what the loss is given.
        known: what else the linter is told.
        micro_batches: how many samples each has, where the loss is the mean of their means.
    """

    code: str
    loss: Loss
    z: Tensor
    y: Tensor
    given: Callable[[Tensor], Tensor] = identity
    known: Mapping[str, object] = field(default_factory=dict)
    micro_batches: tuple[int, ...] = ()

    def measure(self) -> Measured:
        """Call the loss, and take its gradient where one reaches z."""
        z = self.z.clone().requires_grad_()
        try:
            value = self._value(z)
        except InputError as error:
            return Measured(None, None, error)
        reached = torch.autograd.grad(value, z)[0] if value.requires_grad else torch.zeros_like(z)
        return Measured(value.detach(), reached, None)

    def _value(self, z: Tensor) -> Tensor:
        if not self.micro_batches:
            value: Tensor = self.loss(self.given(z), self.y)
            return value
        outputs, targets = (torch.split(part, list(self.micro_batches)) for part in (self.given(z), self.y))
        return torch.stack([self.loss(*one) for one in zip(outputs, targets, strict=True)]).mean()

    def lint(self) -> LintResult:
        """What the linter says."""
        return lint(self.given(self.z), self.y, loss=self.loss, **self.known)  # type: ignore[arg-type]


class Mistake(NamedTuple):
    """The same thing right and wrong."""

    right: Case
    wrong: Case


MISTAKES: dict[str, Callable[[], Mistake]] = {}


def mistake(rule: str) -> Callable[[Callable[[], Mistake]], Callable[[], Mistake]]:
    """Make the function below it the planted mistake of this rule."""

    def register(make: Callable[[], Mistake]) -> Callable[[], Mistake]:
        MISTAKES[rule] = make
        return make

    return register


def classes(n: int = 256, h: int = 5, *shape: int, strength: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Raw outputs of a calibrated model, and labels drawn from what it says; strength 0 knows nothing."""
    g = torch.Generator().manual_seed(seed)
    z = strength * torch.randn(n, h, *shape, generator=g)
    p = z.movedim(1, -1).softmax(-1).reshape(-1, h)
    return z, torch.multinomial(p, 1, generator=g).reshape(n, *shape)


def labels(n: int = 256, h: int = 5, strength: float = 3.0) -> tuple[Tensor, Tensor]:
    """The same for labels that are each true on their own."""
    g = torch.Generator().manual_seed(0)
    z = strength * torch.randn(n, h, generator=g)
    return z, torch.bernoulli(z.sigmoid(), generator=g)
