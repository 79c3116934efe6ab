"""Where to cut each label by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.errors import InputError
from losscope.figures.display import Display
from losscope.figures.numbers import number
from losscope.figures.style import BLUE, VERMILLION, faded, figure, table, text, texts
from losscope.summary import BinarySummary

MOST_LABELS = 20  # three panels of them, one above the other


@dataclass(frozen=True, eq=False)
class LabelThresholdDisplay(Display):
    """Precision, recall and F1 of the decision ŷ_h ≥ threshold, label by label; who gains most by its own comes first.

    Attributes:
        names: of the labels shown.
        thresholds: (B,).
        precision: (L, B); NaN where nothing is decided.
        recall: (L, B).
        f1: (L, B).
        best: (L,) the threshold with the largest F1.
        support: (L,) how often the label is true.
        num_labels: H, shown or not.
    """

    names: list[str]
    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    best: np.ndarray
    support: np.ndarray
    num_labels: int
    takes = (BinarySummary,)

    @classmethod
    def _read(cls, summary: BinarySummary) -> LabelThresholdDisplay:
        curve = summary.thresholds
        if curve is None:
            raise InputError(
                cls.__name__, "a summary with thresholds by label", "one above class_limit", "raise class_limit"
            )
        f1 = curve.f1.numpy()
        gain = np.nan_to_num(f1).max(1) - np.nan_to_num(f1[:, len(curve.thresholds) // 2])
        order = np.argsort(-gain, kind="stable")
        order = order[curve.support.numpy()[order] > 0][:MOST_LABELS]
        return cls(
            [summary.classes.name(int(h)) for h in order],
            curve.thresholds.numpy(),
            curve.precision.numpy()[order],
            curve.recall.numpy()[order],
            f1[order],
            curve.best.numpy()[order],
            curve.support.numpy()[order],
            summary.num_labels,
        )

    def at(self, threshold: np.ndarray) -> np.ndarray:
        """(L, 3): precision, recall and F1 of each label at a threshold of its own."""
        place = np.abs(self.thresholds - threshold[:, None]).argmin(1)
        row = np.arange(len(self.names))
        return np.stack([x[row, place] for x in (self.precision, self.recall, self.f1)], 1)

    def describe(self) -> str:
        """The figure in words."""
        if not self.names:
            return "No label is ever true, so no threshold can be chosen."
        some = f"{len(self.names)} of {self.num_labels:,} labels. " * (len(self.names) < self.num_labels)
        half, best = self.at(np.full(len(self.names), 0.5)), self.at(self.best)
        return (
            f"{some}'{self.names[0]}' gains the most by a threshold of its own: F1 {number(float(best[0, 2]))} at "
            f"{number(float(self.best[0]))} instead of {number(float(half[0, 2]))} at 1/2. The diamonds are the best "
            f"thresholds; choose them on other data than you test on."
        )

    def plot(self) -> go.Figure:
        """Three maps of label and threshold, one above the other."""
        y, half = np.arange(len(self.names)), self.at(np.full(len(self.names), 0.5))
        rows = [
            [name, *(None if np.isnan(v) else float(f"{v:.4g}") for v in (t, *at, before)), int(n)]
            for name, t, at, before, n in zip(
                self.names, self.best, self.at(self.best), half[:, 2], self.support, strict=True
            )
        ]
        result = figure(
            "Where to cut each label",
            self.describe(),
            table(["label", "best threshold", "precision", "recall", "F1", "F1 at 1/2", "times true"], rows),
            x="threshold of ŷ (probability)",
            y="",
            height=180 + 3 * (36 + 20 * max(2, len(y))),
            xaxis={"range": [0, 1], "anchor": "y"},
            showlegend=False,
        )
        panels = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        ticks = {"tickvals": y, "ticktext": texts(self.names, 14), "showgrid": False}
        for k, (name, values) in enumerate(reversed(panels.items())):
            axis, low = "y" if k == 0 else f"y{k + 1}", 0.36 * k
            place = {"domain": [low, low + 0.25], "range": [len(y) - 0.5, -0.5]}
            result.update_layout({f"yaxis{axis[1:]}": {**ticks, **place}})
            result.add_annotation(
                x=0,
                y=low + 0.25,
                xref="paper",
                yref="paper",
                text=name,
                showarrow=False,
                xanchor="left",
                yanchor="bottom",
            )
            result.add_heatmap(
                x=self.thresholds,
                y=y,
                z=values,
                yaxis=axis,
                zmin=0,
                zmax=1,
                colorscale=[[0, faded(BLUE, 0.03)], [1, BLUE]],
                showscale=k == 0,
                colorbar={"thickness": 10, "len": 0.3, "y": 0.12, "tickformat": ".1f"},
                customdata=np.broadcast_to(np.array([text(n, 80) for n in self.names])[:, None], values.shape),
                hovertemplate=f"%{{customdata}}<br>threshold %{{x:.3f}}<br>{name} %{{z:.3f}}<extra></extra>",
            )
            result.add_scatter(
                x=self.best,
                y=y,
                yaxis=axis,
                mode="markers",
                marker={"symbol": "diamond", "size": 8, "color": VERMILLION},
                hoverinfo="skip",
            )
        return result
