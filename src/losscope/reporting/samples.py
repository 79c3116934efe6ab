"""Chosen samples, each taken apart into the steps from z to ℓ, as a table of one column for each output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from losscope.explain import Explanation, Step, explain
from losscope.figures.numbers import number
from losscope.losses import Loss
from losscope.reporting.data import check_rows, on_logits
from losscope.summary import SummaryResult
from losscope.summary.data import Data, row
from losscope.targets import TargetKind

MOST_COLUMNS = 7

__all__ = ["Row", "Sample", "choose", "explain_rows", "number", "take_apart"]


@dataclass(frozen=True, eq=False)
class Row:
    """One step of one sample.

    Attributes:
        step: the step, with its formula and its sentence.
        cells: its numbers at the outputs shown, or those of the sample as a whole.
        by_output: whether there is one for each output shown.
    """

    step: Step
    cells: list[float]
    by_output: bool


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample step by step.

    Attributes:
        index: i.
        why: why it was chosen.
        outputs: the outputs h that are shown.
        names: their names.
        true: those of them that the target names.
        decided: those of them that the decision names.
        num_outputs: H, shown or not.
        rows: the steps.
    """

    index: int
    why: str
    outputs: list[int]
    names: list[str]
    true: list[int]
    decided: list[int]
    num_outputs: int
    rows: list[Row]

    def marks(self, h: int) -> list[str]:
        """What is to be said of an output: that it is true, that it is decided."""
        return [word for word, which in (("true", self.true), ("decided", self.decided)) if h in which]

    def columns(self, count: int) -> list[int]:
        """The first so many of the columns, those before the others that have a mark; in their order."""
        marked = [at for at, h in enumerate(self.outputs) if self.marks(h)]
        others = [at for at in range(len(self.outputs)) if at not in marked]
        return sorted([*marked, *others][:count])

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        chosen = {"outputs": self.outputs, "names": self.names, "true": self.true, "decided": self.decided}
        steps = [
            {
                "symbol": r.step.symbol,
                "name": r.step.name,
                "formula": r.step.text,
                "value": [finite(c) for c in r.cells],
            }
            for r in self.rows
        ]
        return {"index": self.index, "why": self.why, **chosen, "steps": steps}


def choose(summary: SummaryResult, count: int, wanted: Sequence[int] | None) -> dict[int, str]:
    """Which samples to show, and why: those that are asked for, or the first and the worst."""
    if wanted is not None:
        return dict.fromkeys(wanted, "asked for")
    worst = [sample.index for sample in summary.worst if math.isfinite(sample.loss)]
    chosen = {0: "the first"} if count else {}
    for rank, i in enumerate(dict.fromkeys(worst)):
        if len(chosen) < count:
            chosen.setdefault(i, "the worst" if rank == 0 else f"number {rank + 1} of the worst")
    return chosen


def take_apart(loss: Loss, data: Data, i: int, why: str, names: Sequence[str] | None) -> Sample:
    """The sample i in its steps; of a sample with further dimensions the first position."""
    x, y = row(data, i)
    loss, z = on_logits(loss, x)
    z, y = _first_position(z, y)
    many = z.shape[1] if z.ndim > 1 else 1
    true, decided = _truth(loss, y, z), _decision(loss, z)
    shown = _columns(z, [*true, *decided])
    return Sample(
        i,
        why,
        shown,
        [str(h) if names is None else names[h] for h in shown],
        [h for h in true if h in shown],
        [h for h in decided if h in shown],
        many,
        [_row(step, shown) for step in explain(loss, z, y).steps],
    )


def explain_rows(loss: Loss, data: Data, numbers: Sequence[int], names: Sequence[str] | None) -> Explanation:
    """These samples taken apart together, each row under its own number."""
    check_rows(data, numbers)
    pairs = [row(data, i) for i in numbers]
    z, y = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    explanation = explain(loss, z, y, rows=len(z), classes=names)
    if len(explanation.view.labels["i"]) != len(numbers):
        return explanation
    labels = {**explanation.view.labels, "i": [f"i={n}" for n in numbers]}
    return replace(explanation, view=replace(explanation.view, labels=labels))


def _first_position(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if z.ndim <= 2:
        return z, y
    return z.flatten(2)[:, :, 0], y.flatten(2)[:, :, 0] if y.shape == z.shape else y.flatten(1)[:, 0]


def _truth(loss: Loss, y: Tensor, z: Tensor) -> list[int]:
    """The outputs that the target says are true; a value is neither true nor false."""
    if loss.target_kind is TargetKind.VALUE:
        return []
    if y.shape == z.shape:
        return [int(h) for h in (y.flatten().double() > 0.5).nonzero()]
    return [h for h in y.flatten().tolist() if 0 <= h < z.shape[1]]


def _decision(loss: Loss, z: Tensor) -> list[int]:
    decision = loss.decode(z)
    if decision.dtype == torch.bool:
        return [int(h) for h in decision.flatten().nonzero().flatten()]
    return [] if decision.is_floating_point() else [int(decision.flatten()[0])]


def _columns(z: Tensor, first: Sequence[int]) -> list[int]:
    """All outputs where they fit, else the ones that matter and the largest, in the order of h."""
    outputs = z.flatten().double()
    if len(outputs) <= MOST_COLUMNS:
        return list(range(len(outputs)))
    largest = outputs.topk(MOST_COLUMNS).indices.tolist()
    return sorted(list(dict.fromkeys([*first, *largest]))[:MOST_COLUMNS])


def _row(step: Step, shown: Sequence[int]) -> Row:
    values = step.value.double().flatten().tolist()
    by_output = "h" in step.axes
    return Row(step, [values[h] for h in shown] if by_output else values, by_output)


def finite(value: float) -> float | str:
    """As JSON has it: what is no finite number as a word."""
    return value if math.isfinite(value) else str(value)
