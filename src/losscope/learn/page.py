"""What every chapter is made of: words, controls, numbers that can be found by name, and figures with their text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import marimo as mo
import plotly.graph_objects as go
import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.explain import Explanation
from losscope.figures.style import BLUE, VERMILLION
from losscope.notation import NOTATION

Number = Tensor | float | int


class View(NamedTuple):
    """A chapter at one setting of its controls.

    Attributes:
        numbers: what it computed, by the names that the page shows.
        body: what it shows.
    """

    numbers: dict[str, Number]
    body: mo.Html


def stack(*parts: mo.Html) -> mo.Html:
    """One below the other."""
    return mo.vstack(list(parts), gap=1)


def beside(*parts: mo.Html) -> mo.Html:
    """Side by side where there is room, else one below the other."""
    cells = "".join(f"<div>{part.text}</div>" for part in parts)
    return mo.Html(f'<div class="ls-beside">{cells}</div>')


def words(text: str) -> mo.Html:
    """Markdown, with formulas between dollars."""
    return mo.md(text)


def formula(latex: str) -> mo.Html:
    """A formula of losscope's, its parts below one another so that they fit a narrow page."""
    parts = latex.replace(r", \quad", r" \\ ")
    return mo.md(f"$$\\begin{{gathered}} {parts} \\end{{gathered}}$$")


def choice(
    label: str, options: Iterable[str], value: str | None = None, then: Callable[[str], None] | None = None
) -> mo.ui.dropdown:
    """One of several, the first of them chosen where no other is."""
    names = list(options)
    look = {"label": label, "allow_select_none": False, "full_width": True}
    return mo.ui.dropdown(names, value=value or names[0], on_change=then, **look)


def code(text: str) -> mo.Html:
    """Python, to copy."""
    return mo.md(f"```python\n{text}\n```")


def sliders(names: Sequence[str], values: Sequence[float], reach: float = 8.0, step: float = 0.1) -> dict[str, Any]:
    """A slider for each raw output."""
    return {
        name: mo.ui.slider(-reach, reach, step, value=value, label=name, show_value=True)
        for name, value in zip(names, values, strict=True)
    }


def amount(label: str, start: float, stop: float, step: float, value: float) -> mo.ui.slider:
    """A slider with its name and its value."""
    return mo.ui.slider(start, stop, step, value=value, label=label, show_value=True)


def panel(controls: mo.ui.dictionary) -> mo.Html:
    """The controls of a chapter, wrapped where the page is narrow."""
    cells = "".join(f"<div>{control.text}</div>" for control in controls.elements.values())
    return mo.Html(f'<div class="ls-controls" role="group" aria-label="Controls">{cells}</div>')


def said(value: Number) -> str:
    """A number, or a row of them, as the page shows it.

    Example:
        >>> said(0.12345), said(torch.tensor([0.5, 2.0]))
        ('0.1235', '0.5, 2')
    """
    numbers = value.flatten().tolist() if isinstance(value, Tensor) else [value]
    return ", ".join(str(n) if isinstance(n, bool) else f"{n:.4g}".replace("-", "−") for n in numbers)


def readout(numbers: Mapping[str, Number]) -> mo.Html:
    """Numbers with their names; ``data-number`` finds each of them."""
    rows = "".join(
        f'<div><dt>{escape(name)}</dt><dd data-number="{escape(name)}">{escape(said(value))}</dd></div>'
        for name, value in numbers.items()
    )
    return mo.Html(f'<dl class="ls-numbers">{rows}</dl>')


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> mo.Html:
    """A table whose first column names its rows; it scrolls within itself where the page is narrow."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    return mo.Html(
        f'<div class="ls-scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[object]) -> str:
    first, *others = (escape(said(cell) if isinstance(cell, Tensor | float) else str(cell)) for cell in row)
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in others)


def picture(figure: go.Figure) -> mo.Html:
    """A figure below its title, what it says in words, and its numbers as a table."""
    meta, title = figure.layout.meta, figure.layout.title.text
    figure.update_layout(title_text=None, margin_t=max(40, figure.layout.margin.t - 36))  # the page breaks long titles
    plot = mo.ui.plotly(figure, config={"displayModeBar": False})
    numbers = table(title, meta["table"]["columns"], meta["table"]["rows"])
    return mo.Html(
        f'<figure class="ls-figure"><div class="ls-heading">{escape(title)}</div>'
        f'<div role="img" aria-label="{escape(title)}" style="height: {figure.layout.height}px">{plot.text}</div>'
        f"<figcaption>{escape(meta['description'])}</figcaption>"
        f"<details><summary>The figure's numbers</summary>{numbers.text}</details></figure>"
    )


def mark(figure: go.Figure, x: Number, y: Number, name: str, color: str = VERMILLION) -> go.Figure:
    """The figure with a point where the controls are."""
    xs, ys = (torch.as_tensor(value).detach().double().flatten().tolist() for value in (x, y))
    marker = {"size": 12, "color": color, "line": {"width": 2, "color": "white"}}
    return figure.add_scatter(x=xs, y=ys, mode="markers", marker=marker, name=name, cliponaxis=False)


def bars(figure: go.Figure, names: Sequence[str], groups: Mapping[str, Tensor]) -> go.Figure:
    """The figure with a bar for each name, beside one another where there are several groups."""
    for color, (group, values) in zip((BLUE, VERMILLION), groups.items(), strict=False):
        figure.add_bar(x=list(names), y=values.detach().double().tolist(), name=group, marker_color=color)
    return figure.update_layout(bargap=0.35, xaxis_type="category")


def steps(explanation: Explanation) -> mo.Html:
    """Every step of a loss, folded away."""
    return mo.Html(f"<details><summary>Every step</summary>{explanation._repr_html_()}</details>")


def note(kind: str, title: str, lines: Iterable[tuple[str, str]]) -> mo.Html:
    """A box with a title and named lines; its kind is "good", or a finding's severity."""
    body = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in lines)
    return mo.Html(
        f'<div class="ls-note ls-{kind}" role="status"><b>{escape(title)}</b><dl class="ls-words">{body}</dl></div>'
    )


def refused(error: InputError) -> mo.Html:
    """What the library says of input that has no loss."""
    lines = [("expected", error.expected), ("came", error.got), ("what to do", error.fix)]
    return note("error", f"{error.where} refuses this", lines)


def notation() -> mo.Html:
    """The one notation, behind a button that stays in sight."""
    rows = "\n".join(
        f"| ${symbol.latex}$ | {symbol.name} | {symbol.meaning.replace('|', '∣')} | {symbol.shape} |"
        for symbol in NOTATION.values()
    )
    text = mo.md(f"| symbol | name | meaning | shape |\n|---|---|---|---|\n{rows}").text
    return mo.Html(
        '<details class="ls-notation"><summary>Notation</summary>'
        f'<div class="ls-scroll" tabindex="0" role="region" aria-label="The notation">{text}</div></details>'
    )
