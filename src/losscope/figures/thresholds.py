"""Where to cut: what a decision at another threshold than 1/2 would give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.figures.display import Display
from losscope.figures.numbers import number
from losscope.figures.style import BLUE, GREEN, VERMILLION, figure, line, table
from losscope.summary import BinarySummary


@dataclass(frozen=True, eq=False)
class ThresholdDisplay(Display):
    """Precision, recall and F1 of the decision ŷ ≥ threshold, over all labels together.

    Attributes:
        thresholds: (B,).
        precision: (B,); NaN where nothing is decided.
        recall: (B,).
        f1: (B,).
        best: the threshold with the largest F1.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    best: float
    takes = (BinarySummary,)

    @classmethod
    def _read(cls, summary: BinarySummary) -> ThresholdDisplay:
        curve = summary.pooled_thresholds
        return cls(
            curve.thresholds.numpy(),
            curve.precision[0].numpy(),
            curve.recall[0].numpy(),
            curve.f1[0].numpy(),
            float(curve.best[0]),
        )

    def describe(self) -> str:
        """The figure in words."""
        if np.isnan(self.best):
            return "No label is ever true, so no threshold can be chosen."
        at = int(np.argmin(np.abs(self.thresholds - self.best)))
        half = int(np.argmin(np.abs(self.thresholds - 0.5)))
        return (
            f"F1 is largest, {number(self.f1[at])}, at the threshold {number(self.best)} (precision "
            f"{number(self.precision[at])}, "
            f"recall {number(self.recall[at])}); at 1/2 it is {number(self.f1[half])}. Choose it on other data "
            f"than you test on."
        )

    def plot(self) -> go.Figure:
        """Three curves over the threshold."""
        columns = (self.thresholds, self.precision, self.recall, self.f1)
        rows = [[None if np.isnan(v) else float(f"{v:.4g}") for v in row] for row in zip(*columns, strict=True)]
        result = figure(
            "Where to cut",
            self.describe(),
            table(["threshold", "precision", "recall", "F1"], rows[::5]),
            x="threshold of ŷ (probability)",
            y="part",
            xaxis_range=[0, 1],
            yaxis_range=[0, 1.03],
        )
        for values, color, dash, name in (
            (self.precision, BLUE, "dash", "precision"),
            (self.recall, VERMILLION, "dot", "recall"),
            (self.f1, GREEN, "solid", "F1"),
        ):
            result.add_scatter(x=self.thresholds, y=values, line=line(color, dash), name=name)
        if not np.isnan(self.best):
            result.add_vline(self.best, line=line(GREEN, "longdash", 1.5))
        return result
