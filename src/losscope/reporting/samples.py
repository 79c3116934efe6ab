"""Chosen samples, each taken apart into the steps from z to ℓ, as a table of one column for each output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from losscope.explain import explain
from losscope.explain.step import Step
from losscope.losses import Loss
from losscope.reporting.data import Data, row
from losscope.summary import SummaryResult

MOST_COLUMNS = 10


@dataclass(frozen=True, eq=False)
class Row:
    """One step of one sample.

    Attributes:
        step: the step, with its formula and its sentence.
        cells: its numbers at the outputs shown, or a single one.
    """

    step: Step
    cells: list[float]


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

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        steps = [
            {"symbol": r.step.symbol, "name": r.step.name, "formula": r.step.text, "value": [finite(c) for c in r.cells]}
            for r in self.rows
        ]
        chosen = {"outputs": self.outputs, "names": self.names, "true": self.true, "decided": self.decided}
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
    z, y = _first_position(*row(data, i))
    steps = explain(loss, z, y).steps
    many = z.shape[1] if z.ndim > 1 else 1
    true, decided = _truth(y, z), _decision(loss, z)
    shown = _columns(z, [*true, *decided])
    return Sample(
        i,
        why,
        shown,
        [str(h) if names is None else names[h] for h in shown],
        [h for h in true if h in shown],
        [h for h in decided if h in shown],
        many,
        [Row(step, _cells(step, shown, many)) for step in steps],
    )


def _first_position(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if z.ndim <= 2:
        return z, y
    return z.flatten(2)[:, :, 0], y.flatten(2)[:, :, 0] if y.shape == z.shape else y.flatten(1)[:, 0]


def _truth(y: Tensor, z: Tensor) -> list[int]:
    """The outputs that the target says are true."""
    if z.ndim < 2 or y.shape != z.shape:
        index = not y.is_floating_point() and z.ndim > 1
        return [h for h in y.flatten().tolist() if 0 <= h < z.shape[1]] if index else []
    row = y[0].double()
    largest = [int(row.argmax())] if float(row.max()) > 0 else []
    return [*largest, *(h for h in (row > 0.5).nonzero().flatten().tolist() if h not in largest)]


def _decision(loss: Loss, z: Tensor) -> list[int]:
    decision = loss.decode(z)
    if decision.dtype == torch.bool:
        return [int(h) for h in decision.flatten().nonzero().flatten()] if z.ndim > 1 else []
    return [] if decision.is_floating_point() else [int(decision.flatten()[0])]


def _columns(z: Tensor, first: Sequence[int]) -> list[int]:
    """All outputs where they fit, else the ones that matter and the largest, in the order of h."""
    row = z.flatten() if z.ndim > 1 else z[:1]
    if len(row) <= MOST_COLUMNS:
        return list(range(len(row)))
    largest = row.double().nan_to_num(neginf=-math.inf).topk(MOST_COLUMNS).indices.tolist()
    return sorted(list(dict.fromkeys([*first, *largest]))[:MOST_COLUMNS])


def _cells(step: Step, shown: Sequence[int], many: int) -> list[float]:
    values = step.value.double().flatten().tolist()
    return [values[h] for h in shown] if len(values) == many else values


def finite(value: float) -> float | str:
    """As JSON has it: what is no finite number as a word."""
    return value if math.isfinite(value) else str(value)
