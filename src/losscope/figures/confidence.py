"""How sure the right and the wrong decisions are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.figures.display import Display
from losscope.figures.numbers import number
from losscope.figures.style import BLUE, VERMILLION, figure, table
from losscope.summary import CategoricalSummary


@dataclass(frozen=True, eq=False)
class ConfidenceDisplay(Display):
    """Counts of max_h ŷ_ih, of right and of wrong decisions.

    Attributes:
        edges: (B + 1,), 0 to 1.
        right: (B,) counts where d_i = y_i.
        wrong: (B,) counts where d_i ≠ y_i.
    """

    edges: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    takes = (CategoricalSummary,)

    @classmethod
    def _read(cls, summary: CategoricalSummary) -> ConfidenceDisplay:
        h = summary.confidence_histogram
        return cls(h.edges.numpy(), h.right.numpy(), h.wrong.numpy())

    @property
    def sure_and_wrong(self) -> int:
        """Wrong decisions with a confidence of 0.9 or more."""
        return int(self.wrong[self.edges[:-1] >= 0.9 - 1e-9].sum())

    def describe(self) -> str:
        """The figure in words."""
        wrong = int(self.wrong.sum())
        return (
            f"{int(self.right.sum()):,} decisions are right and {wrong:,} wrong; {self.sure_and_wrong:,} of the wrong "
            f"ones have a confidence of 0.9 or more."
        )

    def plot(self) -> go.Figure:
        """Two panels, since the right decisions mostly outnumber the wrong ones by far."""
        middle, width = (self.edges[1:] + self.edges[:-1]) / 2, np.diff(self.edges)
        spans = [f"{number(a)} – {number(b)}" for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)]
        rows = [[s, int(r), int(w)] for s, r, w in zip(spans, self.right, self.wrong, strict=True)]
        result = figure(
            "How sure are right and wrong decisions?",
            self.describe(),
            table(["confidence", "right", "wrong"], rows),
            x="confidence max ŷ (probability)",
            y="right",
            height=420,
            xaxis={"range": [0, 1], "anchor": "y2"},
            yaxis={"domain": [0.56, 1], "rangemode": "tozero"},
            yaxis2={"domain": [0, 0.44], "title_text": "wrong", "rangemode": "tozero"},
        )
        for counts, color, name, axis in (
            (self.right, BLUE, "right: d = y", "y"),
            (self.wrong, VERMILLION, "wrong: d ≠ y", "y2"),
        ):
            result.add_bar(
                x=middle,
                y=counts,
                width=width * 0.94,
                marker={"color": color, "line": {"width": 0}},
                name=name,
                yaxis=axis,
                customdata=spans,
                hovertemplate="confidence %{customdata}<br>%{y} samples<extra></extra>",
            )
        return result
