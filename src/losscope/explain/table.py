"""The numbers of a step as a table of text: what the terminal, the notebook and Markdown all show."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from losscope.explain.numbers import formatted, scalar
from losscope.explain.step import Step
from losscope.explain.view import View

_NARROW_FROM = 8  # columns
_WIDE, _NARROW = 8, 6
_WORDS = {"i": "row", "h": "output", "o": "output", "d": "feature"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number as text, and whether its output is true or its target ignored."""

    text: str
    true: bool = False
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows and columns with their labels, or a ``scalar`` alone.

    ``head_width`` is what the label of a column may take, ``more`` says what is left out.
    """

    heads: list[str]
    labels: list[str]
    cells: list[list[Cell]]
    head_width: int = _WIDE
    more: str = ""
    scalar: str = ""


def table(step: Step, view: View) -> Table:
    """A scalar is one cell, a vector one line, a matrix a table."""
    if not step.axes:
        return Table([], [], [], scalar=scalar(float(step.value)))
    value = step.value
    for dim, axis in enumerate(step.axes):
        value = value.index_select(dim, _index(view.chosen[axis], value))
    matrix = value if value.ndim == 2 else value.unsqueeze(0)
    labels = view.labels[step.axes[0]] if value.ndim == 2 else [""]
    width = _NARROW if matrix.shape[1] >= _NARROW_FROM else _WIDE
    more = ", ".join(_more(axis, view.left_out(axis)) for axis in step.axes if view.left_out(axis))
    heads = view.labels[step.axes[-1]]
    # A class's name may be cut short, a number may not.
    head_width = width if view.named else max(map(len, heads), default=width)
    return Table(heads, labels, _cells(step, view, formatted(matrix, width)), head_width, more)


def _cells(step: Step, view: View, texts: list[list[str]]) -> list[list[Cell]]:
    if step.axes == "ih":
        marks = zip(view.truth.tolist(), view.ignored.tolist(), strict=True)
        return [
            [Cell(*cell) for cell in zip(row, true, ignored, strict=True)]
            for row, (true, ignored) in zip(texts, marks, strict=True)
        ]
    return [[Cell(text) for text in row] for row in texts]


def _more(axis: str, count: int) -> str:
    return f"{count:,} more {_WORDS[axis]}{'s' if count > 1 else ''}"


def _index(chosen: list[int], like: Tensor) -> Tensor:
    return like.new_tensor(chosen, dtype=torch.int64)
