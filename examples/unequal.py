"""What the accumulation examples share: four batches that count 1, 6, 0 and 4 targets, and the gradient of all at once.

A mean of the four means is another number: it weighs the one target of the first batch as much as six of the second.
"""

import torch
from torch import Tensor

import losscope as ls

STEPS = 4


def batches() -> list[tuple[Tensor, Tensor]]:
    """Inputs (6, 3) and targets (6,); −100 does not count."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS, 6, 3, generator=g, dtype=torch.float64)
    y = torch.randint(5, (STEPS, 6), generator=g)
    y[0, 1:] = y[2] = y[3, 4:] = -100
    return list(zip(x, y, strict=True))


def model() -> torch.nn.Linear:
    """The same each time."""
    torch.manual_seed(0)
    return torch.nn.Linear(3, 5, dtype=torch.float64)


def of_one_big_batch() -> Tensor:
    """The gradient to the weight, of the mean over all that counts."""
    x, y = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    net = model()
    ls.cross_entropy(net(x), y).backward()
    return net.weight.grad


def tell(gradient: Tensor) -> None:
    """How far a gradient is from that of one big batch."""
    print(f"largest difference from one big batch: {(gradient - of_one_big_batch()).abs().max():.1e}")
