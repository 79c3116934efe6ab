"""Which figures a summary has."""

from __future__ import annotations

import plotly.graph_objects as go

from losscope.figures.calibration import ReliabilityDisplay, TemperatureDisplay
from losscope.figures.classes import ClassLossDisplay, ConfusionDisplay
from losscope.figures.confidence import ConfidenceDisplay
from losscope.figures.display import Display
from losscope.figures.distribution import LossDistributionDisplay
from losscope.figures.residuals import ResidualDisplay
from losscope.figures.thresholds import ThresholdDisplay
from losscope.summary import CategoricalSummary, SummaryResult

DISPLAYS: tuple[type[Display], ...] = (
    LossDistributionDisplay,
    ReliabilityDisplay,
    ConfidenceDisplay,
    TemperatureDisplay,
    ConfusionDisplay,
    ClassLossDisplay,
    ThresholdDisplay,
    ResidualDisplay,
)


def for_summary(summary: SummaryResult) -> dict[str, go.Figure]:
    """Every figure that this summary has the numbers for, by the name of its display, in the order to read them."""
    return {kind.__name__: kind.from_summary(summary).plot() for kind in DISPLAYS if _fits(kind, summary)}


def _fits(kind: type[Display], summary: SummaryResult) -> bool:
    if not isinstance(summary, kind.takes) or not summary.num_counted:
        return False
    lacks_temperature = isinstance(summary, CategoricalSummary) and summary.temperature is None
    return not (kind is TemperatureDisplay and lacks_temperature)
