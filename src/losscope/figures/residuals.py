"""How far off a value is, and to which side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.figures.display import Display
from losscope.figures.numbers import counted, number
from losscope.figures.style import BLUE, figure, table
from losscope.summary import RegressionSummary


@dataclass(frozen=True, eq=False)
class ResidualDisplay(Display):
    """Counts of the residual r = z − y, or z − ln y, between edges that are equal steps of a ratio on both sides of 0.

    Attributes:
        edges: (B + 1,), ascending.
        counts: (B,).
        bias: mean r.
        rmse: root of mean r².
        unit: of r.
        residual: what r is.
    """

    edges: np.ndarray
    counts: np.ndarray
    bias: float
    rmse: float
    unit: str
    residual: str
    takes = (RegressionSummary,)

    @classmethod
    def _read(cls, summary: RegressionSummary) -> ResidualDisplay:
        edges, counts = summary.residual_histogram.edges.numpy(), summary.residual_histogram.counts.numpy()[1:-1]
        kept = np.flatnonzero(counts)
        first, last = (kept[0], kept[-1] + 1) if len(kept) else (0, 1)
        return cls(
            edges[first : last + 1], counts[first:last], summary.bias, summary.rmse, summary.unit, residual(summary)
        )

    def describe(self) -> str:
        """The figure in words."""
        side = "above" if self.bias > 0 else "below"
        return (
            f"The residual of {counted(int(self.counts.sum()), 'value')} has a root mean square of {number(self.rmse)} "
            f"({self.unit}); on average the network says {number(abs(self.bias))} {side} the target."
        )

    def plot(self) -> go.Figure:
        """A bar for each bin, all equally wide: the scale is logarithmic to both sides of 0."""
        spans = [f"{number(a)} – {number(b)}" for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)]
        rows = [[s, int(n)] for s, n in zip(spans, self.counts, strict=True)]
        step, middle = math.ceil(len(self.edges) / 6), int(np.searchsorted(self.edges, 0))
        ticks = np.arange(middle % step, len(self.edges), step)  # 0 is among them where it is an edge
        result = figure(
            "How far off, and to which side",
            self.describe(),
            table([f"r ({self.unit})", "values"], rows),
            x=f"residual r = {self.residual} ({self.unit})<br>logarithmic to both sides of 0",
            y="values",
            yaxis_rangemode="tozero",
            xaxis={"tickvals": ticks - 0.5, "ticktext": [number(self.edges[t]) for t in ticks]},
        )
        result.add_bar(
            x=np.arange(len(self.counts)),
            y=self.counts,
            width=1,
            marker={"color": BLUE, "line": {"width": 0}},
            customdata=spans,
            hovertemplate="r %{customdata}<br>%{y} values<extra></extra>",
            showlegend=False,
        )
        return result


def residual(summary: RegressionSummary) -> str:
    """What the loss squares, in the symbols of its formula."""
    return "z − ln y" if summary.unit == "nats" else "z − y"
