"""Where the losses of a model are: modules in it, or functions that its forward calls."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TypedDict

from torch import nn

from losscope.errors import InputError, LosscopeWarning
from losscope.losses import as_loss
from losscope.watching.functions import WatchFunctions
from losscope.watching.hook import Watch, attach, unwatch
from losscope.watching.telling import OnFinding


class Options(TypedDict, total=False):
    """What :func:`losscope.watch` takes, but the step, which the trainer knows."""

    every: int
    on_finding: OnFinding | None
    select: Iterable[str] | None
    ignore: Iterable[str] | None


class Attached:
    """A watch on a model that trains: on its loss modules, or else on the loss functions it calls.

    Args:
        model: what is trained.
        one: the watch.
    """

    def __init__(self, model: nn.Module, one: Watch) -> None:
        self.watch = one
        self.losses = [module for module in model.modules() if _is_loss(module)]
        self._mode: WatchFunctions | None = None
        for loss in self.losses:
            attach(loss, one)

    def enter(self) -> None:
        """A training step begins: listen to functions, if that is where the loss is and this step is looked at."""
        if self.losses or self._mode is not None:
            return
        if self.watch.wants_next():
            self._mode = WatchFunctions(self.watch)
            self._mode.__enter__()  # type: ignore[no-untyped-call]
        else:
            self.watch.skip()

    def leave(self) -> None:
        """The loss of this step is computed."""
        mode, self._mode = self._mode, None
        if mode is not None:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def detach(self) -> None:
        """Training is over."""
        self.leave()
        for loss in self.losses:
            unwatch(loss)

    def say_if_nothing_was_seen(self) -> None:
        """Silence would read as "all is well"."""
        if not self.watch.looked:
            text = (
                "losscope saw no loss: make it a module of the model (nn.CrossEntropyLoss()), or call ls.watch on the "
                "module that computes it"
            )
            warnings.warn(LosscopeWarning(text), stacklevel=3)


def _is_loss(module: nn.Module) -> bool:
    try:
        as_loss(module)
    except InputError:
        return False
    return True


def is_compiled(model: nn.Module) -> bool:
    """Its forward runs as a graph, in which functions cannot be listened to."""
    return getattr(model, "_compiled_call_impl", None) is not None or hasattr(model, "_orig_mod")
