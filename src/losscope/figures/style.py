"""How every figure looks: the palette, the axes, and the words that go with it.

Figures have no background of their own and mid-grey text, so they are readable on a light page and on a dark one; a
page that knows which of them it is (losscope's report) gives the text its own colour.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from os.path import commonprefix
from typing import Any, TypedDict

import plotly.graph_objects as go

# Okabe and Ito 2008, without the black and the yellow that vanish on a dark or on a light page.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
GREY, FAINT = "#7a7f87", "rgba(128,134,142,0.28)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LONGEST_NAME = 20
TITLE = 48  # a figure's title with the space around it, in pixels

# Of every axis, the second and third of a figure too.
_AXIS: dict[str, Any] = {
    "gridcolor": FAINT,
    "zeroline": False,
    "showline": True,
    "linecolor": FAINT,
    "ticks": "",
    "automargin": True,
    "title": {"standoff": 8, "font": {"size": 13}},
}


class Table(TypedDict):
    """The numbers of a figure, for those who cannot see it."""

    columns: list[str]
    rows: list[list[Any]]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """The numbers of a figure, one row after another."""
    return {"columns": list(columns), "rows": [list(row) for row in rows]}


def figure(
    title: str,
    description: str,
    numbers: Table,
    *,
    x: str,
    y: str,
    height: int = 380,
    least_width: int = 0,
    **layout: Any,
) -> go.Figure:
    """An empty figure with its title, its axes, and what it says in words.

    Args:
        title: the question that the figure answers, as its answer's name.
        description: the same in a sentence or two with the numbers that matter; ``layout.meta["description"]``.
        numbers: what is drawn, as a table; ``layout.meta["table"]``.
        x: title of the x axis, with its unit.
        y: title of the y axis, with its unit.
        height: in pixels; the width is the reader's.
        least_width: in pixels, below which it cannot be read; ``layout.meta["least_width"]``.
        layout: what else the layout has.
    """
    result = go.Figure()
    result.update_layout(
        title={
            "text": title,
            "x": 0,
            "xref": "paper",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 12},
            "font": {"size": 16},
        },
        meta={"description": description, "table": numbers, "least_width": least_width},
        template=go.layout.Template(layout={"xaxis": _AXIS, "yaxis": _AXIS}),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": GREY},
        colorway=PALETTE,
        height=height,
        margin={"l": 64, "r": 16, "t": 76, "b": 56},
        # Below the title and not above the plot: so the plot makes room for as many rows as a width asks for.
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "yref": "container",
            "y": 1 - TITLE / height,
            "yanchor": "top",
        },
        hoverlabel={"font": {"family": FONT, "size": 13}, "namelength": -1},
        bargap=0,
    )
    result.update_layout(xaxis_title_text=x, yaxis_title_text=y)
    return result.update_layout(layout)


def untitled(titled: go.Figure) -> go.Figure:
    """A copy for a page that has the title as a heading: legend and plot take its place."""
    copy = go.Figure(titled)
    return copy.update_layout(title=None, legend_y=1, margin_t=copy.layout.margin.t - TITLE)


def text(name: str, longest: int = LONGEST_NAME) -> str:
    """A name as figures may show it: Plotly reads markup in its texts, and a long name takes the place of the plot.

    Example:
        >>> text("<b>cat</b>")
        '&lt;b&gt;cat&lt;/b&gt;'
        >>> text("a very long name of a class indeed")
        'a very long name of …'
    """
    short = escape(name if len(name) <= longest else name[:longest] + "…", quote=False)
    return short.replace("$", "&#36;")  # a pair of them would be TeX


def texts(names: Sequence[str], longest: int = LONGEST_NAME) -> list[str]:
    """Names side by side as figures may show them, told apart."""
    return [text(name, longest) for name in apart(names, longest)]


def apart(names: Sequence[str], longest: int) -> list[str]:
    """Where one is too long, the words that all of them begin with are left out.

    Example:
        >>> apart(["a rather long name, number 7", "a rather long name, number 12"], 20)
        ['…7', '…12']
        >>> apart(["cat", "dog"], 20)
        ['cat', 'dog']
    """
    if len(names) < 2 or max(map(len, names)) <= longest:
        return list(names)
    lead = re.sub(r"[^\W_]*$", "", commonprefix(list(names)))  # noqa: RUF071 (of characters, not of folders)
    return ["…" * bool(lead) + name.removeprefix(lead) for name in names]


def line(color: str, dash: str = "solid", width: float = 2.5) -> dict[str, Any]:
    """A line's style."""
    return {"color": color, "dash": dash, "width": width}


def faded(color: str, alpha: float) -> str:
    """The colour, see-through.

    Example:
        >>> faded("#0072B2", 0.5)
        'rgba(0,114,178,0.5)'
    """
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def power(exponent: int) -> str:
    """10^exponent for an axis, written out where that is short.

    Example:
        >>> power(-2), power(-6)
        ('0.01', '10<sup>−6</sup>')
    """
    return f"{10.0**exponent:g}" if abs(exponent) <= 3 else f"10<sup>{exponent}</sup>".replace("-", "−")
