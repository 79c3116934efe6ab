"""Accumulation with Lightning: losses are sums, and the gradients are divided once, before the optimizer's step.

Lightning divides each loss by ``accumulate_grad_batches``, so that is multiplied in again.

    python examples/accumulation_lightning.py
"""

import lightning
import torch
from torch import Tensor
from unequal import STEPS, batches, model, tell

import losscope as ls


class Classifier(lightning.LightningModule):
    """A linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.net = model()
        self.loss = ls.CrossEntropyLoss(reduction="sum")
        self.targets: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The sum over what counts."""
        x, y = batch
        self.targets.append(y)
        return self.loss(self.net(x), y)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """From sums to the one mean; gradients are clipped after this."""
        scale = self.trainer.accumulate_grad_batches / ls.parallel.global_normalizer(self.targets)
        self.targets.clear()
        for p in self.parameters():
            if p.grad is not None:
                p.grad.mul_(scale)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """A step of length one shows the gradient."""
        return torch.optim.SGD(self.parameters(), lr=1.0)


def gradient() -> Tensor:
    """Of one optimizer step: by how much it moved the weight."""
    module = Classifier()
    before = module.net.weight.detach().clone()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader(batches(), batch_size=None))
    return before - module.net.weight.detach()


if __name__ == "__main__":
    tell(gradient())
