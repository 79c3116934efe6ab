"""From logits to ŷ where each label is on its own: one exponential that cannot overflow serves both logarithms."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.explain.softmax import compared, dtype_name
from losscope.explain.step import Trail
from losscope.kernels import naive
from losscope.kernels.reference import softmax_of_zero_and


def sigmoid(at: Trail, z: Tensor, dtype: torch.dtype) -> None:
    """The stable sigmoid and the logarithms of ŷ and of 1 − ŷ."""
    computed = "" if z.dtype == dtype else f" It came as {dtype_name(dtype)} and is computed in {dtype_name(z.dtype)}."
    at.add("z", "logit", "z_{ih}", "z_ih", z, f"The raw output of the last linear layer: any number.{computed}", "ih")
    e = at.add(
        "exp(−|z|)",
        "exponential",
        r"e^{-|z_{ih}|}",
        "exp(−|z_ih|)",
        (-z.abs()).exp(),
        "Between 0 and 1 whatever z is, so it cannot overflow.",
        "ih",
    )
    high = z >= 0
    at.add(
        "ŷ",
        "estimated probability",
        r"\hat{y}_{ih} = \sigma(z_{ih}) = \frac{1}{1 + e^{-z_{ih}}}",
        "ŷ_ih = σ(z_ih) = 1 / (1 + exp(−z_ih)), and exp(z_ih) / (1 + exp(z_ih)) where z_ih < 0",
        torch.where(high, torch.ones_like(e), e) / (1 + e),
        "The second entry of softmax(0, z): a binary problem is H = 2 with outputs (0, z).",
        "ih",
    )
    at.add(
        "1−ŷ",
        "probability of false",
        r"1 - \hat{y}_{ih} = \sigma(-z_{ih})",
        "1 − ŷ_ih = σ(−z_ih)",
        torch.where(high, e, torch.ones_like(e)) / (1 + e),
        "The sigmoid of −z, and not a subtraction that would cancel where ŷ is close to 1.",
        "ih",
    )
    at.add(
        "ln ŷ",
        "log-probability",
        r"\ln \hat{y}_{ih} = \min(z_{ih}, 0) - \ln(1 + e^{-|z_{ih}|})",
        "ln ŷ_ih = min(z_ih, 0) − ln(1 + exp(−|z_ih|))",
        z.clamp(max=0) - e.log1p(),
        "In nats, never above 0.",
        "ih",
    )
    at.add(
        "ln(1−ŷ)",
        "log-probability of false",
        r"\ln(1 - \hat{y}_{ih}) = \min(-z_{ih}, 0) - \ln(1 + e^{-|z_{ih}|})",
        "ln(1 − ŷ_ih) = min(−z_ih, 0) − ln(1 + exp(−|z_ih|))",
        (-z).clamp(max=0) - e.log1p(),
        "The same with −z.",
        "ih",
    )


def paper_forms(at: Trail, m: Tensor, counted: Tensor) -> list[str]:
    """What the formulas as they stand on paper give for the same logits, and the sigmoid as a softmax."""
    z = at["z"].masked_fill(~counted, 0)
    target = m.masked_fill(~counted, 0)
    plain = -target * at["ln ŷ"] - (1 - target) * at["ln(1−ŷ)"]
    forms = {
        "σ(z) as exp(z) / (1 + exp(z))": (naive.sigmoid(z), at["ŷ"]),
        "σ(z) as the second entry of softmax(0, z)": (softmax_of_zero_and(z), at["ŷ"]),
        "−m ln ŷ − (1−m) ln(1−ŷ) from ŷ": (naive.binary_cross_entropy(at["ŷ"], target), plain),
    }
    return [
        compared(name, on_paper.masked_fill(~counted, 0), stable.masked_fill(~counted, 0))
        for name, (on_paper, stable) in forms.items()
    ]
