"""Figures: one for each question, drawn by Plotly, of data or of the formulas themselves.

Every figure carries what it says in words and its numbers in ``figure.layout.meta``.
"""

from losscope.figures.calibration import ReliabilityDisplay, TemperatureDisplay
from losscope.figures.catalogue import for_summary
from losscope.figures.classes import ClassLossDisplay, ConfusionDisplay
from losscope.figures.confidence import ConfidenceDisplay
from losscope.figures.display import Display
from losscope.figures.distribution import LossDistributionDisplay
from losscope.figures.residuals import ResidualDisplay
from losscope.figures.thresholds import ThresholdDisplay

__all__ = [
    "ClassLossDisplay",
    "ConfidenceDisplay",
    "ConfusionDisplay",
    "Display",
    "LossDistributionDisplay",
    "ReliabilityDisplay",
    "ResidualDisplay",
    "TemperatureDisplay",
    "ThresholdDisplay",
    "for_summary",
]
