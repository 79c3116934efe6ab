"""How far off a value is, and to which side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.figures.display import Display
from losscope.figures.numbers import number
from losscope.figures.style import BLUE, figure, table
from losscope.summary import RegressionSummary


@dataclass(frozen=True, eq=False)
class ResidualDisplay(Display):
    """Counts of the residual r = z − t between edges that are equal steps of a ratio on both sides of 0.

    Attributes:
        edges: (B + 1,), ascending.
        counts: (B,).
        bias: mean r.
        rmse: root of mean r².
        unit: of r.
    """

    edges: np.ndarray
    counts: np.ndarray
    bias: float
    rmse: float
    unit: str
    takes = (RegressionSummary,)

    @classmethod
    def _read(cls, summary: RegressionSummary) -> ResidualDisplay:
        edges, counts = summary.residual_histogram.edges.numpy(), summary.residual_histogram.counts.numpy()[1:-1]
        kept = np.flatnonzero(counts)
        first, last = (kept[0], kept[-1] + 1) if len(kept) else (0, 1)
        return cls(edges[first : last + 1], counts[first:last], summary.bias, summary.rmse, summary.unit)

    def describe(self) -> str:
        """The figure in words."""
        side = "above" if self.bias > 0 else "below"
        return (
            f"The residual of {self.counts.sum():,} values has a root mean square of {number(self.rmse)} "
            f"({self.unit}); "
            f"on average the network says {number(abs(self.bias))} {side} the target."
        )

    def plot(self) -> go.Figure:
        """A bar for each bin, all equally wide: the scale is logarithmic to both sides of 0."""
        spans = [f"{number(a)} – {number(b)}" for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)]
        rows = [[s, int(n)] for s, n in zip(spans, self.counts, strict=True)]
        step = max(1, len(self.edges) // 6)
        ticks = np.arange(0, len(self.edges), step)
        result = figure(
            "How far off, and to which side",
            self.describe(),
            table([f"r ({self.unit})", "values"], rows),
            x=f"residual r = z − t ({self.unit})<br>logarithmic to both sides of 0",
            y="values",
            xaxis={"tickvals": ticks - 0.5, "ticktext": [f"{self.edges[t]:.1g}".replace("-", "−") for t in ticks]},
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
