"""Which rows and columns of the numbers are shown, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from losscope.errors import InputError, position

_LINE = 74  # characters that a table may take: 80 less the indent and a mark for what is left out
_COLUMN = 7  # a narrow column and the space before it
_MOST_COLUMNS = 10


@dataclass(frozen=True, slots=True)
class View:
    """The chosen subscripts of every axis, their labels, and how many there are.

    The axes are "i" samples, "h" outputs, "d" features, and "o" outputs of all positions.

    Attributes:
        named: whether the outputs are called by the names of their classes.
        chosen: for each axis the subscripts that are shown.
        labels: for each axis their labels.
        totals: for each axis how many subscripts there are.
        truth: of the shown rows and columns, True where the output is true.
        ignored: the same, True where the target is ignored.
    """

    named: bool
    chosen: dict[str, list[int]]
    labels: dict[str, list[str]]
    totals: dict[str, int]
    truth: Tensor
    ignored: Tensor

    def left_out(self, axis: str) -> int:
        """How many subscripts of an axis are not shown."""
        return self.totals[axis] - len(self.chosen[axis])


def view(
    outputs: Tensor,
    truth: Tensor | None,
    counted: Tensor | None,
    sizes: Mapping[str, int],
    rows: int | Sequence[int],
    classes: Sequence[str] | None,
    positions: tuple[int, ...],
) -> View:
    """The first rows (or those asked for), and the columns that matter in them: the true ones and the largest."""
    n, h = outputs.shape
    i = _rows(rows, n)
    true = torch.zeros_like(outputs[i]) if truth is None else truth[i]
    row_labels = [_row_label(one, positions) for one in i]
    column = max(_COLUMN, len(f" h={h - 1}"))
    room = min(_MOST_COLUMNS, (_LINE - max(map(len, row_labels), default=0)) // column)
    columns = columns_that_matter(outputs[i], true, room)
    others = {axis: list(range(min(size, room))) for axis, size in sizes.items() if axis not in "ih"}
    heads = [f"h={one}" for one in columns] if classes is None else [_class(classes, one, h) for one in columns]
    ignored = torch.zeros_like(true[:, columns], dtype=torch.bool)
    if counted is not None:
        mask = ~counted[i]
        ignored = mask[:, columns] if mask.ndim == 2 else mask.unsqueeze(1).expand(-1, len(columns))
    return View(
        classes is not None,
        {"i": i, "h": columns, **others},
        {"i": row_labels, "h": heads, **{axis: [f"{axis}={k}" for k in ks] for axis, ks in others.items()}},
        {**sizes, "i": n, "h": h},
        (true[:, columns] > 0.5).cpu(),
        ignored.cpu(),
    )


def columns_that_matter(outputs: Tensor, truth: Tensor, room: int) -> list[int]:
    """Every column where they fit; else, of each row, the truest, the largest output, the second truest, and so on."""
    h = outputs.shape[1]
    if h <= room:
        return list(range(h))
    truest, largest = truth.topk(room, dim=1), outputs.nan_to_num().topk(room, dim=1)
    true = truest.indices.masked_fill(truest.values <= 0, -1)
    ranked = torch.stack((true, largest.indices), dim=2).movedim(0, -1).flatten().tolist()
    chosen = [column for column in dict.fromkeys(ranked) if column >= 0] or list(range(h))
    return sorted(chosen[:room])


def _rows(rows: int | Sequence[int], n: int) -> list[int]:
    if isinstance(rows, bool) or (isinstance(rows, int) and rows < 1):
        raise InputError("explain", "rows: how many to show, or which", repr(rows), "give a count above 0, or a list")
    if isinstance(rows, int):
        return list(range(min(rows, n)))
    bad = [one for one in rows if not -n <= one < n]
    if bad:
        raise InputError("explain", f"rows in 0…{n - 1}", repr(bad[0]), "choose rows that exist")
    return [one % n for one in rows]


def _row_label(row: int, positions: tuple[int, ...]) -> str:
    """i, and for an input of more dimensions the subscripts of the position."""
    if len(positions) < 2:
        return f"i={row}"
    return f"({','.join(map(str, position(row, positions)))})"


def _class(classes: Sequence[str], h: int, total: int) -> str:
    if len(classes) != total:
        raise InputError(
            "explain", f"classes: {total} names, one for each output", f"{len(classes)}", "give a name to every output"
        )
    return str(classes[h])
