"""The data: scikit-learn's own sets, a multi-label task made from its digits, and the text of its descriptions."""

from functools import cache
from importlib import resources

import torch
from sklearn import datasets
from torch import Tensor

LABELS = {  # of a digit: label by label, which digits have it
    "even": {0, 2, 4, 6, 8},
    "above four": {5, 6, 7, 8, 9},
    "prime": {2, 3, 5, 7},
    "has a loop": {0, 6, 8, 9},
    "only straight lines": {1, 4, 7},
    "zero": {0},
    "square": {0, 1, 4, 9},
}
LETTERS = " abcdefghijklmnopqrstuvwxyz"
PADDING = 0
"""The id of a padded position; the letters' own ids begin at 1."""


@cache
def table(name: str) -> tuple[Tensor, Tensor]:
    """Standardised features (N, D) and classes (N,) of iris, wine, breast_cancer or digits, in a seeded order."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(3))
    x, y = torch.tensor(x, dtype=torch.float32)[order], torch.tensor(y)[order]
    return (x - x.mean(0)) / (x.std(0) + 1e-3), y


@cache
def labels_of_digits() -> tuple[Tensor, Tensor]:
    """The digits with a multi-hot target (N, 7)."""
    x, y = table("digits")
    m = torch.stack([torch.tensor([d in digits for d in range(10)]) for digits in LABELS.values()], 1)
    return x, m[y].float()


@cache
def clean_pixels() -> Tensor:
    """The digits as images (N, 8, 8), each pixel from 0 to 16."""
    x, _ = datasets.load_digits(return_X_y=True)
    return torch.tensor(x, dtype=torch.float32).reshape(-1, 8, 8)


@cache
def pixels() -> tuple[Tensor, Tensor]:
    """Noisy digits (N, 1, 8, 8) and for each pixel whether it is paper, edge or ink: a segmentation task (N, 8, 8)."""
    x = clean_pixels().unsqueeze(1)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    return (x + 2 * noise) / 8 - 1, torch.bucketize(x.squeeze(1), torch.tensor([3.0, 11.0]))


@cache
def text() -> str:
    """What scikit-learn says of its data sets, in small letters and single spaces."""
    folder = resources.files("sklearn.datasets") / "descr"
    raw = " ".join(f.read_text() for f in sorted(folder.iterdir(), key=str) if f.name.endswith(".rst")).lower()
    return " ".join("".join(c if c in LETTERS else " " for c in raw).split())


@cache
def letters(length: int = 27) -> Tensor:
    """The text as ids (N, length + 1), for the next letter from those before it."""
    ids = torch.tensor([LETTERS.index(c) for c in text()])
    return ids[: len(ids) // (length + 1) * (length + 1)].reshape(-1, length + 1)


@cache
def sentences() -> Tensor:
    """Words of letters (ids from 1) up to eleven long, ended by a space and padded to 12 with PADDING: (N, 12)."""
    words = [w for w in text().split() if len(w) <= 11]
    rows = torch.full((len(words), 12), PADDING)
    for row, word in zip(rows, words, strict=True):
        row[: len(word) + 1] = torch.tensor([1 + LETTERS.index(c) for c in word + " "])
    return rows


@cache
def words(vocabulary: int) -> Tensor:
    """The text as ids of its most frequent words: (N,), the least frequent ones left out."""
    order: dict[str, int] = {}
    for word in text().split():
        order[word] = order.get(word, 0) + 1
    kept = {w: i for i, w in enumerate(sorted(order, key=lambda w: -order[w])[:vocabulary])}
    return torch.tensor([kept[w] for w in text().split() if w in kept])
