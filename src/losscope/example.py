"""The built-in example: a small classifier of handwritten digits, trained with losscope's own loss.

scikit-learn ships 1,797 digits of 8 × 8 pixels. A network with one hidden layer learns 300 of them and is then asked
for the rest; what it says, the raw outputs z on samples it has never seen, is what a report is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from losscope.losses.categorical import CrossEntropyLoss

if TYPE_CHECKING:
    from rich.progress import Progress

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAIN_SAMPLES, STEPS, BATCH_SAMPLES, HIDDEN, LEARNING_RATE = 300, 300, 64, 64, 0.01


class Example(NamedTuple):
    """What the classifier says about samples it was not trained on.

    Attributes:
        outputs: z, raw outputs (N, 10), float32.
        targets: y, the true digits (N,), int64.
        class_names: the name of each class.
        indices: (N,), which digit of ``sklearn.datasets.load_digits`` each row is.
        images: (N, 8, 8), float32, 0 to 1.
    """

    outputs: Tensor
    targets: Tensor
    class_names: tuple[str, ...]
    indices: Tensor
    images: Tensor


def digits(*, seed: int = 0, progress: bool = True) -> Example:
    """Trains the classifier and returns its outputs on the held-out digits; seconds, the same every time.

    Args:
        seed: of the split, of the network's first weights and of the batches.
        progress: a bar on stderr, where that is a terminal.

    Example:
        >>> example = digits(progress=False)
        >>> example.outputs.shape, example.targets.shape
        (torch.Size([1497, 10]), torch.Size([1497]))
        >>> bool((example.outputs.argmax(1) == example.targets).float().mean() > 0.9)
        True
    """
    images, targets = _load()
    train, held_out = _split(targets, seed)
    model = _train(images[train], targets[train], seed, progress)
    with torch.no_grad():
        outputs = model(images[held_out])
    return Example(outputs, targets[held_out], CLASS_NAMES, held_out, images[held_out])


def _load() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.images, dtype=torch.float32) / 16, torch.tensor(data.target)


def _split(targets: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    from sklearn.model_selection import train_test_split

    parts = train_test_split(range(len(targets)), train_size=TRAIN_SAMPLES, random_state=seed, stratify=targets)
    train, held_out = (torch.tensor(sorted(part)) for part in parts)
    return train, held_out


def _train(images: Tensor, targets: Tensor, seed: int, progress: bool) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
        batches = torch.randint(len(targets), (STEPS, BATCH_SAMPLES))
    loss = CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    with _bar(progress) as bar:
        for batch in bar.track(batches, description="training the example"):
            optimizer.zero_grad()
            loss(model(images[batch]), targets[batch]).backward()
            optimizer.step()
    return model


def _bar(progress: bool) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not (progress and console.is_terminal))
