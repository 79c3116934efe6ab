"""The formulas as they stand on paper: right there, and broken by floating point.

They are what ``explain``, the figures and the tutorial show beside the stable forms of
:mod:`losscope.kernels.reference`, and what the tests overflow on purpose.
"""

from __future__ import annotations

from torch import Tensor


def softmax(z: Tensor, dim: int) -> Tensor:
    """ŷ_h = e^{z_h} / Σ_k e^{z_k}: NaN as soon as one e^z overflows (z > 88.7 in float32)."""
    e = z.exp()
    return e / e.sum(dim, keepdim=True)


def log_softmax_of_softmax(z: Tensor, dim: int) -> Tensor:
    """First form, ln of the softmax: overflows as it does, and is −inf where ŷ underflows to 0."""
    return softmax(z, dim).log()


def log_softmax_of_sum(z: Tensor, dim: int) -> Tensor:
    """Second form, z_h − ln Σ_k e^{z_k}: no underflow of one ŷ any more, but the sum still overflows."""
    return z - logsumexp(z, dim).unsqueeze(dim)


def logsumexp(z: Tensor, dim: int) -> Tensor:
    """Ln Σ_h e^{z_h}: inf when one e^z overflows, −inf when all of them underflow."""
    return z.exp().sum(dim).log()


def sigmoid(z: Tensor) -> Tensor:
    """ŷ = e^z / (1 + e^z): NaN where e^z overflows."""
    return z.exp() / (1 + z.exp())


def binary_cross_entropy(probability: Tensor, target: Tensor) -> Tensor:
    """ℓ = −m ln ŷ − (1−m) ln(1−ŷ): inf, or NaN, where ŷ has been rounded to 0 or 1."""
    return -target * probability.log() - (1 - target) * (1 - probability).log()
