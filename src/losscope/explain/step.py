"""One step of a computation, and the trail that the steps of a loss make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


class Formula(NamedTuple):
    """A formula in LaTeX and as plain text."""

    latex: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step on the way from raw outputs to the loss and its gradient.

    Attributes:
        symbol: what formulas call it: "z", "ŷ", "ℓ", "L", "∂L/∂z".
        name: what it is called in words.
        latex: its formula in LaTeX.
        text: the same formula as plain text.
        value: its numbers, complete, one row per sample (or position), without gradient.
        sentence: what it means, or what to see in it.
        axes: what the dimensions of ``value`` run over: "i" samples, "h" outputs, "d" features.
    """

    symbol: str
    name: str
    latex: str
    text: str
    value: Tensor = field(repr=False)
    sentence: str
    axes: str = ""


class Trail:
    """The steps so far: each is computed from the ones before it, which it reads by their symbols."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __getitem__(self, symbol: str) -> Tensor:
        return next(step.value for step in self.steps if step.symbol == symbol)

    def __contains__(self, symbol: str) -> bool:
        return any(step.symbol == symbol for step in self.steps)

    def add(
        self, symbol: str, name: str, latex: str, text: str, value: Tensor, sentence: str, axes: str = ""
    ) -> Tensor:
        """One more step; its numbers come back."""
        self.steps.append(Step(symbol, name, latex, text, value.detach(), sentence, axes))
        return value


class Check(NamedTuple):
    """What the loss or autograd calls its own answer, and the size of the terms whose rounding both share."""

    of: str
    size: float


class Worked(NamedTuple):
    """A loss worked out by its formulas.

    Attributes:
        steps: in the order in which they are computed.
        checks: by the symbol of a step, what it must agree with.
        notes: what the formulas give when they are computed as they stand on paper.
        truth: how true each output is, (N, H), where that has a meaning: the shown columns are chosen by it.
        counted: False where a target is ignored, of one row or of one element.
    """

    steps: list[Step]
    checks: dict[str, Check]
    notes: list[str]
    truth: Tensor | None = None
    counted: Tensor | None = None
