"""The losses of ``torch.nn.functional``, seen where no loss module is: a mode that is on during a few steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from losscope.watching.hook import Watch

_LOSSES: dict[Callable[..., Tensor], Callable[[Mapping[str, Any]], nn.Module]] = {
    F.cross_entropy: lambda a: nn.CrossEntropyLoss(
        a["weight"], ignore_index=a["ignore_index"], reduction=a["reduction"], label_smoothing=a["label_smoothing"]
    ),
    F.nll_loss: lambda a: nn.NLLLoss(a["weight"], ignore_index=a["ignore_index"], reduction=a["reduction"]),
    F.binary_cross_entropy_with_logits: lambda a: nn.BCEWithLogitsLoss(
        a["weight"], reduction=a["reduction"], pos_weight=a["pos_weight"]
    ),
    F.binary_cross_entropy: lambda a: nn.BCELoss(a["weight"], reduction=a["reduction"]),
}
_SIGNATURES = {function: inspect.signature(function) for function in _LOSSES}


class WatchFunctions(TorchFunctionMode):
    """While it is entered, the linter looks at every call of a classifier's loss in ``torch.nn.functional``.

    It slows every call of torch down by about a microsecond, so it is entered for the steps that are looked at, and
    left again.

    Example:
        >>> found = []
        >>> with WatchFunctions(Watch(on_finding=found.append)):
        ...     _ = torch.nn.functional.cross_entropy(torch.eye(8).softmax(1), torch.arange(8))
        >>> [finding.rule for finding in found]
        ['softmax-before-cross-entropy']
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, and look when it is a loss; also when it raises."""
        if func not in _LOSSES:
            return func(*args, **(kwargs or {}))
        failed = True
        try:
            result = func(*args, **(kwargs or {}))
            failed = False
            return result
        finally:
            self._saw(func, args, kwargs or {}, failed)

    def _saw(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], failed: bool) -> None:
        bound = _SIGNATURES[func].bind(*args, **kwargs)
        bound.apply_defaults()
        a = bound.arguments
        z, y = a["input"], a["target"]
        training = torch.is_grad_enabled() and z.requires_grad
        self.watch.saw(_LOSSES[func](a), z, y, training=training, failed=failed)
