"""The contract of every option in numpy's extended precision: values and gradients, written independently of src.

One sample at a time, as on paper, and slow. Gradients are the formulas, not automatic differentiation.
"""

from __future__ import annotations

import numpy as np
import torch

LONG = np.longdouble


def cross_entropy(
    z, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0, focal_gamma=0.0, z_loss=0.0,
    softcap=None, normalizer=None,
):  # fmt: skip
    """(loss, gradient) of (N, H) logits, as float64 tensors; "none" gives the gradient of Σ ℓ_i."""
    z, w = to_long(z), np.ones(z.shape[1], LONG) if weight is None else to_long(weight)
    losses, grads, divisors = np.zeros(len(z), LONG), np.zeros(z.shape, LONG), np.zeros(len(z), LONG)
    for i in range(len(z)):
        if target.is_floating_point():
            q, divisors[i] = to_long(target[i]), 1
        elif int(target[i]) == ignore_index:
            continue
        else:
            q, divisors[i] = np.eye(z.shape[1], dtype=LONG)[int(target[i])], w[int(target[i])]
        losses[i], grads[i] = one_sample(z[i], q, w, label_smoothing, focal_gamma, z_loss, softcap)
    return reduced(losses, grads, divisors.sum() if normalizer is None else LONG(normalizer), reduction)


def one_sample(z, q, w, epsilon, gamma, z_loss, softcap):
    masked = np.isneginf(z)
    slope = np.ones_like(z)
    if softcap is not None:
        tanh = np.tanh(np.where(masked, 0, z) / LONG(softcap))
        z, slope = np.where(masked, -np.inf, softcap * tanh), 1 - tanh**2
    m = z.max()
    lse = m + np.log(np.exp(z - m).sum())
    s = z - m - np.log(np.exp(z - m).sum())
    p = np.exp(s)
    q = (1 - LONG(epsilon)) * q + LONG(epsilon) * (~masked) / (~masked).sum()
    used = q * w != 0
    one_minus_p = -np.expm1(s)
    f = one_minus_p**gamma * -s
    with np.errstate(divide="ignore", invalid="ignore"):  # at ŷ = 1, and at 0, the second term tends to 0
        df = -(one_minus_p**gamma) + np.where(one_minus_p > 0, gamma * s * p * one_minus_p ** (gamma - 1), 0)
    loss = (w * q)[used] @ f[used] + z_loss * (w * q).sum() * lse**2
    inner = np.where(used, w * q * np.where(masked, -1, df), 0)
    grad = inner - p * inner.sum() + 2 * z_loss * (w * q).sum() * lse * p
    return loss, np.where(masked, 0, grad * slope)


def binary_cross_entropy_with_logits(
    z, target, weight=None, *, reduction="mean", pos_weight=None, label_smoothing=0.0, focal_gamma=0.0,
    ignore_index=None,
):  # fmt: skip
    """(loss, gradient) of logits of any shape, as float64 tensors; "none" gives the gradient of Σ ℓ_ih."""
    z, t = to_long(z), to_long(target)
    counted = np.ones(z.shape, bool) if ignore_index is None else t != LONG(ignore_index)
    z, t = np.where(counted, z, 0), np.where(counted, t, 0)
    w = LONG(1) if weight is None else to_long(weight)
    p = LONG(1) if pos_weight is None else to_long(pos_weight)
    t = (1 - LONG(label_smoothing)) * t + LONG(label_smoothing) / 2
    on, off = log_sigmoid(z), log_sigmoid(-z)
    g = LONG(focal_gamma)
    with np.errstate(invalid="ignore"):
        focal_true, focal_false = (np.exp(g * off), np.exp(g * on)) if g else (LONG(1), LONG(1))
        true = np.where(t != 0, p * t * focal_true * -on, 0)
        false = np.where(t != 1, (1 - t) * focal_false * -off, 0)
        # d/dz of e^{g·off}·(−on), with on' = e^off and off' = −e^on; x·e^x tends to 0 as x tends to −∞
        d_true = np.where(t != 0, p * t * focal_true * (g * times_exp(on) - np.exp(off)), 0)
        d_false = np.where(t != 1, (1 - t) * focal_false * (-g * times_exp(off) + np.exp(on)), 0)
    losses, grads = np.where(counted, w * (true + false), 0), np.where(counted, w * (d_true + d_false), 0)
    return reduced(losses, grads, LONG(counted.sum()), reduction)


def times_exp(x):
    return np.where(np.isneginf(x), 0, x * np.exp(x))


def log_sigmoid(z):
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


def reduced(losses, grads, divisor, reduction):
    if reduction == "none":
        return to_torch(losses), to_torch(grads)
    if reduction == "sum":
        return to_torch(losses.sum()), to_torch(grads)
    if divisor == 0:
        return torch.tensor(torch.nan, dtype=torch.float64), torch.zeros(grads.shape, dtype=torch.float64)
    return to_torch(losses.sum() / divisor), to_torch(grads / divisor)


def to_long(x):
    return x.detach().double().numpy().astype(LONG)


def to_torch(x):
    return torch.from_numpy(np.atleast_1d(x).astype(np.float64)).reshape(np.shape(x))
