"""The losses: one file per likelihood, function and Module side by side."""

from losscope.losses.base import Loss
from losscope.losses.binary import (
    BCELoss,
    BCEWithLogitsLoss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
)
from losscope.losses.categorical import CrossEntropyLoss, NLLLoss, cross_entropy, nll_loss
from losscope.losses.convert import LOSS_NAMES, as_loss
from losscope.losses.linear import LinearCrossEntropyLoss, linear_cross_entropy
from losscope.losses.regression import MSELoss, MSLELoss, mean_squared_log_error, mse_loss

__all__ = [
    "LOSS_NAMES",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "LinearCrossEntropyLoss",
    "Loss",
    "MSELoss",
    "MSLELoss",
    "NLLLoss",
    "as_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "linear_cross_entropy",
    "mean_squared_log_error",
    "mse_loss",
    "nll_loss",
]
