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


class Terms(NamedTuple):
    """ℓ, α, and the β_y that an index target adds at y, else 0: a number for each sample, (n, 1, …)."""

    loss: Tensor
    alpha: Tensor
    beta_y: Tensor


def rows(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, upstream: Tensor | None
) -> Chunk:
    """ℓ_i, the statistics and ∂(Σ_i upstream_i ℓ_i)/∂z. The memory of z is spent, with an upstream or without."""
    ignored = None if target.is_floating_point() else (target == options.ignore_index).unsqueeze(1)
    y = None if ignored is None else hide(target.unsqueeze(1), ignored)
    p = _softmax(z if ignored is None else z.masked_fill_(ignored, 0), options.softcap)
    beta = _beta(p.x, target, weight, options)
    terms = _terms(p, y, beta, weight, options)
    stats = _stats(p, target.argmax(1, keepdim=True) if y is None else y, ignored) if options.return_stats else None
    if upstream is not None:
        _overwrite(p, y, beta, terms, hide(upstream.unsqueeze(1).to(z.dtype), ignored), options.softcap)
    return Chunk(hide(terms.loss, ignored).squeeze(1), stats, None if upstream is None else p.x)


def _softmax(x: Tensor, softcap: float | None) -> Softmax:
    """The softcap is written over the logits."""
    if softcap is not None:
        for some in blocks(x.shape[1], x):
            x[:, some] = reference.softcap(x[:, some], softcap)
    m = reference.maximum(x, 1)
    return Softmax(x, m, _sum(x, lambda some: (x[:, some] - m).exp_()).log())


def _beta(x: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Beta | None:
    """The target smoothed over the classes that are not masked; an index target by itself has no β but at y."""
    soft, epsilon = target.is_floating_point(), options.label_smoothing
    if not (soft or epsilon):
        return None
    share = epsilon / _sum(x, lambda some: ~x[:, some].isneginf()) if epsilon else None

    def beta(some: slice) -> Tensor:
        q = (1 - epsilon) * target[:, some].to(x.dtype) if soft else torch.zeros_like(x[:, some])
        q = q if share is None else q + share.masked_fill(x[:, some].isneginf(), 0)
        return q if weight is None else q * weight[some].to(x.dtype).view(-1, *[1] * (x.ndim - 2))

    return beta


def _terms(
    p: Softmax, y: Tensor | None, beta: Beta | None, weight: Tensor | None, options: CategoricalOptions
) -> Terms:
    """ℓ_i and what its gradient is made of."""
    loss = q = alpha = beta_y = torch.zeros_like(p.m)
    if y is not None:
        s_y = p.x.gather(1, y) - p.m - p.log_total
        q = torch.full_like(p.m, 1 - options.label_smoothing) * (1 if weight is None else weight.to(p.m.dtype)[y])
        loss, beta_y = q * reference.focal(s_y, options.focal_gamma), q * _focal_slope(s_y, options.focal_gamma)
        alpha = beta_y
    if beta is not None:
        loss = loss - _sum(p.x, lambda some: expectation(beta(some), p.s(some)))
        spread = _sum(p.x, beta)
        q, alpha = q + spread, alpha + spread
    if options.z_loss:
        loss = loss + options.z_loss * q * p.lse.square()
        alpha = alpha + 2 * options.z_loss * q * p.lse
    return Terms(loss, alpha, beta_y)


def _focal_slope(s: Tensor, gamma: float) -> Tensor:
    """∂((1 − ŷ)^γ s)/∂s = (1 − ŷ)^γ − γ (1 − ŷ)^{γ−1} ŷ s, and 1 when γ = 0."""
    if not gamma:
        return torch.ones_like(s)
    rest = (-s.expm1()).clamp(min=torch.finfo(s.dtype).tiny)
    return rest.pow(gamma) - gamma * rest.pow(gamma - 1) * s.exp() * s


def _overwrite(
    p: Softmax, y: Tensor | None, beta: Beta | None, terms: Terms, up: Tensor, softcap: float | None
) -> None:
    """The gradient in place of the logits: upstream (α ŷ_h − β_h) times the slope of the softcap."""
    # Taken before the logits are gone.
    at_y = None if y is None else up * terms.beta_y * _softcap_slope(p.x.gather(1, y), softcap)
    alpha = up * terms.alpha
    for some in blocks(p.x.shape[1], p.x):
        gradient = p.s(some).exp_().mul_(alpha)
        if beta is not None:
            gradient.sub_(up * beta(some))
        p.x[:, some] = gradient.mul_(_softcap_slope(p.x[:, some], softcap))
    if y is not None and at_y is not None:
        p.x.scatter_add_(1, y, -at_y)


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
