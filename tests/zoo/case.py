"""One call of the linter: outputs, targets, a loss, and the mistake in them if there is one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from tests.zoo.models import Outputs
from torch import Tensor, nn

from losscope import Loss
from losscope.linting import LintResult, lint

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SIZES = (8, 16, 32, None)
"""How many samples: all there are at the end."""


@dataclass(frozen=True)
class Case:
    """What is linted.

    Attributes:
        name: the model, its stage, and what was done to it.
        z: outputs.
        y: targets.
        loss: a loss of losscope or torch, or a name.
        options: of ``lint``: step, history, held_out, select.
        rule: the mistake made; empty where there is none.
        hard: why outputs and targets alone may not tell it; empty where they must.
    """

    name: str
    z: Tensor
    y: Tensor
    loss: Loss | nn.Module | str
    options: Mapping[str, object] = field(default_factory=dict)
    rule: str = ""
    hard: str = ""

    def lint(self) -> LintResult:
        """What the linter says."""
        return lint(self.z, self.y, loss=self.loss, **self.options)

    def __str__(self) -> str:
        kind = str(self.z.dtype).removeprefix("torch.")
        loss = self.loss if isinstance(self.loss, str) else type(self.loss).__name__
        return f"{self.name}, {kind} {tuple(self.z.shape)}, {loss}"


def part(outputs: Outputs, n: int | None, seed: int = 0) -> Outputs:
    """n samples of them, or all."""
    if n is None or n >= len(outputs.z):
        return outputs
    some = torch.randperm(len(outputs.z), generator=torch.Generator().manual_seed(seed))[:n]
    return Outputs(outputs.name, outputs.z[some], outputs.y[some])


def parts(outputs: Outputs, sizes: tuple[int | None, ...] = SIZES) -> Iterator[Outputs]:
    """Of each size one part; a different one for each name."""
    for n in sizes:
        yield part(outputs, n, seed=len(outputs.name) + (n or 0))
