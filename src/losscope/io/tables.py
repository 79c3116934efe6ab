"""Tables of named columns, and how columns become tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.io.source import Field, rechunk


class Chunk(NamedTuple):
    """Consecutive rows of one file; ``first_row``, counted from 0 in that file, is there to name a bad row by."""

    path: Path
    first_row: int
    columns: pa.RecordBatch


class Table(Protocol):
    """Rows that are read in order."""

    @property
    def path(self) -> Path:
        """The file or the folder."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    @property
    def begins(self) -> tuple[int, ...]:
        """The rows at which a row group begins."""

    @property
    def is_text(self) -> bool:
        """Whether the dtypes are made of how the numbers are written."""

    def chunks(self, columns: list[str], rows: int, start: int, stop: int) -> Iterator[Chunk]:
        """The rows from start to stop in order, some at a time: ``rows``, or more where fewer would cost as much."""


class TableContents:
    """A table's columns, alone or as groups: z_0 … z_{H-1} together are ``z``."""

    def __init__(self, table: Table) -> None:
        self.path, self.table = table.path, table
        twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
        if twice:
            raise InputError(str(table.path), "columns of different names", f"twice {twice}", "rename one of the two")

    @property
    def names(self) -> list[str]:
        """The columns, each group by its prefix instead."""
        groups = group(self.table.columns)
        grouped = {name for members in groups.values() for name in members}
        single = [name for name in self.table.columns if name not in grouped]
        return single + [prefix for prefix in groups if prefix not in single]

    def holds(self, name: str) -> bool:
        """Whether it is a column, a group, or several columns separated by commas."""
        return bool(self._columns(name))

    def field(self, name: str) -> Field:
        """The column (N,), the column of lists (N, H), or the columns side by side (N, H)."""
        reader = _Reader(self.table, self._columns(name), side_by_side=name not in self.table.columns)
        return Field(self.path, name, self.table.rows, reader.scan, self.table.begins, self.table.is_text)

    def _columns(self, name: str) -> list[str]:
        if name in self.table.columns:
            return [name]
        groups = group(self.table.columns)
        if name in groups:
            return _without_gap(self.path, name, groups[name])
        several = [part.strip() for part in name.split(",")]
        return several if set(several) <= set(self.table.columns) else []


def group(columns: list[str]) -> dict[str, list[str]]:
    """Columns that differ in their last number only, in its order.

    Example:
        >>> group(["y", "z_1", "z_0"])
        {'z': ['z_0', 'z_1']}
    """
    numbered = [(match[1], int(match[2]), match[0]) for match in map(_NUMBERED.fullmatch, columns) if match]
    groups: dict[str, list[str]] = {}
    for prefix, _, name in sorted(numbered):
        groups.setdefault(prefix, []).append(name)
    return groups


_NUMBERED = re.compile(r"(.*?[^\d_])_?(\d+)", re.DOTALL)


def _without_gap(path: Path, prefix: str, columns: list[str]) -> list[str]:
    numbers = [int(match[2]) for match in map(_NUMBERED.fullmatch, columns) if match]
    if numbers != list(range(len(numbers))):
        raise InputError(
            str(path),
            f"columns {prefix}_0 … {prefix}_{len(numbers) - 1}, one for each class, from 0 without a gap",
            ", ".join(columns),
            "rename them, or name them one by one in the order of the classes, separated by commas",
        )
    return columns


@dataclass(frozen=True)
class _Reader:
    """The chosen columns as one tensor."""

    table: Table
    columns: list[str]
    side_by_side: bool

    def scan(self, rows: int, start: int, stop: int) -> Iterator[Tensor]:
        chunks = self.table.chunks(self.columns, rows, start, stop)
        return rechunk(map(self._tensor, chunks), rows)

    def _tensor(self, chunk: Chunk) -> Tensor:
        if not self.side_by_side and _is_list(chunk.columns.column(self.columns[0]).type):
            return lists(chunk, self.columns[0], self._width)
        tensors = [numbers(chunk, name) for name in self.columns]
        if not self.side_by_side:
            return tensors[0]
        dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
        return torch.stack([tensor.to(dtype) for tensor in tensors], dim=1)

    @cached_property
    def _width(self) -> int:
        """H: how many numbers the list in the first row has."""
        first = next(self.table.chunks(self.columns, 1, 0, 1))
        return len(_without_nulls(first, self.columns[0])[0])


def numbers(chunk: Chunk, name: str) -> Tensor:
    """A column of numbers or booleans as (N,).

    Raises:
        InputError: it holds something else, or a null.
    """
    values = _without_nulls(chunk, name)
    if not _is_number(values.type):
        raise InputError(
            str(chunk.path),
            f"numbers in column '{name}'",
            f"{values.type}, such as {values[0].as_py()!r} in row {chunk.first_row}",
            "write a number in every row (one word makes a whole column text): for the name of a class its index",
        )
    return torch.from_numpy(np.array(values.to_numpy(zero_copy_only=False)))


def lists(chunk: Chunk, name: str, width: int) -> Tensor:
    """A column of lists, all of H = ``width`` numbers, as (N, H).

    Raises:
        InputError: a list of another length, or something else than numbers in it.
    """
    values = _without_nulls(chunk, name)
    other = pc.index(pc.not_equal(pc.list_value_length(values), width), True).as_py()
    if other >= 0:
        raise InputError(
            str(chunk.path),
            f"lists of the same length in column '{name}', {width} as in the first row",
            f"{len(values[other])} in row {chunk.first_row + other}",
            "write one number for each class in every row",
        )
    flat = pa.RecordBatch.from_arrays([values.flatten()], [name])
    return numbers(Chunk(chunk.path, chunk.first_row, flat), name).reshape(len(values), width)


def _without_nulls(chunk: Chunk, name: str) -> pa.Array:
    values = chunk.columns.column(name)
    row = pc.index(pc.is_null(values), True).as_py()
    if row < 0 and _is_list(values.type):
        inside = pc.index(pc.is_null(values.flatten()), True).as_py()
        row = pc.list_parent_indices(values)[inside].as_py() if inside >= 0 else -1
    if row >= 0:
        raise InputError(
            str(chunk.path),
            f"a number in every row of column '{name}'",
            f"none in row {chunk.first_row + row} (counted from 0)",
            "drop the row or fill it; pandas writes NaN as such a null",
        )
    return values


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
