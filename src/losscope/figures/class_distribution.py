"""How ℓ is distributed within each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.errors import InputError
from losscope.figures.classes import MOST_CLASSES
from losscope.figures.display import Display
from losscope.figures.distribution import decades
from losscope.figures.numbers import number
from losscope.figures.style import BLUE, VERMILLION, faded, figure, line, table, text, texts
from losscope.summary import BinarySummary, CategoricalSummary
from losscope.summary.result import Histogram

PARTS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class ClassDistributionDisplay(Display):
    """Quantiles of ℓ in each class, the one with the largest median first.

    Attributes:
        names: of the classes shown.
        quantiles: (C, 5) of ℓ in nats, at 5, 25, 50, 75 and 95 %, from bins a quarter of an octave wide.
        samples: (C,) with a finite ℓ.
        floor: where the bins begin: a quantile that is not above is only known to be below.
        chance: the ℓ of a guess.
        num_classes: H, shown or not.
    """

    names: list[str]
    quantiles: np.ndarray
    samples: np.ndarray
    floor: float
    chance: float
    num_classes: int
    takes = (CategoricalSummary, BinarySummary)

    @classmethod
    def _read(cls, summary: CategoricalSummary | BinarySummary) -> ClassDistributionDisplay:
        histogram = summary.classes.loss_histogram
        if histogram is None:
            raise InputError(
                cls.__name__, "a summary with histograms by class", "one above class_limit", "raise class_limit"
            )
        samples, all_of_them = histogram.counts.sum(1).numpy(), _quantiles(histogram)
        order = np.argsort(-np.nan_to_num(all_of_them[:, 2], nan=-1.0), kind="stable")
        order = order[samples[order] > 0][:MOST_CLASSES]
        names = [summary.classes.name(int(h)) for h in order]
        floor = float(histogram.edges[0]) * (1 + 1e-9)  # a quantile has been through a logarithm
        return cls(names, all_of_them[order], samples[order], floor, summary.chance, len(samples))

    def describe(self) -> str:
        """The figure in words."""
        if not self.names:
            return "No class has a sample whose ℓ is finite."
        some = f"The {len(self.names)} most expensive of {self.num_classes:,} classes. " * (
            len(self.names) < self.num_classes
        )
        if self.quantiles[0, 2] <= self.floor:
            return (
                f"{some}In each of them at least half of the samples have an ℓ below {number(self.floor)} nats. "
                f"A guess costs {number(self.chance)}."
            )
        _, low, median, high, most = self._said(self.quantiles[0])
        return (
            f"{some}Half of the samples of '{self.names[0]}' have an ℓ above {median} nats, the largest median: half "
            f"lie in {low} to {high}, and 5 % above {most}. A guess costs {number(self.chance)}. "
            f"Each box is such a half of its class, and its lines go from 5 to 95 %."
        )

    def _cell(self, quantile: float) -> float | str:
        return float(f"{quantile:.3g}") if quantile > self.floor else f"<{number(self.floor)}"

    def _said(self, quantiles: np.ndarray) -> list[str]:
        return [number(self._cell(value)) for value in quantiles]

    def plot(self) -> go.Figure:
        """A box for each class: its quartiles, with lines to 5 and to 95 %."""
        y, at = np.arange(len(self.names)), np.log10(self.quantiles)
        rows = [
            [name, *map(self._cell, values), int(n)]
            for name, values, n in zip(self.names, self.quantiles, self.samples, strict=True)
        ]
        result = figure(
            "How ℓ is distributed in each class",
            self.describe(),
            table(["class", *(f"{part:.0%}" for part in PARTS), "samples"], rows),
            x="ℓ (nats)",
            y="",
            height=150 + 24 * max(3, len(y)),
            yaxis={"tickvals": y, "ticktext": texts(self.names), "autorange": "reversed"},
            showlegend=False,
        )
        result.add_box(
            y=y,
            orientation="h",
            lowerfence=at[:, 0],
            q1=at[:, 1],
            median=at[:, 2],
            q3=at[:, 3],
            upperfence=at[:, 4],
            fillcolor=faded(BLUE, 0.35),
            line={"color": BLUE, "width": 1.5},
            hoverinfo="skip",
        )
        result.add_scatter(
            x=at[:, 2],
            y=y,
            mode="markers",
            marker={"size": 7, "color": BLUE},
            customdata=[[text(name, 80), *map(number, row[1:])] for name, row in zip(self.names, rows, strict=True)],
            hovertemplate="%{customdata[0]}<br>median ℓ %{customdata[3]} nats<br>half in %{customdata[2]} – "
            "%{customdata[4]}<br>%{customdata[6]} samples<extra></extra>",
        )
        if self.chance > 0:  # of one class a guess costs nothing, which has no logarithm
            guess = float(np.log10(self.chance))
            result.add_vline(guess, line=line(VERMILLION, "dash", 2))
            result.add_annotation(x=guess, y=1, yref="paper", yanchor="bottom", text="a guess", showarrow=False)
        return decades(result, float(at.min(initial=0)), float(at.max(initial=0)))


def _quantiles(histogram: Histogram) -> np.ndarray:
    """(H, 5), logarithmic within a bin; the first and last edge for what lies outside, NaN for an empty class."""
    log = np.log(histogram.edges.numpy())
    edges = np.concatenate((log[:1], log, log[-1:]))
    return np.stack([_of_class(edges, counts) for counts in histogram.counts.numpy()])


def _of_class(edges: np.ndarray, counts: np.ndarray) -> np.ndarray:
    if not counts.any():
        return np.full(len(PARTS), np.nan)
    below = np.concatenate(([0.0], np.cumsum(counts)))
    wanted = np.array(PARTS) * below[-1]
    bins = np.searchsorted(below, wanted) - 1
    share = (wanted - below[bins]) / counts[bins]
    result: np.ndarray = np.exp(edges[bins] + share * (edges[bins + 1] - edges[bins]))
    return result
