"""A sample's steps as one table of the terminal: a line for each step, a column for each output that matters."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from losscope.figures.style import apart
from losscope.reporting.samples import Row, Sample, number

_COLUMNS, _LONGEST = 5, 10


def table(sample: Sample) -> Table:
    """The steps of one sample."""
    shown = sample.columns(_COLUMNS)
    names = apart([sample.names[at] for at in shown], _LONGEST)
    grid = Table(title=Text(f"Sample {sample.index}, {sample.why}"), title_justify="left", title_style="bold", box=None)
    grid.add_column("", no_wrap=True, min_width=30)
    for at, name in zip(shown, names, strict=True):
        grid.add_column(_head(name, sample.marks(sample.outputs[at])), justify="right", no_wrap=True)
    for row in sample.rows:
        grid.add_row(Text(f"{row.step.symbol}  ").append(row.step.name, style="dim"), *_cells(sample, row, shown))
    return grid


def _head(name: str, said: list[str]) -> Text:
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    return Text("\n".join([short, *said]), style="green" if "true" in said else "")


def _cells(sample: Sample, row: Row, shown: list[int]) -> list[Text]:
    if not row.by_output:
        return [Text(number(row.cells[0]))] if row.cells else []
    return [
        Text(number(row.cells[at]), style="green" if "true" in sample.marks(sample.outputs[at]) else "") for at in shown
    ]
