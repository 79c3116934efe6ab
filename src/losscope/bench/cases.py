"""What is compared: each case as ours, as torch's, and as optax's formula of the same loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from losscope.losses import binary_cross_entropy_with_logits, cross_entropy

Loss = Callable[..., Tensor]


class Contender(NamedTuple):
    """A loss in torch: what it is called with beside the logits."""

    loss: Loss
    arguments: tuple[Tensor, ...]


class Case(NamedTuple):
    """One loss of logits z (N, H).

    Attributes:
        z: the logits, wanting a gradient unless ``training`` is off.
        ours: the loss of this library.
        torchs: the same of torch, or the composition one writes in its place.
        optax: (optax, jnp, z, arguments) to the same loss.
        training: whether the gradient is made too.
        reads: arrays of z's size that must be read, beside the one that is written when training.
    """

    z: Tensor
    ours: Contender
    torchs: Contender
    optax: Callable[[Any, Any, Any, tuple[Any, ...]], Any]
    training: bool = True
    reads: int = 1

    @property
    def bytes(self) -> int:
        """What has to be moved: one read of each array, one write of the gradient."""
        return (self.reads + self.training) * self.z.numel() * self.z.element_size()


def _index(n: int, h: int) -> Tensor:
    return torch.randint(0, h, (n,))


def _optax_index(optax: Any, jnp: Any, z: Any, arguments: tuple[Any, ...]) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(z, arguments[0]).mean()


def plain(z: Tensor) -> Case:
    """Cross-entropy with index targets."""
    y = (_index(*z.shape),)
    return Case(z, Contender(cross_entropy, y), Contender(F.cross_entropy, y), _optax_index)


def evaluation(z: Tensor) -> Case:
    """The same without a gradient."""
    return plain(z)._replace(training=False)


def smoothing(z: Tensor) -> Case:
    """Label smoothing of 0.1."""
    y = (_index(*z.shape),)

    def optax(optax: Any, jnp: Any, z: Any, arguments: tuple[Any, ...]) -> Any:
        one_hot = jnp.eye(z.shape[1], dtype=z.dtype)[arguments[0]] if z.shape[1] < 4096 else None
        if one_hot is not None:
            return optax.softmax_cross_entropy(z, optax.smooth_labels(one_hot, 0.1)).mean()
        s = z - _lse(optax, jnp, z)[:, None]  # a one-hot matrix would be another array of z's size
        picked = jnp.take_along_axis(s, arguments[0][:, None], 1).squeeze(1)
        return -(0.9 * picked + 0.1 * s.mean(1)).mean()

    smoothed = partial(cross_entropy, label_smoothing=0.1), partial(F.cross_entropy, label_smoothing=0.1)
    return Case(z, Contender(smoothed[0], y), Contender(smoothed[1], y), optax)


def _lse(optax: Any, jnp: Any, z: Any) -> Any:
    m = z.max(1)
    return m + jnp.log(jnp.exp(z - m[:, None]).sum(1))


def weights(z: Tensor) -> Case:
    """A weight for every class."""
    y, w = _index(*z.shape), (torch.rand(z.shape[1]) + 0.5).to(z.dtype)

    def optax(optax: Any, jnp: Any, z: Any, arguments: tuple[Any, ...]) -> Any:
        each = arguments[1][arguments[0]]
        return (each * optax.softmax_cross_entropy_with_integer_labels(z, arguments[0])).sum() / each.sum()

    return Case(z, Contender(cross_entropy, (y, w)), Contender(F.cross_entropy, (y, w)), optax)


def focal(z: Tensor) -> Case:
    """γ = 2, and in torch the composition one writes for it."""
    y = (_index(*z.shape),)

    def composed(z: Tensor, y: Tensor) -> Tensor:
        s = F.log_softmax(z, 1).gather(1, y[:, None]).squeeze(1)
        return ((1 - s.exp()) ** 2 * -s).mean()

    def optax(optax: Any, jnp: Any, z: Any, arguments: tuple[Any, ...]) -> Any:
        loss = optax.softmax_cross_entropy_with_integer_labels(z, arguments[0])
        return ((1 - jnp.exp(-loss)) ** 2 * loss).mean()

    return Case(z, Contender(partial(cross_entropy, focal_gamma=2.0), y), Contender(composed, y), optax)


def soft(z: Tensor) -> Case:
    """A distribution over the classes as the target."""
    q = (torch.randn(z.shape).softmax(1).to(z.dtype),)

    def optax(optax: Any, jnp: Any, z: Any, arguments: tuple[Any, ...]) -> Any:
        return optax.softmax_cross_entropy(z, arguments[0]).mean()

    return Case(z, Contender(cross_entropy, q), Contender(F.cross_entropy, q), optax, reads=2)


def labels(z: Tensor) -> Case:
    """Binary cross-entropy with logits of 0 and 1."""
    m = (torch.randint(0, 2, z.shape).to(z.dtype),)

    def optax(optax: Any, jnp: Any, z: Any, arguments: tuple[Any, ...]) -> Any:
        return optax.sigmoid_binary_cross_entropy(z, arguments[0]).mean()

    ours, torchs = binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits
    return Case(z, Contender(ours, m), Contender(torchs, m), optax, reads=2)


CASES: dict[str, Callable[[Tensor], Case]] = {
    "cross_entropy": plain,
    "no_grad": evaluation,
    "smoothing": smoothing,
    "weights": weights,
    "focal": focal,
    "soft": soft,
    "bce": labels,
}
"""Name to the case of logits z."""
