"""Comma- and tab-separated text, held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from losscope.io.contents import reading
from losscope.io.tables import Chunk, TableContents

# "nan" is not among them: a logit that is not a number is a number to look at, not a missing one.
NULLS = ["", "NA", "N/A", "null", "NULL", "None"]


@dataclass(frozen=True)
class Text:
    """A table read whole."""

    path: Path
    table: pa.Table
    is_text = True

    @property
    def columns(self) -> list[str]:
        """The names of the first line."""
        return list(self.table.column_names)

    @property
    def rows(self) -> int:
        """The lines below the first."""
        return int(self.table.num_rows)

    @property
    def begins(self) -> tuple[int, ...]:
        """Nowhere: it is one piece."""
        return ()

    def chunks(self, columns: list[str], rows: int, start: int, stop: int) -> Iterator[Chunk]:
        """The rows from start to stop in order, at most ``rows`` at a time."""
        part = self.table.select(columns).slice(start, stop - start)
        for batch in part.to_batches(max_chunksize=rows):
            yield Chunk(self.path, start, batch)
            start += batch.num_rows


def open_csv(path: Path) -> TableContents:
    """Columns of a .csv (commas) or .tsv (tabs) with names in its first line; a fraction is read as float32."""
    with reading(str(path), "table of text"):
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False),  # an error then says which row
            parse_options=csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ","),
            convert_options=csv.ConvertOptions(null_values=NULLS),
        )
        names = [name.strip() for name in table.column_names]
    return TableContents(Text(path, _float32(table.rename_columns(names))))


def _float32(table: pa.Table) -> pa.Table:
    """Text names no dtype: what has a fraction is float32, the dtype that logits are mostly computed in."""
    fields = (f.with_type(pa.float32()) if pa.types.is_float64(f.type) else f for f in table.schema)
    return table.cast(pa.schema(list(fields)))
