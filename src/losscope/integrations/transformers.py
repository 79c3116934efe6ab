"""``losscope.watch`` as a callback of ``transformers.Trainer``."""

from __future__ import annotations

from typing import Any, Unpack

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from losscope.integrations._attach import Attached, Options, is_compiled
from losscope.watching import Watch


class WatchLoss(TrainerCallback):
    """Have the linter look at the loss that a model computes from its labels while it is trained.

    The loss is found by itself: a loss module in the model, or else the functions of ``torch.nn.functional`` that its
    forward calls, with the outputs and labels they are given (shifted and flattened, where the model does that). A
    loss outside of the model (``compute_loss_func``, ``label_smoothing_factor``) is not seen, and that is said at the
    end: call ``ls.watch`` on its module. The options are those of :func:`losscope.watch`.

    Example:
        >>> from transformers import Trainer
        >>> trainer = Trainer(model, args, train_dataset=data, callbacks=[WatchLoss()])  # doctest: +SKIP
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._options = options
        Watch(**options)  # a wrong option is said here and not when training starts
        self._attached: Attached | None = None
        self._handles: list[Any] = []

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Attach; a training that was broken off is let go of first."""
        self._detach()
        if model is None:
            return
        attached = self._attached = Attached(model, Watch(step=state.global_step, **self._options))
        if is_compiled(model):
            return

        def enter(module: nn.Module, inputs: Any) -> None:
            if module.training:
                attached.enter()

        def leave(module: nn.Module, inputs: Any, outputs: Any) -> None:
            attached.leave()

        # Left also when forward raises, so that no mode stays behind.
        self._handles = [
            model.register_forward_pre_hook(enter),
            model.register_forward_hook(leave, always_call=True),
        ]

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Detach."""
        attached = self._attached
        self._detach()
        if attached:
            attached.say_if_nothing_was_seen()

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._attached:
            self._attached.detach()
        self._attached = None
