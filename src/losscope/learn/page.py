"""What every chapter is made of: words, controls, numbers that can be found by name, and figures with their text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import marimo as mo
import plotly.graph_objects as go
import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.explain import Explanation
from losscope.figures.style import BLUE, VERMILLION, untitled
from losscope.notation import NOTATION

Number = Tensor | float | int


class View(NamedTuple):
    """A chapter, or a part of it, at one setting of the controls.

    Attributes:
        controls: the names of those that stand beside it, because they move it.
        numbers: what it computed, by the names that the page shows.
        body: what it shows.
    """

    controls: tuple[str, ...]
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


def several(label: str, options: Iterable[str], value: Sequence[str] = ()) -> mo.ui.multiselect:
    """Any of several."""
    return mo.ui.multiselect(list(options), value=list(value), label=label, full_width=True)


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


def sliders(names: Sequence[str], values: Sequence[float], reach: float) -> dict[str, Any]:
    """A slider for each raw output."""
    return {name: amount(name, -reach, reach, 0.1, value) for name, value in zip(names, values, strict=True)}


def amount(label: str, start: float, stop: float, step: float, value: float) -> mo.ui.slider:
    """A slider with its name and its value."""
    return mo.ui.slider(start, stop, step, value=value, label=label, show_value=True, full_width=True)


def parts(chapter: str, controls: mo.ui.dictionary, views: Iterable[View]) -> mo.Html:
    """Each view of a chapter with the controls that move it: beside it, or above it where the page is narrow.

    The key tells marimo's page that the figures of another chapter are others; those of the same are drawn in place.
    """
    shown = "".join(
        f'<div class="ls-part">{_panel(controls, view.controls)}<div>{view.body.text}</div></div>' for view in views
    )
    return mo.Html(f'<div class="ls-parts" key="{chapter}" data-parts="{chapter}">{shown}</div>')


def _panel(controls: mo.ui.dictionary, names: Sequence[str]) -> str:
    cells = "".join(f"<div>{controls.elements[name].text}</div>" for name in names)
    return f'<div class="ls-controls" role="group" aria-label="Controls">{cells}</div>'


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
    first, *others = (_cell(said(cell) if isinstance(cell, Tensor | float) else str(cell)) for cell in row)
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in others)


def _cell(text: str) -> str:
    """A name like CrossEntropyLoss may go on in the next line after each of its words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "<wbr>", escape(text))


def picture(figure: go.Figure) -> mo.Html:
    """A figure below its title, what it says in words, and its numbers as a table."""
    meta, title = figure.layout.meta, figure.layout.title.text
    numbers = table(title, meta["table"]["columns"], meta["table"]["rows"])
    height, plot = figure.layout.height, _plot(untitled(figure))
    return mo.Html(
        f'<figure class="ls-figure"><h2 class="ls-heading">{escape(title)}</h2>'
        f'<div role="img" aria-label="{escape(title)}" style="height: {height}px">{plot}</div>'
        f"<figcaption>{escape(meta['description'])}</figcaption>"
        f"<details><summary>The figure's numbers</summary>{numbers.text}</details></figure>"
    )


def _plot(figure: go.Figure) -> str:
    """marimo's element for a figure that nothing is read from: ``mo.ui.plotly`` would draw it anew for every change."""
    config = escape(json.dumps({"displayModeBar": False}))
    return f'<marimo-plotly data-figure="{escape(figure.to_json())}" data-config="{config}"></marimo-plotly>'


def mark(figure: go.Figure, x: Number, y: Number, name: str, color: str = VERMILLION) -> go.Figure:
    """The figure with points where the controls are; its y axis goes as high as they do."""
    xs, ys = (torch.as_tensor(value).detach().double().flatten() for value in (x, y))
    if figure.layout.yaxis.range is not None:
        low, high = figure.layout.yaxis.range
        top = float(ys.max())
        figure.update_yaxes(range=[low, high if top <= high else 1.05 * top])
    marker = {"size": 12, "color": color, "line": {"width": 2, "color": "white"}}
    return figure.add_scatter(x=xs.tolist(), y=ys.tolist(), mode="markers", marker=marker, name=name, cliponaxis=False)


def reach(z: Tensor, at_least: float) -> float:
    """How far an axis of raw outputs goes, so that these are on it."""
    return max(at_least, math.ceil(float(z.abs().max())))


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
