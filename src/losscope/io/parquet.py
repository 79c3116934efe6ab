"""Parquet, one file or a folder of them, read a few pages at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from losscope.errors import InputError
from losscope.io.contents import reading
from losscope.io.tables import Chunk, TableContents


@dataclass(frozen=True)
class Part:
    """One file's footer, its schema, and how many rows each row group has."""

    path: Path
    footer: pq.FileMetaData
    schema: pa.Schema
    groups: list[int]

    @property
    def rows(self) -> int:
        """The rows of all its groups."""
        return sum(self.groups)


@dataclass(frozen=True)
class Parquet:
    """The files' rows one after the other, the files in the order of their paths."""

    path: Path
    parts: list[Part]

    @property
    def columns(self) -> list[str]:
        """The names in the first file."""
        return list(self.parts[0].schema.names)

    @property
    def rows(self) -> int:
        """The rows of all files."""
        return sum(part.rows for part in self.parts)

    is_text = False

    @property
    def begins(self) -> tuple[int, ...]:
        """The rows at which a row group begins, those of all files."""
        return tuple(accumulate((rows for part in self.parts for rows in part.groups), initial=0))[:-1]

    def chunks(self, columns: list[str], rows: int, start: int, stop: int) -> Iterator[Chunk]:
        """The rows from start to stop in order, some at a time; other row groups are not read."""
        _same_types(self.parts, columns)
        for part in self.parts:
            yield from _of_file(part, columns, rows, start, stop)
            start, stop = start - part.rows, stop - part.rows


def open_parquet(path: Path) -> TableContents:
    """Opens the footers only."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    return TableContents(Parquet(path, [_open_part(file) for file in files]))


def _open_part(path: Path) -> Part:
    with reading(str(path), ".parquet file"):
        footer = pq.read_metadata(path)
        groups = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
        part = Part(path, footer, footer.schema.to_arrow_schema(), groups)
        if footer.num_rows != part.rows or min(groups, default=0) < 0:
            raise ValueError(f"its footer counts {footer.num_rows} rows, and {groups} in its row groups")
        return part


def _same_types(parts: list[Part], columns: list[str]) -> None:
    """Every file of a folder must hold the columns in the types of the first."""
    first = parts[0]
    for part in parts:
        for name in columns:
            expected, got = first.schema.field(name).type, _type_of(part, name)
            if got != expected:
                raise InputError(
                    str(part.path),
                    f"column '{name}' of type {expected} as in {first.path.name}",
                    str(got),
                    "write all files of the folder with the same columns",
                )


def _type_of(part: Part, name: str) -> pa.DataType | str:
    return part.schema.field(name).type if name in part.schema.names else "no such column"


def _of_file(part: Part, columns: list[str], rows: int, start: int, stop: int) -> Iterator[Chunk]:
    first = 0
    for group, count in enumerate(part.groups):
        if first < stop and first + count > start:
            yield from _of_group(part, group, first, columns, rows, start, stop)
        first += count


def _of_group(
    part: Part, group: int, first: int, columns: list[str], rows: int, start: int, stop: int
) -> Iterator[Chunk]:
    """``first`` is the number of the row group's first row in its file, as are ``start`` and ``stop``."""
    for batch in _batches(part, group, columns, rows):
        skipped = min(max(start - first, 0), batch.num_rows)
        wanted = batch.slice(skipped, stop - first - skipped)
        if wanted.num_rows:
            yield Chunk(part.path, first + skipped, wanted)
        first += batch.num_rows
        if first >= stop:
            return


VALUES = 1 << 17  # are decoded together where fewer rows are asked for: a batch has a price of its own


def _rows_at_once(part: Part, group: int, rows: int) -> int:
    """So many rows as are asked for, or as hold VALUES numbers."""
    footer = part.footer.row_group(group)
    values: int = sum(footer.column(i).num_values for i in range(footer.num_columns))
    return max(rows, VALUES * part.groups[group] // max(values, 1))


# 64 KiB of each column at a time: pre_buffer would hold the row group whole. Checksums are compared if there are any.
STREAM = {"pre_buffer": False, "buffer_size": 1 << 16, "page_checksum_verification": True}


def _batches(part: Part, group: int, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    missing = part.groups[group]
    with (
        reading(f"{part.path}, row group {group}", ".parquet file"),
        pq.ParquetFile(part.path, metadata=part.footer, **STREAM) as file,
    ):
        at_once = _rows_at_once(part, group, rows)
        for batch in file.iter_batches(batch_size=at_once, row_groups=[group], columns=columns):
            missing -= batch.num_rows
            yield batch
        if missing:
            raise ValueError(f"its footer counts {part.groups[group]} rows and it holds {part.groups[group] - missing}")
