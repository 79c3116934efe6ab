"""losscope: the losses of classifiers, drop-in for torch's, that can be taken apart and checked.

Example:
    >>> import losscope as ls
    >>> ls.cross_entropy(torch.tensor([[1.0, 10.0]]), torch.tensor([1]))
    tensor(0.0001)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from losscope import kernels, parallel
from losscope.errors import InputError, LosscopeWarning
from losscope.explain import Explanation, explain
from losscope.kernels import Stats
from losscope.links import Link, log_sigmoid, log_softmax, logsumexp, sigmoid, softmax
from losscope.linting import Finding, LintResult, lint
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
from losscope.watching import unwatch, watch

if TYPE_CHECKING:
    from losscope.reporting import Report, report
    from losscope.summary import Summary, summarize

__version__ = "0.1.0"

__all__ = [
    "NOTATION",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Explanation",
    "Finding",
    "InputError",
    "LinearCrossEntropyLoss",
    "Link",
    "LintResult",
    "Loss",
    "LosscopeWarning",
    "MSELoss",
    "MSLELoss",
    "NLLLoss",
    "Report",
    "Stats",
    "Summary",
    "TargetKind",
    "as_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "explain",
    "kernels",
    "linear_cross_entropy",
    "lint",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mean_squared_log_error",
    "mse_loss",
    "multi_hot",
    "nll_loss",
    "one_hot",
    "parallel",
    "recognise",
    "report",
    "sigmoid",
    "softmax",
    "summarize",
    "to_index",
    "unwatch",
    "watch",
]

# What needs a library that takes long to import is imported when it is first asked for.
_LATER = {
    "Report": "losscope.reporting",
    "Summary": "losscope.summary",
    "report": "losscope.reporting",
    "summarize": "losscope.summary",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'losscope' has no attribute {name!r}")
