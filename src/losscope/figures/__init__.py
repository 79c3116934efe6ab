"""Figures: one for each question, drawn by Plotly, of data or of the formulas themselves.

Every figure carries what it says in words and its numbers in ``figure.layout.meta``.
"""

from losscope.figures.calibration import ReliabilityDisplay, TemperatureDisplay
from losscope.figures.catalogue import for_summary
from losscope.figures.class_distribution import ClassDistributionDisplay
from losscope.figures.classes import ClassLossDisplay, ConfusionDisplay
from losscope.figures.confidence import ConfidenceDisplay
from losscope.figures.display import Display
from losscope.figures.distribution import LossDistributionDisplay
from losscope.figures.grids import target_grid
from losscope.figures.label_thresholds import LabelThresholdDisplay
from losscope.figures.likelihoods import (
    focal,
    gradients,
    log_against_linear,
    loss_of_logit,
    smoothing,
    squared_error_on_probability,
)
from losscope.figures.links import sigmoid_link, softmax_link, softmax_map
from losscope.figures.residuals import ResidualDisplay
from losscope.figures.stability import log_softmax_three_ways
from losscope.figures.steps import steps_of_sample
from losscope.figures.thresholds import ThresholdDisplay
from losscope.figures.worst import WorstDisplay

__all__ = [
    "ClassDistributionDisplay",
    "ClassLossDisplay",
    "ConfidenceDisplay",
    "ConfusionDisplay",
    "Display",
    "LabelThresholdDisplay",
    "LossDistributionDisplay",
    "ReliabilityDisplay",
    "ResidualDisplay",
    "TemperatureDisplay",
    "ThresholdDisplay",
    "WorstDisplay",
    "focal",
    "for_summary",
    "gradients",
    "log_against_linear",
    "log_softmax_three_ways",
    "loss_of_logit",
    "sigmoid_link",
    "smoothing",
    "softmax_link",
    "softmax_map",
    "squared_error_on_probability",
    "steps_of_sample",
    "target_grid",
]
