"""``losscope.watch`` as a callback of Lightning."""

from __future__ import annotations

from typing import Any, Unpack

from lightning.pytorch import Callback, LightningModule, Trainer

from losscope.integrations._attach import Attached, Options
from losscope.watching import Watch


class WatchLoss(Callback):
    """Have the linter look at the loss of every Lightning module it trains with.

    The loss is found by itself: a loss module that is an attribute of the LightningModule, or else the functions of
    ``torch.nn.functional`` that ``training_step`` calls. Of a module that was compiled as a whole only loss modules
    are seen. Training only; the options are those of :func:`losscope.watch`.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[WatchLoss()], logger=False, enable_checkpointing=False, accelerator="cpu")
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__()
        self._options = options
        Watch(**options)  # a wrong option is said here and not when training starts
        self._attached: Attached | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach."""
        self._attached = Attached(pl_module, Watch(step=trainer.global_step, **self._options))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Listen from here."""
        if self._attached and getattr(pl_module, "_compiler_ctx", None) is None:
            self._attached.enter()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        """To here."""
        self._leave()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Or to here, where the step is optimised by hand."""
        self._leave()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave nothing behind."""
        self._leave()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Detach."""
        if self._attached:
            self._attached.detach()
            self._attached.say_if_nothing_was_seen()
        self._attached = None

    def _leave(self) -> None:
        if self._attached:
            self._attached.leave()
