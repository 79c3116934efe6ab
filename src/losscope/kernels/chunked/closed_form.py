"""The cross-entropy of a chunk of rows and its gradient, written down, which takes the memory of the logits.

With x the logits after the softcap, β_h = w_h q_h and Q = Σ_h β_h:

    ℓ       = Σ_h β_h f_h,   f_h = −s_h + λ lse²
    ∂ℓ/∂x_h = α ŷ_h − β_h,   α = Q (1 + 2λ lse)
    ∂ℓ/∂z_h = ∂ℓ/∂x_h (1 − (x_h / c)²)

The focal factor, which is for an index target y alone, makes the β_y of both last lines w_y ∂((1 − ŷ_y)^γ s_y)/∂s_y.
Everything is a block of classes at a time, so that what torch's operators make on the way is small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from losscope.kernels import reference
from losscope.kernels.chunked.sweep import Chunk, blocks
from losscope.kernels.options import CategoricalOptions, Stats
from losscope.kernels.reference import expectation, hide

Beta = Callable[[slice], Tensor]
"""A block of classes to its β_h, (n, block, …), without what an index target adds at y."""


class Softmax(NamedTuple):
    """The logits (n, H, …) after the softcap, their maximum and ln Σ_h e^{x_h − m}, both (n, 1, …)."""

    x: Tensor
    m: Tensor
    log_total: Tensor

    @property
    def lse(self) -> Tensor:
        """Ln Σ_h e^{x_h}."""
        return self.m + self.log_total

    def s(self, some: slice) -> Tensor:
        """The log-probabilities of a block of classes, in new memory."""
        return (self.x[:, some] - self.m).sub_(self.log_total)


class Numbers(NamedTuple):
    """What the gradient needs of each sample, (n, 1, …): m, α / S, and what the target and the open classes are times.

    With them ∂ℓ/∂x_h = (α / S) e^{x_h − m} − kept w_h q_h − share w_h [h is open]; of an index target, kept alone at y.
    """

    m: Tensor
    factor: Tensor
    kept: Tensor
    share: Tensor


def rows(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, upstream: Tensor | None
) -> Chunk:
    """ℓ_i, the statistics and ∂(Σ_i upstream_i ℓ_i)/∂z. The memory of z is spent, with an upstream or without."""
    ignored = None if target.is_floating_point() else (target == options.ignore_index).unsqueeze(1)
    y = None if ignored is None else hide(target.unsqueeze(1), ignored)
    p = _softmax(z if ignored is None else z.masked_fill_(ignored, 0), options.softcap)
    q = target if y is None else None
    loss, numbers = _terms(p, y, q, weight, options)
    stats = _stats(p, target.argmax(1, keepdim=True) if y is None else y, ignored) if options.return_stats else None
    if upstream is not None:
        up = hide(upstream.unsqueeze(1).to(z.dtype), ignored)
        _overwrite(p.x, y, q, weight, numbers, up, options)
    kept = torch.stack([each.flatten() for each in numbers])
    return Chunk(hide(loss, ignored).squeeze(1), stats, None if upstream is None else p.x, kept)


def again(
    z: Tensor,
    first: int,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    upstream: Tensor,
    numbers: Tensor,
) -> Tensor:
    """∂(Σ_i upstream_i ℓ_i)/∂z of the classes from ``first`` on, by the numbers of each sample, in the memory of z."""
    some, ignored = slice(first, first + z.shape[1]), None
    if target.is_floating_point():
        y, q = None, target[:, some]
    else:
        ignored, q = (target == options.ignore_index).unsqueeze(1), None
        y = hide(target.unsqueeze(1), ignored) - first
        z.masked_fill_(ignored, 0)
    _cap(z, options.softcap)
    up = hide(upstream.unsqueeze(1).to(z.dtype), ignored)
    each = Numbers(*(n.view(up.shape) for n in numbers))
    _overwrite(z, y, q, None if weight is None else weight[some], each, up, options)
    return z


def _softmax(x: Tensor, softcap: float | None) -> Softmax:
    """The softcap is written over the logits."""
    _cap(x, softcap)
    m = reference.maximum(x, 1)
    return Softmax(x, m, _sum(x, lambda some: (x[:, some] - m).exp_()).log())


def _cap(x: Tensor, softcap: float | None) -> None:
    if softcap is not None:
        for some in blocks(x.shape[1], x):
            x[:, some] = reference.softcap(x[:, some], softcap)


def _share(x: Tensor, epsilon: float) -> Tensor:
    """What smoothing gives each class that is not masked."""
    return epsilon / _sum(x, lambda some: ~x[:, some].isneginf()) if epsilon else torch.zeros_like(x[:, :1])


def _beta(
    x: Tensor, q: Tensor | None, weight: Tensor | None, kept: Tensor | float, share: Tensor, smoothed: bool
) -> Beta | None:
    """The target smoothed over the classes that are not masked; an index target by itself has no β but at y."""
    if q is None and not smoothed:
        return None

    def beta(some: slice) -> Tensor:
        t = torch.zeros_like(x[:, some]) if q is None else kept * q[:, some].to(x.dtype)
        t = t + share.masked_fill(x[:, some].isneginf(), 0) if smoothed else t
        return t if weight is None else t * weight[some].to(x.dtype).view(-1, *[1] * (x.ndim - 2))

    return beta


def _terms(
    p: Softmax, y: Tensor | None, q: Tensor | None, weight: Tensor | None, options: CategoricalOptions
) -> tuple[Tensor, Numbers]:
    """ℓ_i and what its gradient is made of."""
    epsilon, gamma = options.label_smoothing, options.focal_gamma
    kept, share = torch.full_like(p.m, 1 - epsilon), _share(p.x, epsilon)
    loss = mass = alpha = torch.zeros_like(p.m)
    beta = _beta(p.x, q, weight, kept, share, epsilon > 0)
    if y is not None:
        s_y = p.x.gather(1, y) - p.m - p.log_total
        mass = kept * (1 if weight is None else weight.to(p.m.dtype)[y])
        loss, kept = mass * reference.focal(s_y, gamma), mass * _focal_slope(s_y, gamma)
        alpha = kept
    if beta is not None:
        loss = loss - _sum(p.x, lambda some: expectation(beta(some), p.s(some)))
        spread = _sum(p.x, beta)
        mass, alpha = mass + spread, alpha + spread
    if options.z_loss:
        loss = loss + options.z_loss * mass * p.lse.square()
        alpha = alpha + 2 * options.z_loss * mass * p.lse
    return loss, Numbers(p.m, alpha * (-p.log_total).exp(), kept, share)


def _focal_slope(s: Tensor, gamma: float) -> Tensor:
    """∂((1 − ŷ)^γ s)/∂s = (1 − ŷ)^γ − γ (1 − ŷ)^{γ−1} ŷ s, and 1 when γ = 0."""
    if not gamma:
        return torch.ones_like(s)
    rest = (-s.expm1()).clamp(min=torch.finfo(s.dtype).tiny)
    return rest.pow(gamma) - gamma * rest.pow(gamma - 1) * s.exp() * s


def _overwrite(
    x: Tensor,
    y: Tensor | None,
    q: Tensor | None,
    weight: Tensor | None,
    numbers: Numbers,
    up: Tensor,
    options: CategoricalOptions,
) -> None:
    """The gradient of some classes in place of their logits; y may be none of them."""
    m, factor, kept, share = numbers
    here = None if y is None else y.clamp(0, x.shape[1] - 1)
    # Taken before the logits are gone.
    at_y = None if here is None else up * kept * _softcap_slope(x.gather(1, here), options.softcap)
    beta = _beta(x, q, weight, kept, share, options.label_smoothing > 0)
    for some in blocks(x.shape[1], x):
        gradient = (x[:, some] - m).exp_().mul_(factor)
        if beta is not None:
            gradient.sub_(beta(some))
        x[:, some] = gradient.mul_(up).mul_(_softcap_slope(x[:, some], options.softcap))
    if y is not None and here is not None and at_y is not None:
        x.scatter_add_(1, here, -at_y.masked_fill(here != y, 0))


def _softcap_slope(x: Tensor, softcap: float | None) -> Tensor | float:
    """1 − (x/c)²; 0 at a mask."""
    return 1.0 if softcap is None else 1 - (x / softcap).square().masked_fill_(x.isneginf(), 1)


def _stats(p: Softmax, truth: Tensor, ignored: Tensor | None) -> Stats:
    """As :func:`losscope.kernels.reference.statistics`."""
    correct = p.x.argmax(1, keepdim=True) == truth
    stats = Stats(
        counted=torch.ones_like(correct) if ignored is None else ~ignored,
        correct=correct if ignored is None else correct & ~ignored,
        entropy=hide(-_sum(p.x, lambda some: expectation((s := p.s(some)).exp(), s)), ignored),
        max_probability=hide((-p.log_total).exp(), ignored),
        logsumexp=hide(p.lse, ignored),
    )
    return Stats(*(each.squeeze(1) for each in stats))


def _sum(x: Tensor, block: Callable[[slice], Tensor]) -> Tensor:
    """Over all classes, (n, 1, …)."""
    parts = (block(some).sum(1, keepdim=True, dtype=x.dtype) for some in blocks(x.shape[1], x))
    return torch.stack(list(parts)).sum(0)
