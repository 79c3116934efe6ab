"""The page itself: the report's data through templates that escape everything."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from importlib.resources import files
from typing import Any, NamedTuple

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from losscope import __version__
from losscope.figures.display import unit_of_loss
from losscope.figures.numbers import number
from losscope.figures.style import apart, untitled
from losscope.notation import NOTATION
from losscope.reporting.content import Report
from losscope.reporting.math import formulas, mathml
from losscope.reporting.tiles import lede, tiles
from losscope.summary import SummaryResult
from losscope.summary.result import WorstSample

MOST_ROWS = 200
# npm's plotly.js-cartesian-dist-min 4.1.1 as it is, with its licence beside it: the traces that figures here are made
# of, a third of plotly.js, and ready in less than half the time.
PLOTLY = "vendor/plotly-cartesian.min.js"


class Drawn(NamedTuple):
    """A figure as the page has it.

    Attributes:
        id: of its element.
        title: its heading.
        description: what it says, in words.
        columns: of its table.
        rows: of its table.
        left_out: how many rows the table lacks.
        height: in pixels.
        least_width: in pixels; the page scrolls it where there is less.
        spec: what Plotly draws, as JSON that no markup can end.
    """

    id: str
    title: str
    description: str
    columns: list[str]
    rows: list[list[Any]]
    left_out: int
    height: int
    least_width: int
    spec: Markup


def render(report: Report) -> str:
    """The whole page as text."""
    template = _environment().get_template("page.html.j2")
    plotly, drawing = _script(_read(PLOTLY)), _script(_read("templates/page.js"))
    return template.render(
        report=report,
        version=__version__,
        lede=lede(report.summary),
        tiles=tiles(report.summary),
        unit=unit_of_loss(report.summary),
        formulas=formulas(report.loss.formula),
        link=mathml(report.loss.link.formula, block=True),
        notation=[(mathml(s.latex), s) for s in NOTATION.values()],
        figures=[drawn(name, figure) for name, figure in report.figures.items()],
        images={i: png(image) for i, image in report.images.items()},
        plotly=plotly,
        drawing=drawing,
        allowed=Markup(" ").join(map(_hash, (plotly, drawing))) if report.figures else Markup("'none'"),
    )


def drawn(name: str, figure: go.Figure) -> Drawn:
    """The figure taken apart: words and numbers to the page, the rest to Plotly."""
    meta = figure.layout.meta
    numbers = meta["table"]
    return Drawn(
        name,
        figure.layout.title.text,
        meta["description"],
        numbers["columns"],
        numbers["rows"][:MOST_ROWS],
        max(0, len(numbers["rows"]) - MOST_ROWS),
        figure.layout.height,
        meta["least_width"],
        _json_script(untitled(figure).update_layout(meta=None).to_json()),
    )


def worst_name(summary: SummaryResult, value: float) -> str:
    """A target or decision in words: a class's name, a label's truth, or the value."""
    classes = getattr(summary, "classes", None)
    if classes is None:
        return number(float(value))
    return classes.name(int(value)) if hasattr(summary, "num_classes") else f"{value:g}"


def png(image: Tensor) -> str:
    """A grey image (h, w) in 0…1 as a data address: dark ink on light paper."""
    height, width = image.shape
    grey = (255 - image.clamp(0, 1) * 255).round().byte().tolist()
    raw = b"".join(b"\0" + bytes(line) for line in grey)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("losscope.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, mathml=mathml, where=where)
    environment.globals.update(apart=apart, worst_name=worst_name, read=_read)
    return environment


def where(sample: WorstSample) -> str:
    """The sample's number, with its position where it has one."""
    position = ", ".join(map(str, sample.position))
    return f"{sample.index}" + (f" ({position})" if position else "")


def _read(name: str) -> Markup:
    """A file of this package, as it is."""
    return Markup(files("losscope.reporting").joinpath(name).read_text(encoding="utf-8"))


def _json_script(text: str) -> Markup:
    """JSON for a <script>: nothing in it can end the element or begin a comment."""
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _script(text: str) -> Markup:
    """A script for a <script>: '</script' in one of its strings would end it."""
    return Markup(text.replace("</script", "<\\/script"))


def _hash(script: Markup) -> Markup:
    """The policy's name of this script and of no other: the page may run nothing else."""
    digest = hashlib.sha256(script.encode()).digest()
    return Markup(f"'sha256-{base64.b64encode(digest).decode()}'")
