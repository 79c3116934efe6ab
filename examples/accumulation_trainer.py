"""Accumulation with transformers' Trainer: it counts the targets of the step itself, over all ranks.

It gives the count to ``compute_loss_func``, and leaves the loss as it is then.

    python examples/accumulation_trainer.py
"""

from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments
from unequal import STEPS, batches, model, tell

import losscope as ls


class Classifier(nn.Module):
    """Its outputs as Trainer wants them: by name."""

    def __init__(self) -> None:
        super().__init__()
        self.net = model()

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The logits; the loss is Trainer's to ask for."""
        return {"logits": self.net(x)}


def loss(outputs: dict[str, Tensor], labels: Tensor, num_items_in_batch: Tensor | None = None) -> Tensor:
    """One mean over the whole step."""
    return ls.cross_entropy(outputs["logits"], labels, normalizer=num_items_in_batch)


def gradient() -> Tensor:
    """Of one optimizer step: by how much a step of length one moved the weight."""
    data: list[Any] = [{"x": a, "labels": b} for x, y in batches() for a, b in zip(x, y, strict=True)]
    net = Classifier()
    before = net.net.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=6,
            gradient_accumulation_steps=STEPS,
            num_train_epochs=1,
            max_grad_norm=0,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        constant = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        Trainer(net, arguments, train_dataset=data, compute_loss_func=loss, optimizers=(optimizer, constant)).train()
    return before - net.net.weight.detach()


if __name__ == "__main__":
    tell(gradient())
