"""Which classes cost the most, and which are taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.figures.display import Display
from losscope.figures.numbers import counted, number, percent
from losscope.figures.style import BLUE, GREY, VERMILLION, faded, figure, table, text, texts
from losscope.summary import BinarySummary, CategoricalSummary

MOST_CLASSES = 30  # rows that a reader can take in
LARGEST_MATRIX = 40  # classes of a confusion matrix whose cells can still be read


@dataclass(frozen=True, eq=False)
class ClassLossDisplay(Display):
    """Mean ℓ of each class, the most expensive first.

    Attributes:
        names: of the classes shown.
        mean_loss: of each, in nats.
        count: samples that this is the mean of: those of the class, or of a label all that count; NaN where the
            summary is above class_limit and some labels are ignored, so that nobody knows.
        chance: the ℓ of a guess.
        chance_name: how that is written.
        num_classes: H, shown or not.
    """

    names: list[str]
    mean_loss: np.ndarray
    count: np.ndarray
    chance: float
    chance_name: str
    num_classes: int
    takes = (CategoricalSummary, BinarySummary)

    @classmethod
    def _read(cls, summary: CategoricalSummary | BinarySummary) -> ClassLossDisplay:
        loss, count = summary.classes.mean_loss.numpy(), _counted(summary)
        order = np.argsort(-np.nan_to_num(loss, nan=-1.0), kind="stable")[:MOST_CLASSES]
        order = order[np.isfinite(loss[order])]
        many = summary.num_classes if isinstance(summary, CategoricalSummary) else summary.num_labels
        chance_name = f"ln {many}" if isinstance(summary, CategoricalSummary) else "ln 2"
        names = [summary.classes.name(int(h)) for h in order]
        return cls(names, loss[order], count[order], summary.chance, f"{chance_name}, a guess", many)

    def describe(self) -> str:
        """The figure in words."""
        shown = len(self.names)
        if not shown:
            return "No class has a finite mean ℓ."
        part = f"The {shown} most expensive of {self.num_classes:,} classes. " if shown < self.num_classes else ""
        over = "" if np.isnan(self.count[0]) else f" over {counted(int(self.count[0]), 'sample')}"
        first = f"'{self.names[0]}' costs the most: {number(self.mean_loss[0])} nats{over}"
        rest = f"; '{self.names[-1]}' costs {number(self.mean_loss[-1])}" if shown > 1 else ""
        return f"{part}{first}{rest}. A guess costs {number(self.chance)}."

    def plot(self) -> go.Figure:
        """A bar for each class."""
        rows = [
            [name, float(f"{loss:.4g}"), None if np.isnan(n) else int(n)]
            for name, loss, n in zip(self.names, self.mean_loss, self.count, strict=True)
        ]
        y = np.arange(len(self.names))
        result = figure(
            "Which classes cost the most",
            self.describe(),
            table(["class", "mean ℓ (nats)", "samples"], rows),
            x="mean ℓ (nats)",
            y="",
            height=140 + 24 * max(3, len(self.names)),
            xaxis={"range": [0, float(self.mean_loss.max(initial=1e-9))], "nticks": 4},
            margin_r=80,  # the numbers beside the bars
            yaxis={"tickvals": y, "ticktext": texts(self.names), "autorange": "reversed"},
        )
        result.add_bar(
            x=self.mean_loss,
            y=y,
            orientation="h",
            width=0.72,
            marker={"color": BLUE, "line": {"width": 0}},
            customdata=[[text(n, 80), number(k)] for n, k in zip(self.names, self.count, strict=True)],
            text=[f"n = {number(n)}" for n in self.count],
            textposition="outside",
            cliponaxis=False,
            textfont={"size": 11, "color": GREY},
            hovertemplate="%{customdata[0]}<br>mean ℓ %{x:.3g} nats<br>%{customdata[1]} samples<extra></extra>",
            showlegend=False,
        )
        return result


def _counted(summary: CategoricalSummary | BinarySummary) -> np.ndarray:
    """How many samples the mean ℓ of each class or label is over."""
    classes = summary.classes
    if isinstance(summary, CategoricalSummary):
        return classes.support.numpy()
    if classes.loss_histogram is not None:  # the finite ones; a label that has others is not shown
        return classes.loss_histogram.counts.sum(1).numpy()
    each = np.nan if summary.num_ignored else summary.num_counted // summary.num_labels
    return np.full(summary.num_labels, each)


@dataclass(frozen=True, eq=False)
class ConfusionDisplay(Display):
    """What was taken for what.

    Attributes:
        names: of the classes.
        matrix: (H, H) counts, rows the truth, columns the decision; None where there are too many classes.
        pairs: the most frequent mistakes as (truth, decision, count), the most frequent first.
        accuracy: the part that was right.
        exact: whether the pairs' counts are exact.
    """

    names: list[str]
    matrix: np.ndarray | None
    pairs: list[tuple[str, str, int]]
    accuracy: float
    exact: bool
    takes = (CategoricalSummary,)

    @classmethod
    def _read(cls, summary: CategoricalSummary) -> ConfusionDisplay:
        name = summary.classes.name
        fits = summary.confusion is not None and summary.num_classes <= LARGEST_MATRIX
        matrix = summary.confusion.numpy() if fits and summary.confusion is not None else None
        pairs = [(name(c.target), name(c.decision), c.count) for c in summary.top_confusions]
        names = [name(h) for h in range(summary.num_classes)] if fits else []
        return cls(names, matrix, pairs[:20], summary.accuracy, summary.confusions_missed == 0)

    def describe(self) -> str:
        """The figure in words."""
        right = f"{percent(self.accuracy)} of the decisions are right. "
        if not self.pairs:
            return right + "No class was taken for another."
        truth, decision, count = self.pairs[0]
        return right + f"The most frequent mistake: '{truth}' taken for '{decision}', {counted(count, 'time')}."

    def plot(self) -> go.Figure:
        """The matrix where its cells can be read, else the most frequent mistakes."""
        return self._pairs() if self.matrix is None else self._matrix(self.matrix)

    def _matrix(self, counts: np.ndarray) -> go.Figure:
        total = counts.sum(1, keepdims=True)
        share = counts / np.maximum(total, 1)
        right = np.eye(len(counts), dtype=bool)
        mistakes = np.where(right | (counts == 0), np.nan, share)
        ticks = np.arange(len(counts))
        names = texts(self.names, 14)
        small = len(counts) <= 20
        result = figure(
            "What was taken for what",
            self.describe(),
            table(
                ["truth \\ decision", *self.names], [[n, *r] for n, r in zip(self.names, counts.tolist(), strict=True)]
            ),
            x="decision d",
            y="truth y",
            height=min(760, 190 + 34 * len(counts)) if small else 240 + 16 * len(counts),
            least_width=0 if len(counts) <= 12 else 160 + (20 if small else 16) * len(counts),
            xaxis={"tickvals": ticks, "ticktext": names, "showgrid": False, "autotickangles": [0, 90]},
            yaxis={"tickvals": ticks, "ticktext": names, "autorange": "reversed", "showgrid": False},
        )
        hover = "truth %{customdata[0]}<br>decision %{customdata[1]}<br>%{customdata[2]} samples<extra></extra>"
        custom = [
            [[t, d, n] for d, n in zip(names, row, strict=True)] for t, row in zip(names, counts.tolist(), strict=True)
        ]
        for values, color in ((np.where(right, share, np.nan), BLUE), (mistakes, VERMILLION)):
            result.add_heatmap(
                z=values,
                zmin=0,
                zmax=max(1e-12, float(np.nanmax(values, initial=0))),
                colorscale=[[0, faded(color, 0.05)], [1, faded(color, 0.62)]],
                showscale=False,
                xgap=2,
                ygap=2,
                customdata=custom,
                text=np.where(counts, counts, "") if small else None,
                texttemplate="%{text}" if small else "",
                textfont={"color": GREY, "size": 12},
                hoverongaps=False,
                hovertemplate=hover,
            )
        return result

    def _pairs(self) -> go.Figure:
        truths, decisions, counts = zip(*self.pairs, strict=True) if self.pairs else ((), (), ())
        short = texts([*truths, *decisions], 14)
        names = [f"{t} → {d}" for t, d in zip(short, short[len(truths) :], strict=False)]
        y = np.arange(len(names))
        result = figure(
            "What is taken for what most often",
            self.describe() + ("" if self.exact else " The counts are lower bounds."),
            table(["truth", "decision", "samples"], self.pairs),
            x="samples",
            y="",
            height=140 + 24 * max(3, len(names)),
            xaxis={"tick0": 0, "dtick": 1} if max(counts, default=0) <= 5 else {},
            xaxis_range=None if self.pairs else [0, 1],
            yaxis={"tickvals": y, "ticktext": names, "autorange": "reversed"},
        )
        result.add_bar(
            x=counts,
            y=y,
            orientation="h",
            width=0.72,
            marker={"color": VERMILLION, "line": {"width": 0}},
            hovertemplate="%{x} samples<extra></extra>",
            showlegend=False,
        )
        return result
