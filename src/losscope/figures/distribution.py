"""How ℓ is distributed over the samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.figures.display import Display, unit_of_loss
from losscope.figures.numbers import counted, number, percent
from losscope.figures.style import BLUE, GREEN, VERMILLION, figure, line, power, table
from losscope.summary import BinarySummary, CategoricalSummary, RegressionSummary
from losscope.summary.result import Histogram

MERGED = 2  # bins of the summary to one bar


@dataclass(frozen=True, eq=False)
class LossDistributionDisplay(Display):
    """Counts of ℓ between edges on a logarithmic scale, beside the loss of a guess.

    Attributes:
        edges: (B + 1,), ascending.
        counts: (B,) between them.
        below: how many are below the first edge.
        above: how many are from the last edge on; infinite ones included.
        mean: mean ℓ.
        chance: the ℓ of a guess: ln H, ln 2, or the variance of the targets.
        chance_name: how that is written.
        unit: of ℓ.
        worse: at least and at most so many have an ℓ above it; only of a regression are they not the same.
    """

    edges: np.ndarray
    counts: np.ndarray
    below: int
    above: int
    mean: float
    chance: float
    chance_name: str
    unit: str
    worse: tuple[int, int]
    takes = (CategoricalSummary, BinarySummary, RegressionSummary)

    @classmethod
    def _read(cls, summary: CategoricalSummary | BinarySummary | RegressionSummary) -> LossDistributionDisplay:
        edges, counts, below, above = _trimmed(summary.loss_histogram)
        above += summary.num_infinite
        worse, unit = _worse(summary), unit_of_loss(summary)
        if isinstance(summary, RegressionSummary):
            return cls(
                edges, counts, below, above, summary.rmse**2, summary.chance, "the mean said always", unit, worse
            )
        name = f"ln {summary.num_classes}" if isinstance(summary, CategoricalSummary) else "ln 2"
        return cls(edges, counts, below, above, summary.nll, summary.chance, f"a guess, {name}", unit, worse)

    @property
    def worse_than_chance(self) -> tuple[float, float]:
        """At least and at most this part of the samples has an ℓ above that of a guess."""
        low, high = (worse / max(1, self._total) for worse in self.worse)
        return low, high

    @property
    def _total(self) -> int:
        return int(self.counts.sum()) + self.below + self.above

    def describe(self) -> str:
        """The figure in words."""
        return (
            f"ℓ of {counted(self._total, 'sample')} on a logarithmic scale. The mean is "
            f"{number(self.mean)} {self.unit}; {self.chance_name}, has {number(self.chance)}. "
            f"{self._describe_worse()} of the samples are worse than a guess."
        )

    def _describe_worse(self) -> str:
        low, high = map(percent, self.worse_than_chance)
        return low if low == high else f"At least {low} and at most {high}"

    def plot(self) -> go.Figure:
        """Bars, and a line at the mean and at chance."""
        low, high = np.log10(self.edges[:-1]), np.log10(self.edges[1:])
        spans = [f"{a:.3g} – {b:.3g}" for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)]
        rows = [[span, int(n)] for span, n in zip(spans, self.counts, strict=True)]
        numbers = table([f"ℓ ({self.unit})", "samples"], [["below", self.below], *rows, ["above", self.above]])
        result = figure(
            "How ℓ is distributed",
            self.describe(),
            numbers,
            x=f"ℓ ({self.unit})",
            y="samples",
            yaxis_rangemode="tozero",
        )
        result.add_bar(
            x=(low + high) / 2,
            y=self.counts,
            width=high - low,
            marker={"color": BLUE, "line": {"width": 0}},
            name="samples",
            customdata=spans,
            hovertemplate="ℓ %{customdata}<br>%{y} samples<extra></extra>",
            showlegend=False,
        )
        _mark(result, self.mean, f"mean {number(self.mean)}", GREEN, "dot")
        _mark(result, self.chance, f"{self.chance_name}: {number(self.chance)}", VERMILLION, "dash")
        return decades(result, float(low.min(initial=0)), float(high.max(initial=0)))


def _worse(summary: CategoricalSummary | BinarySummary | RegressionSummary) -> tuple[int, int]:
    """How many are above chance: of a regression, whose chance nobody knows before the end, what its bins tell."""
    if not isinstance(summary, RegressionSummary):
        return summary.num_worse, summary.num_worse
    counts, higher = summary.loss_histogram.counts.numpy(), summary.loss_histogram.edges.numpy() > summary.chance
    surely, perhaps = counts[1:][higher].sum(), counts[:-1][higher].sum() + counts[-1]
    return int(surely) + summary.num_infinite, int(perhaps) + summary.num_infinite


def _trimmed(histogram: Histogram) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Bins merged, and none of the empty ones at the ends."""
    edges, counts = histogram.edges.numpy(), histogram.counts.numpy()
    inner = counts[1:-1]
    whole = len(inner) // MERGED * MERGED
    merged = inner[:whole].reshape(-1, MERGED).sum(1)
    kept = np.flatnonzero(merged)
    first, last = (kept[0], kept[-1] + 1) if len(kept) else (0, 1)
    above = int(counts[-1] + inner[whole:].sum())
    return edges[: whole + 1 : MERGED][first : last + 1], merged[first:last], int(counts[0]), above


def _mark(result: go.Figure, x: float, name: str, color: str, dash: str) -> None:
    """A vertical line with its name; nothing where there is no logarithm."""
    if not (math.isfinite(x) and x > 0):
        return
    at = math.log10(x)
    result.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line=line(color, dash, 2))
    result.add_scatter(
        x=[None], y=[None], mode="lines", line=line(color, dash, 2), name=name, hoverinfo="skip", showlegend=True
    )


def decades(result: go.Figure, low: float, high: float) -> go.Figure:
    """An axis of log10 with a few powers of ten written out, or where it has none three values."""
    powers = range(math.ceil(low), math.floor(high) + 1)
    few = list(powers[:: math.ceil(len(powers) / 4)]) if len(powers) > 1 else list(np.linspace(low, high, 3))
    names = [power(at) for at in few] if len(powers) > 1 else [number(float(10**at)) for at in few]
    return result.update_xaxes(tickangle=0, tickvals=few, ticktext=names)
