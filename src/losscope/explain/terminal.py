"""An explanation in a terminal, with colours where it has them; 80 columns are enough."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from losscope.explain.step import Step
from losscope.explain.table import Cell, Table

_INDENT = (0, 0, 0, 4)


def rendered(
    title: str, intro: list[str], steps: list[tuple[Step, Table]], notes: list[str]
) -> Iterator[RenderableType]:
    """Title, steps and notes, one under the other."""
    yield Text(title, style="bold")
    yield from (Text(line, style="dim") for line in intro)
    for number, (step, table) in enumerate(steps, 1):
        yield Text("")
        yield _heading(number, step)
        yield Padding(Group(Text(step.text, style="cyan"), _grid(table), Text(step.sentence, style="dim")), _INDENT)
    if notes:
        yield Text("\nAs the formulas stand on paper", style="bold")
        yield from (Padding(Text(note), _INDENT) for note in notes)


def _heading(number: int, step: Step) -> Text:
    return Text.assemble((f"{number:2}  ", "dim"), (step.symbol, "bold"), f"  {step.name}")


def _grid(table: Table) -> RenderableType:
    if table.scalar:
        return Text(table.scalar, style="bold")
    gap = 2 if len(table.heads) < 8 else 1
    grid = Grid(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    if any(table.labels):
        grid.add_column("", style="dim", no_wrap=True)
    for head in table.heads:
        grid.add_column(_fitted(head, table.head_width), justify="right", no_wrap=True)
    for label, cells in zip(table.labels, table.cells, strict=True):
        grid.add_row(*([label] if any(table.labels) else []), *(_cell(cell) for cell in cells))
    return Group(grid, Text(f"… {table.more}", style="dim")) if table.more else grid


def _fitted(head: str, width: int) -> Text:
    """A class's name may be longer than its numbers; as Text it is never read as markup."""
    return Text(head if len(head) <= width else f"{head[: width - 1]}…")


def _cell(cell: Cell) -> Text:
    return Text(cell.text, style="dim" if cell.ignored else "bold green" if cell.true else "")
