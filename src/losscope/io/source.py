"""A source: the outputs z and the targets of the same rows, read a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from losscope.errors import InputError

Scan = Callable[[int, int, int], Iterator[Tensor]]


class Batch(NamedTuple):
    """Some rows: raw outputs z, (N,) or (N, H) or more, and their targets, in the dtypes of ``Source``."""

    outputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Field:
    """One array of a file, its first dimension the samples.

    ``scan(rows, start, stop)`` yields the rows from ``start`` up to ``stop``, ``rows`` at a time, the last batch
    shorter where they do not divide. Each scan opens the file anew, so that nothing is kept between two of them.
    ``begins`` are the rows at which a row group or a file begins, where there are such. ``is_text``: nobody chose the
    dtype, it was made of how the numbers are written.
    """

    path: Path
    name: str
    rows: int
    scan: Scan
    begins: tuple[int, ...] = ()
    is_text: bool = False

    @cached_property
    def _first(self) -> Tensor:
        return next(self.scan(1, 0, 1))

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...): the rows and the shape of each."""
        return (self.rows, *self._first.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype it is read as."""
        return self._first.dtype

    def converted(self, convert: Callable[[Tensor], Tensor]) -> Field:
        """The same field, each batch converted."""
        return replace(self, scan=lambda rows, start, stop: map(convert, self.scan(rows, start, stop)))

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"'{self.name}', {dtype} {self.shape}, from {self.path}"


class Source:
    """Outputs and targets found in one file, or in two.

    They keep the dtype they were written in, with two exceptions. Integer targets become int64, the dtype of an
    index. Integers in outputs (N, H) become float32 (float64 where that would round), as whole numbers of a
    hand-written table; integers in outputs (N,) stay, since they may be decisions that no loss should take for
    logits. A text names no dtype: ``taken_as`` gives its whole numbers and truth values
    that of a loss.

    Args:
        outputs: the field of z.
        targets: the field of the targets.

    Raises:
        InputError: they have no rows, different numbers of rows, or a row that cannot be read.
    """

    def __init__(self, outputs: Field, targets: Field) -> None:
        for field in (outputs, targets):
            _check_rows(field)
        if outputs.rows != targets.rows:
            raise InputError(
                str(outputs.path),
                "one target for each row of outputs",
                f"{outputs.rows} rows of '{outputs.name}' and {targets.rows} of '{targets.name}'",
                "keep only the rows that belong together, or name the other array",
            )
        self.outputs = outputs.converted(_float_where_classes)
        self.targets = targets.converted(_index_as_int64)

    def taken_as(self, *, indices: bool) -> Source:
        """The same rows for a loss of such targets: what a text holds gets the dtype that it takes."""
        outputs, targets = self.outputs, self.targets
        if outputs.is_text:
            outputs = outputs.converted(_float_where_whole)
        if targets.is_text:
            targets = targets.converted(_index_where_whole if indices else _float)
        return Source(outputs, targets)

    def __len__(self) -> int:
        """N, the number of rows."""
        return self.outputs.rows

    @property
    def begins(self) -> tuple[int, ...]:
        """The rows of z at which a row group begins: where ranks best divide the file between them."""
        return self.outputs.begins

    def describe(self) -> str:
        """What was found: names, dtypes, shapes and files, a line each."""
        return f"outputs: {self.outputs}\ntargets: {self.targets}"

    def batches(self, rows: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """The rows from ``start`` up to ``stop`` in order, ``rows`` at a time, the last batch perhaps shorter.

        A rank of several reads its own part by ``start`` and ``stop``; what lies outside is not read.

        Raises:
            InputError: a row cannot be read; ``rows`` is not positive, or ``start`` and ``stop`` lie outside.
        """
        stop = len(self) if stop is None else stop
        if rows < 1 or not 0 <= start <= stop <= len(self):
            raise InputError(
                "Source.batches",
                f"rows ≥ 1 and 0 ≤ start ≤ stop ≤ {len(self)}",
                f"rows={rows}, start={start}, stop={stop}",
                "ask for rows that are there",
            )
        both = zip(self.outputs.scan(rows, start, stop), self.targets.scan(rows, start, stop), strict=True)
        return (Batch(z, y) for z, y in both)

    def read(self) -> Batch:
        """All rows at once.

        Raises:
            InputError: a row cannot be read.
        """
        return next(self.batches(len(self)))


def _check_rows(field: Field) -> None:
    if field.rows == 0:
        raise InputError(
            str(field.path), "at least one row", f"'{field.name}' with none", "check how the file was written"
        )
    _ = field.shape  # the first row is read now: what is wrong with all rows is said at once


def _is_integer(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() and tensor.dtype != torch.bool


def _float_where_classes(outputs: Tensor) -> Tensor:
    return _float_where_whole(outputs) if outputs.ndim > 1 else outputs


def _float_where_whole(x: Tensor) -> Tensor:
    return _float(x) if _is_integer(x) else x


def _float(x: Tensor) -> Tensor:
    """Whole numbers and truth values as float32, and as float64 where that would round."""
    if x.is_floating_point():
        return x
    short, long = x.to(torch.float32), x.to(torch.float64)
    return short if bool((short == long).all()) else long


def _index_where_whole(targets: Tensor) -> Tensor:
    """One number a row is an index where it has no fraction; more of them are shares of the classes."""
    if targets.ndim > 1:
        return _float(targets)
    index = targets.to(torch.int64)
    return index if bool((index == targets).all()) else targets  # unequal too: what no int64 holds


def _index_as_int64(targets: Tensor) -> Tensor:
    if targets.dtype == torch.uint64 and bool((targets.view(torch.int64) < 0).any()):
        raise InputError("targets", "integers that int64 holds", "one above 2⁶³", "write the targets as class indices")
    return targets.to(torch.int64) if _is_integer(targets) else targets


def by_slices(take: Callable[[int, int], Tensor]) -> Scan:
    """The scan of an array whose rows ``take(start, stop)`` reads directly."""

    def scan(rows: int, start: int, stop: int) -> Iterator[Tensor]:
        for first in range(start, stop, rows):
            yield take(first, min(first + rows, stop))

    return scan


def rechunk(tensors: Iterator[Tensor], rows: int) -> Iterator[Tensor]:
    """The same rows in the same order, ``rows`` at a time, whatever pieces they come in.

    Example:
        >>> pieces = iter([torch.zeros(2), torch.zeros(1), torch.zeros(4)])
        >>> [len(batch) for batch in rechunk(pieces, 3)]
        [3, 3, 1]
    """
    rest: list[Tensor] = []
    for tensor in tensors:
        rest.append(tensor)
        if sum(map(len, rest)) >= rows:
            pieces = torch.split(torch.cat(rest), rows)
            rest = [piece for piece in pieces[-1:] if len(piece) < rows]
            yield from pieces[: len(pieces) - len(rest)]
    if sum(map(len, rest)):
        yield torch.cat(rest)
