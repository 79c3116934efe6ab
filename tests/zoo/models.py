"""Small models trained in a second, each kept at four stages; trained once per process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from tests.zoo import data
from torch import Tensor, nn

STAGES = ("untrained", "half", "well", "over")
Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Outputs:
    """What a model says of samples: raw outputs, targets, and how far it was trained."""

    name: str
    z: Tensor
    y: Tensor


@dataclass(frozen=True)
class Trained:
    """Raw outputs by stage, of the samples trained on and of held-out ones."""

    name: str
    train: dict[str, Outputs]
    held_out: dict[str, Outputs]


def fit(
    name: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    criterion: Criterion = F.cross_entropy,
    *,
    steps: tuple[int, int, int] = (15, 120, 500),
    rate: float = 1e-2,
    batch: int = 256,
    held_out: float = 0.3,
    most: int = 2048,
) -> Trained:
    """Adam on minibatches; outputs of ``most`` samples before the first step and after each number of ``steps``."""
    generator = torch.Generator().manual_seed(0)
    cut = int(len(x) * (1 - held_out))
    optimizer = torch.optim.Adam(model.parameters(), rate)
    kept: tuple[dict[str, Outputs], dict[str, Outputs]] = ({}, {})

    def keep(stage: str) -> None:
        with torch.no_grad():
            for where, part, inputs, targets in (
                (kept[0], "training", x[:cut][:most], y[:cut][:most]),
                (kept[1], "held-out", x[cut:][:most], y[cut:][:most]),
            ):
                where[stage] = Outputs(f"{name}, {stage}, {part}", model(inputs).clone(), targets)

    keep(STAGES[0])
    done = 0
    for stage, until in zip(STAGES[1:], steps, strict=True):
        for _ in range(until - done):
            some = torch.randint(cut, (min(batch, cut),), generator=generator)
            optimizer.zero_grad()
            criterion(model(x[some]), y[some]).backward()
            optimizer.step()
        done = until
        keep(stage)
    return Trained(name, *kept)


def perceptron(inputs: int, outputs: int, hidden: int = 32) -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def convolution(outputs: int) -> nn.Module:
    """A small image classifier."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, outputs)
    )


class NextToken(nn.Module):
    """A recurrent model of sequences (N, T): raw outputs (N, H, T) for what follows each position."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, 24)
        self.memory = nn.GRU(24, 48, batch_first=True)
        self.output = nn.Linear(48, tokens)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, H, T), the classes in dimension 1."""
        return self.output(self.memory(self.embedding(ids))[0]).movedim(2, 1)


def _seeded(make: Callable[[], Trained]) -> Callable[[], Trained]:
    """Cached, and the same in every order of calls; the caller's random state stays as it is."""

    @cache
    def once() -> Trained:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make()

    return once


@_seeded
def iris() -> Trained:
    """A linear classifier of 3 classes."""
    x, y = data.table("iris")
    return fit("iris", nn.Linear(4, 3), x, y, rate=5e-2)


@_seeded
def wine() -> Trained:
    """3 classes, one hidden layer."""
    x, y = data.table("wine")
    return fit("wine", perceptron(13, 3), x, y)


@_seeded
def cancer() -> Trained:
    """2 classes as two outputs."""
    x, y = data.table("breast_cancer")
    return fit("breast cancer", perceptron(30, 2), x, y)


@_seeded
def cancer_binary() -> Trained:
    """2 classes as one output (N, 1)."""
    x, y = data.table("breast_cancer")
    return fit(
        "breast cancer, one output",
        perceptron(30, 1),
        x,
        y.float().unsqueeze(1),
        F.binary_cross_entropy_with_logits,
    )


@_seeded
def digits() -> Trained:
    """10 classes, one hidden layer."""
    x, y = data.table("digits")
    return fit("digits", perceptron(64, 10), x, y)


@_seeded
def digits_conv() -> Trained:
    """10 classes, a convolution."""
    x, y = data.table("digits")
    return fit("digits, convolution", convolution(10), x, y, steps=(15, 80, 250))


@_seeded
def labels() -> Trained:
    """7 labels, each on its own."""
    x, m = data.labels_of_digits()
    return fit("labels of digits", perceptron(64, 7), x, m, F.binary_cross_entropy_with_logits)


@_seeded
def pixels() -> Trained:
    """A class for every pixel: outputs (N, 3, 8, 8)."""
    x, y = data.pixels()
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    return fit("pixels", model, x, y, batch=64, steps=(15, 80, 250), most=200)


@_seeded
def ink() -> Trained:
    """The darkest pixels against the rest, one in ten: most targets are 0 and none is padding; outputs (N, 2, 8, 8)."""
    x, _ = data.pixels()
    y = (data.clean_pixels() > 15).long()
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    return fit("ink", model, x, y, batch=64, steps=(15, 80, 250), most=200)


@_seeded
def letters() -> Trained:
    """The next letter, H = T = 27: outputs (N, 27, 27)."""
    ids = data.letters()
    return fit("letters", NextToken(27), ids[:, :-1], ids[:, 1:], batch=32, steps=(15, 100, 250), most=200)


@_seeded
def spelling() -> Trained:
    """The next letter of padded words; the padding (id 0) does not count: outputs (N, 28, 11)."""
    ids = data.sentences()

    def counted(z: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(z, y, ignore_index=data.PADDING)

    return fit("spelling", NextToken(28), ids[:, :-1], ids[:, 1:], counted, batch=64, steps=(15, 100, 200), most=400)


@_seeded
def vocabulary() -> Trained:
    """The next of 1000 words from the one before."""
    ids = data.words(1000)
    model = nn.Sequential(nn.Embedding(1000, 24), nn.Linear(24, 1000))
    return fit("next word of 1000", model, ids[:-1], ids[1:], steps=(15, 80, 250), most=200)


@_seeded
def imbalanced() -> Trained:
    """Is the digit a 7: one in ten, as two outputs."""
    x, y = data.table("digits")
    return fit("digit 7 or not", perceptron(64, 2), x, (y == 7).long())


@_seeded
def memorised() -> Trained:
    """Wide, trained on 60 noisy digits until it knows them by heart: sure of itself on the rest, and often wrong."""
    x, y = data.table("digits")
    noise = torch.randn(x.shape)
    return fit("memorised digits", perceptron(64, 10, 256), x + 2 * noise, y, steps=(15, 100, 600), held_out=0.95)


CLASSIFIERS = (iris, wine, cancer, digits, digits_conv)
EVERY = (*CLASSIFIERS, cancer_binary, labels, pixels, ink, letters, spelling, vocabulary, imbalanced, memorised)
