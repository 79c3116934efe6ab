"""The samples with the largest loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from losscope.figures.display import Display, unit_of_loss
from losscope.figures.numbers import counted, number
from losscope.figures.style import BLUE, GREY, VERMILLION, figure, line, table, text
from losscope.summary import BinarySummary, CategoricalSummary, RegressionSummary
from losscope.summary.result import WorstSample


@dataclass(frozen=True, eq=False)
class WorstDisplay(Display):
    """ℓ of the worst samples, the worst first.

    Attributes:
        names: the number of each, with its position where it has one.
        loss: of each; infinite or NaN ones come first.
        targets: in words.
        decisions: in words.
        chance: the ℓ of a guess.
        unit: of ℓ.
    """

    names: list[str]
    loss: np.ndarray
    targets: list[str]
    decisions: list[str]
    chance: float
    unit: str
    takes = (CategoricalSummary, BinarySummary, RegressionSummary)

    @classmethod
    def _read(cls, summary: CategoricalSummary | BinarySummary | RegressionSummary) -> WorstDisplay:
        worst = summary.worst
        return cls(
            [_place(sample) for sample in worst],
            np.array([sample.loss for sample in worst]),
            [_word(summary, sample.target) for sample in worst],
            [_word(summary, sample.decision) for sample in worst],
            summary.chance,
            unit_of_loss(summary),
        )

    def describe(self) -> str:
        """The figure in words."""
        if not self.names:
            return "No worst samples were kept: the summary was made with worst=0."
        return (
            f"{counted(len(self.names), 'sample')} with the largest ℓ. Sample {self.names[0]} is the worst: "
            f"ℓ = {number(float(self.loss[0]))} {self.unit}, target '{self.targets[0]}', decision "
            f"'{self.decisions[0]}'. A guess costs {number(self.chance)}."
        )

    def plot(self) -> go.Figure:
        """A bar for each sample; one that is not finite has a bar as long as the longest, and says so."""
        y, finite = np.arange(len(self.names)), np.isfinite(self.loss)
        longest = float(self.loss[finite].max(initial=1e-9))
        said = [number(float(v)) for v in self.loss]
        rows = [list(row) for row in zip(self.names, said, self.targets, self.decisions, strict=True)]
        result = figure(
            "Which samples cost the most",
            self.describe(),
            table(["sample", f"ℓ ({self.unit})", "target", "decision"], rows),
            x=f"ℓ ({self.unit})",
            y="sample",
            height=150 + 24 * max(3, len(y)),
            xaxis_range=[0, longest],
            margin_r=56,  # the numbers beside the bars
            yaxis={"tickvals": y, "ticktext": self.names, "autorange": "reversed"},
            showlegend=False,
        )
        result.add_bar(
            x=np.where(finite, self.loss, longest),
            y=y,
            orientation="h",
            width=0.72,
            marker={"color": [BLUE if one else VERMILLION for one in finite], "line": {"width": 0}},
            text=said,
            textposition="outside",
            cliponaxis=False,
            textfont={"size": 11, "color": GREY},
            customdata=[[text(cell, 80) for cell in row] for row in rows],
            hovertemplate="sample %{customdata[0]}<br>ℓ %{customdata[1]}<br>target %{customdata[2]}<br>"
            "decision %{customdata[3]}<extra></extra>",
        )
        if self.chance <= longest:
            result.add_vline(self.chance, line=line(VERMILLION, "dash", 2))
            result.add_annotation(x=self.chance, y=1, yref="paper", yanchor="bottom", text="a guess", showarrow=False)
        return result


def _place(sample: WorstSample) -> str:
    return f"{sample.index}" + (f" ({', '.join(map(str, sample.position))})" if sample.position else "")


def _word(summary: CategoricalSummary | BinarySummary | RegressionSummary, value: float) -> str:
    if isinstance(summary, CategoricalSummary):
        return summary.classes.name(int(value))
    return number(float(value))
