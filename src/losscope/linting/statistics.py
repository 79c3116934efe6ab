"""The tests that rules rest on: each answers how surely, and says nothing on too few samples."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def z_score(differences: Tensor) -> float:
    """Mean / (sd / √n) of paired differences; 0 for fewer than 8 or constant ones."""
    n = differences.numel()
    if n < 8:
        return 0.0
    x = differences.double()
    spread = float(x.std())
    return float(x.mean()) / (spread / math.sqrt(n)) if spread > 0 else 0.0


def binomial_tail(hits: int, trials: int, probability: float) -> float:
    """P(X ≥ hits) of a binomial count."""
    from scipy.special import bdtrc  # a second of import, only where a rule comes this far

    return 1.0 if hits <= 0 else float(bdtrc(hits - 1, trials, probability))


def entropy(frequencies: Tensor) -> float:
    """−Σ f ln f, in nats."""
    return float(-torch.special.xlogy(frequencies, frequencies).sum())


def divergence(f: Tensor, g: Tensor) -> float:
    """KL(f ‖ g) = Σ f ln(f/g), in nats."""
    return float((torch.special.xlogy(f, f) - torch.special.xlogy(f, g)).sum())


def softplus_loss(z: Tensor, m: Tensor) -> Tensor:
    """Binary cross-entropy ln(1 + e^z) − m z of logits, in nats."""
    return F.softplus(z) - m * z


def probability_loss(p: Tensor, m: Tensor, keep_off: float = 1e-3) -> Tensor:
    """Binary cross-entropy of probabilities that are held away from 0 and 1, in nats."""
    p = p.clamp(keep_off, 1 - keep_off)
    return -(m * p.log() + (1 - m) * (1 - p).log())


def pick(s: Tensor, y: Tensor) -> Tensor:
    """s_{i,y_i}."""
    picked: Tensor = s.gather(1, y.unsqueeze(1)).squeeze(1)
    return picked


def unique(x: Tensor, dim: int | None = None) -> Tensor:
    """The different values, or slices along a dimension, in order."""
    found: Tensor = torch.unique(x, dim=dim)
    return found
