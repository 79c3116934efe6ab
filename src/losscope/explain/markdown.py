"""An explanation as Markdown with LaTeX: for notebooks, and for pages that are written once."""

from __future__ import annotations

import html

from losscope.explain.step import Step
from losscope.explain.table import Cell, Table


def rendered(title: str, intro: list[str], steps: list[tuple[Step, Table]], notes: list[str]) -> str:
    """Title, steps and notes, one under the other."""
    parts = [f"### {_escaped(title)}", "  \n".join(map(_escaped, intro))]
    for number, (step, table) in enumerate(steps, 1):
        parts += [
            f"**{number}. {_escaped(step.symbol)}** {_escaped(step.name)}",
            f"$${step.latex}$$",
            _table(table),
            _escaped(step.sentence),
        ]
    if notes:
        parts += ["**As the formulas stand on paper**", "\n".join(f"- {_escaped(note)}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    if table.scalar:
        return f"**{table.scalar}**"
    lines = [
        _line(["", *map(_escaped, table.heads)]),
        _line([":--", *["--:"] * len(table.heads)]),
        *(_line([label, *map(_cell, cells)]) for label, cells in zip(table.labels, table.cells, strict=True)),
    ]
    return "\n".join(lines) + (f"\n\n… {table.more}" if table.more else "")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.true and not cell.ignored else cell.text


def _escaped(text: str) -> str:
    """As it stands: no HTML, no formula, no emphasis, no column, no line of its own."""
    text = html.escape(" ".join(text.split()), quote=False)
    for sign in "\\`*_$|[]":
        text = text.replace(sign, f"\\{sign}")
    return text
