"""Are the probabilities right as often as they say: reliability, and what one temperature would change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.errors import InputError
from losscope.figures.display import Display
from losscope.figures.numbers import counted, number
from losscope.figures.style import BLUE, GREY, VERMILLION, Table, faded, figure, line, table
from losscope.summary import BinarySummary, CategoricalSummary


@dataclass(frozen=True, eq=False)
class AfterTemperature:
    """The bins of softmax(z / T).

    Attributes:
        temperature: T, the one with the smallest mean ℓ.
        confidence: (B,) mean confidence; NaN where there is none.
        accuracy: (B,) the part that is right; NaN where there is none.
        ece: the expected calibration error.
    """

    temperature: float
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float


@dataclass(frozen=True, eq=False)
class ReliabilityDisplay(Display):
    """How often a confidence comes true, with what chance alone would show for this many samples.

    Attributes:
        edges: (B + 1,) of the bins, 0 to 1.
        count: (B,) samples in each.
        confidence: (B,) their mean confidence; NaN where there is none.
        accuracy: (B,) the part of them that is right; NaN where there is none.
        low: (B,) a calibrated model's accuracy is below this in 5 % of the draws.
        high: (B,) and above this in 5 %.
        ece: the expected calibration error.
        ece_null: (5 %, mean, 95 %) of the ECE of a calibrated model of this size.
        p_value: the part of such models whose ECE is at least as large.
        right: what is right: "d = y" or "m = 1".
        after: the same at the best temperature, where there is one.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ece: float
    ece_null: tuple[float, float, float]
    p_value: float
    right: str
    after: AfterTemperature | None = None
    takes = (CategoricalSummary, BinarySummary)

    @classmethod
    def _read(cls, summary: CategoricalSummary | BinarySummary) -> ReliabilityDisplay:
        c = summary.calibration
        null = c.null
        return cls(
            c.edges.numpy(),
            c.count.numpy(),
            c.confidence.numpy(),
            c.accuracy.numpy(),
            null.bin_low.numpy(),
            null.bin_high.numpy(),
            c.ece,
            (null.low, null.mean, null.high),
            null.p_value,
            "d = y" if isinstance(summary, CategoricalSummary) else "m = 1",
            _after(summary),
        )

    def describe(self) -> str:
        """The figure in words."""
        if not self.count.any():
            return "Every confidence is NaN, so none of them can come true."
        low, mean, high = self.ece_null
        gap = np.nansum(self.count * (self.confidence - self.accuracy)) / max(1, self.count.sum())
        sure = "surer than it is right" if gap > 0 else "less sure than it is right"
        verdict = (
            f"so the difference is more than chance: on average the model is {sure}, by {number(abs(gap))}"
            if self.ece > high
            else "so this is no more than chance would show"
        )
        over = counted(int(self.count.sum()), "sample")
        return (
            f"ECE = {number(self.ece)} over {over}. A perfectly calibrated model of this size shows {number(low)} to "
            f"{number(high)} (mean {number(mean)}), {verdict}.{self._describe_after()}"
        )

    def _describe_after(self) -> str:
        if self.after is None:
            return ""
        return f" At T = {number(self.after.temperature)} the ECE is {number(self.after.ece)}."

    def plot(self) -> go.Figure:
        """Points on a diagonal, inside or outside of the null band, and the counts below."""
        shown = np.flatnonzero(self.count)
        x, y, n = self.confidence[shown], self.accuracy[shown], self.count[shown]
        low, high = self.low[shown], self.high[shown]
        numbers = self._table()
        result = figure(
            "Does a confidence come true?",
            self.describe(),
            numbers,
            x="confidence (probability)",
            y=f"accuracy (part with {self.right})",
            height=460,
            xaxis_range=[-0.02, 1.02],  # room for the whole of a point at an end
            yaxis={"range": [-0.03, 1.03], "domain": [0.28, 1]},
            yaxis2={
                "domain": [0, 0.17],
                "showgrid": False,
                "title_text": "samples",
                "nticks": 3,
                "rangemode": "tozero",
            },
            xaxis_anchor="y2",
        )
        result.add_scatter(x=x, y=high, mode="lines", line=line(GREY, width=0), showlegend=False, hoverinfo="skip")
        result.add_scatter(
            x=x,
            y=low,
            mode="lines",
            line=line(GREY, width=0),
            fill="tonexty",
            fillcolor="rgba(128,134,142,0.3)",
            name="a calibrated model, 90 %",
            hoverinfo="skip",
        )
        result.add_scatter(
            x=[0, 1], y=[0, 1], mode="lines", line=line(GREY, "dash", 1.5), name="ŷ = accuracy", hoverinfo="skip"
        )
        result.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line=line(BLUE),
            marker={"size": 8},
            customdata=np.stack([n, low, high], axis=1),
            name=f"this model, ECE {number(self.ece)}",
            hovertemplate="confidence %{x:.3f}<br>accuracy %{y:.3f}<br>%{customdata[0]} samples<br>"
            "calibrated: %{customdata[1]:.3f} – %{customdata[2]:.3f}<extra></extra>",
        )
        if self.after is not None:
            result.add_scatter(
                x=self.after.confidence,
                y=self.after.accuracy,
                mode="lines+markers",
                connectgaps=True,
                line=line(VERMILLION, "dot"),
                marker={"size": 8, "symbol": "diamond"},
                name=f"at T = {number(self.after.temperature)}, ECE {number(self.after.ece)}",
                hovertemplate="confidence %{x:.3f}<br>accuracy %{y:.3f}<extra></extra>",
            )
        result.add_bar(
            x=(self.edges[1:] + self.edges[:-1]) / 2,
            y=self.count,
            width=np.diff(self.edges) * 0.94,
            marker={"color": faded(BLUE, 0.55), "line": {"width": 0}},
            yaxis="y2",
            showlegend=False,
            hovertemplate="%{y} samples<extra></extra>",
        )
        return result

    def _table(self) -> Table:
        """The bins that hold samples, before or after."""
        columns = ["confidence", "accuracy", "null 5 %", "null 95 %", "samples"]
        values = [self.confidence, self.accuracy, self.low, self.high, self.count]
        if self.after is not None:
            columns += ["confidence at T", "accuracy at T"]
            values += [self.after.confidence, self.after.accuracy]
        bins = [f"{number(a)} – {number(b)}" for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)]
        cells = np.stack(values, 1)
        filled = ~np.isnan(np.delete(cells, 4, 1)).all(1)
        rows = [[name, *map(_cell, row)] for name, row, some in zip(bins, cells, filled, strict=True) if some]
        return table(["bin", *columns], rows)


def _after(summary: CategoricalSummary | BinarySummary) -> AfterTemperature | None:
    t = summary.temperature if isinstance(summary, CategoricalSummary) else None
    if t is None:
        return None
    return AfterTemperature(t.temperature, t.bin_confidence.numpy(), t.bin_accuracy.numpy(), t.ece)


def _cell(value: float) -> float | None:
    return None if np.isnan(value) else _round(value)


@dataclass(frozen=True, eq=False)
class TemperatureDisplay(Display):
    """Mean ℓ and ECE of softmax(z / T).

    Attributes:
        grid: (G,) temperatures.
        nll: (G,) mean ℓ at each, in nats.
        ece: (G,) ECE at each.
        best: the T with the smallest mean ℓ.
        nll_before: mean ℓ at T = 1.
        nll_after: mean ℓ at the best T.
        ece_before: ECE at T = 1.
        ece_after: ECE at the best T.
        at_edge: the best T is the end of the grid, or beyond it.
    """

    grid: np.ndarray
    nll: np.ndarray
    ece: np.ndarray
    best: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    at_edge: bool
    takes = (CategoricalSummary,)

    @classmethod
    def _read(cls, summary: CategoricalSummary) -> TemperatureDisplay:
        t = summary.temperature
        if t is None:
            raise InputError(
                cls.__name__,
                "a summary with a best temperature",
                "one in which some ℓ is not finite, or nothing counts",
                "leave this figure out",
            )
        return cls(
            t.grid.numpy(),
            t.grid_nll.numpy(),
            t.grid_ece.numpy(),
            t.temperature,
            t.nll_before,
            t.nll,
            t.ece_before,
            t.ece,
            t.at_edge,
        )

    def describe(self) -> str:
        """The figure in words."""
        sure = "less sure" if self.best > 1 else "surer"
        return (
            f"softmax(z/T) has its smallest mean ℓ at {self._best()}: {number(self.nll_after)} nats "
            f"instead of {number(self.nll_before)}, and an ECE of {number(self.ece_after)} instead of "
            f"{number(self.ece_before)}. That T makes every decision {sure}, and changes none."
        )

    def _best(self) -> str:
        return f"T = {number(self.best)}{' or beyond' if self.at_edge else ''}"

    def plot(self) -> go.Figure:
        """Two curves over T, with the best T marked."""
        rows = [[_round(v) for v in row] for row in zip(self.grid, self.nll, self.ece, strict=True)]
        ticks = [0.125, 0.25, 0.5, 1, 2, 4, 8]
        result = figure(
            "What one temperature would change",
            self.describe(),
            table(["T", "mean ℓ (nats)", "ECE"], rows),
            x="temperature T in softmax(z/T)",
            y="mean ℓ (nats)",
            height=400,
            margin_r=64,
            yaxis2={
                "overlaying": "y",
                "side": "right",
                "title_text": "ECE (probability)",
                "showgrid": False,
                "rangemode": "tozero",
                "tickmode": "auto",
            },
            yaxis_rangemode="tozero",
        )
        x = np.log2(self.grid)
        hover = "T = %{customdata:.3g}<br>%{fullData.name} %{y:.3g}<extra></extra>"
        result.add_scatter(x=x, y=self.nll, customdata=self.grid, line=line(BLUE), name="mean ℓ", hovertemplate=hover)
        result.add_scatter(
            x=x,
            y=self.ece,
            customdata=self.grid,
            line=line(VERMILLION, "dash"),
            name="ECE",
            yaxis="y2",
            hovertemplate=hover,
        )
        result.add_scatter(
            x=[np.log2(self.best)],
            y=[self.nll_after],
            mode="markers",
            marker={"size": 11, "color": BLUE},
            name=f"best {self._best()}",
            hoverinfo="skip",
        )
        result.update_xaxes(tickvals=np.log2(ticks), ticktext=[f"{t:g}" for t in ticks])
        return result


def _round(value: float) -> float:
    return float(f"{value:.4g}")
