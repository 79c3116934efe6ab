"""Outputs of models whose truth is known: the labels are drawn from the probabilities, so the model is calibrated."""

import torch
import torch.nn.functional as F
from torch import Tensor

from losscope import lint

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SIZES = (8, 2000)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classes(n: int, h: int = 10, *shape: int, strength: float = 4.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (n, h, *shape) of a trained model (strength 0: that knows nothing, strength 4: nearly all) and labels."""
    g = generator(seed)
    z = strength * torch.randn(n, h, *shape, generator=g)
    p = z.movedim(1, -1).softmax(-1).reshape(-1, h)
    return z, torch.multinomial(p, 1, generator=g).reshape(n, *shape)


def untrained(n: int, h: int = 10, sigma: float = 0.3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of a network before its first step, and labels they know nothing of."""
    g = generator(seed)
    z = sigma * (torch.randn(n, h, generator=g) + torch.randn(h, generator=g))
    return z, torch.randint(h, (n,), generator=g)


def labels(n: int, h: int = 6, strength: float = 4.0, offset: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (n, h) of a trained multi-label model, and multi-hot targets."""
    g = generator(seed)
    z = strength * torch.randn(n, h, generator=g) + offset
    return z, torch.bernoulli(z.sigmoid(), generator=g)


def one_hot(y: Tensor, h: int) -> Tensor:
    return F.one_hot(y, h).float()


def found(z: Tensor, y: Tensor, loss, rule: str, **options) -> bool:
    return rule in lint(z, y, loss=loss, **options).rules


def alarms(z: Tensor, y: Tensor, loss, **options) -> list[str]:
    return [f.rule for f in lint(z, y, loss=loss, **options) if f.severity != "info"]
