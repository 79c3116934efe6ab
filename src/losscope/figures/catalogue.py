"""Which figures a summary has."""

from __future__ import annotations

import plotly.graph_objects as go

from losscope.figures.calibration import ReliabilityDisplay, TemperatureDisplay
from losscope.figures.class_distribution import ClassDistributionDisplay
from losscope.figures.classes import ClassLossDisplay, ConfusionDisplay
from losscope.figures.confidence import ConfidenceDisplay
from losscope.figures.display import Display
from losscope.figures.distribution import LossDistributionDisplay
from losscope.figures.label_thresholds import LabelThresholdDisplay
from losscope.figures.residuals import ResidualDisplay
from losscope.figures.thresholds import ThresholdDisplay
from losscope.figures.worst import WorstDisplay
from losscope.summary import BinarySummary, CategoricalSummary, SummaryResult

DISPLAYS: tuple[type[Display], ...] = (
    LossDistributionDisplay,
    ReliabilityDisplay,
    ConfidenceDisplay,
    TemperatureDisplay,
    ConfusionDisplay,
    ClassLossDisplay,
    ClassDistributionDisplay,
    ThresholdDisplay,
    LabelThresholdDisplay,
    ResidualDisplay,
    WorstDisplay,
)


def for_summary(summary: SummaryResult) -> dict[str, go.Figure]:
    """Every figure that this summary has the numbers for, by the name of its display, in the order to read them."""
    return {kind.__name__: kind.from_summary(summary).plot() for kind in DISPLAYS if _fits(kind, summary)}


def _fits(kind: type[Display], summary: SummaryResult) -> bool:
    if not isinstance(summary, kind.takes) or not summary.num_counted:
        return False
    return kind not in _lacking(summary)


def _lacking(summary: SummaryResult) -> list[type[Display]]:
    """The figures whose numbers this summary could not keep, or that would say nothing new."""
    lacking: list[type[Display]] = [] if summary.worst else [WorstDisplay]
    if isinstance(summary, CategoricalSummary) and summary.temperature is None:
        lacking.append(TemperatureDisplay)
    if isinstance(summary, CategoricalSummary | BinarySummary) and summary.classes.loss_histogram is None:
        lacking.append(ClassDistributionDisplay)
    if isinstance(summary, BinarySummary) and not _cut_apart(summary):
        lacking.append(LabelThresholdDisplay)
    return lacking


def _cut_apart(summary: BinarySummary) -> bool:
    """Some label can have a threshold of its own."""
    return summary.thresholds is not None and summary.num_labels > 1 and bool(summary.thresholds.support.any())
