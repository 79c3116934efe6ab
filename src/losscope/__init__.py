"""losscope: the losses of classifiers, drop-in for torch's, that can be taken apart and checked.

Example:
    >>> import losscope as ls
    >>> ls.cross_entropy(torch.tensor([[1.0, 10.0]]), torch.tensor([1]))
    tensor(0.0001)
"""

from losscope import kernels
from losscope.errors import InputError, LosscopeWarning
from losscope.explain import Explanation, explain
from losscope.kernels import Stats
from losscope.links import Link, log_sigmoid, log_softmax, logsumexp, sigmoid, softmax
from losscope.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    LinearCrossEntropyLoss,
    Loss,
    MSELoss,
    MSLELoss,
    NLLLoss,
    as_loss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    linear_cross_entropy,
    mean_squared_log_error,
    mse_loss,
    nll_loss,
)
from losscope.notation import NOTATION
from losscope.targets import TargetKind, multi_hot, one_hot, recognise, to_index

__version__ = "0.1.0"

__all__ = [
    "NOTATION",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Explanation",
    "InputError",
    "LinearCrossEntropyLoss",
    "Link",
    "Loss",
    "LosscopeWarning",
    "MSELoss",
    "MSLELoss",
    "NLLLoss",
    "Stats",
    "TargetKind",
    "as_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "explain",
    "kernels",
    "linear_cross_entropy",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mean_squared_log_error",
    "mse_loss",
    "multi_hot",
    "nll_loss",
    "one_hot",
    "recognise",
    "sigmoid",
    "softmax",
    "to_index",
]
