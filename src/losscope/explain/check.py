"""The loss called in the ordinary way, and autograd through it: what the formulas must agree with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from losscope.explain.rows import in_rows
from losscope.explain.step import Check, Step
from losscope.losses import Loss


def ordinary(loss: Loss, z: Tensor, y: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
    """The loss itself, and autograd's gradient of its sum to the input and to every parameter, by their names."""
    with torch.inference_mode(False), torch.enable_grad():
        leaves = {name: _leaf(p) for name, p in loss.named_parameters()}
        inputs = (_leaf(z), y.detach().clone() if isinstance(y, Tensor) else y)
        extra = {} if weight is None else {"weight": weight.detach().clone()}
        result = functional_call(loss, leaves, inputs, extra)
        value = result[0] if isinstance(result, tuple) else result
        gradients = torch.autograd.grad(value.sum(), [inputs[0], *leaves.values()])
    names = ["input", *leaves]
    return {"loss": value.detach()} | dict(zip(names, gradients, strict=True))


def _leaf(x: Tensor) -> Tensor:
    """A copy to differentiate at; what cannot be differentiated is left to the loss to refuse."""
    can = isinstance(x, Tensor) and x.is_floating_point()
    return x.detach().clone().requires_grad_() if can else x


def compare(
    steps: list[Step], checks: Mapping[str, Check], theirs: Mapping[str, Tensor], z: Tensor
) -> tuple[list[Step], dict[str, float], bool]:
    """The steps with what the comparison says added to their sentences, the differences, and whether all agree."""
    told, differences, agree = [], {}, True
    for step in steps:
        if step.symbol in checks:
            check = checks[step.symbol]
            other = in_rows(theirs[check.of], z, step.value)
            difference = largest_difference(step.value, other)
            agrees = difference <= tolerance(step.value, other, check.size)
            differences[step.symbol], agree = difference, agree and agrees
            step = replace(step, sentence=f"{step.sentence} {_told(step.symbol, difference, agrees)}")
        told.append(step)
    return told, differences, agree


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """Of all elements; two NaN are equal, and so is what is infinite in their dtype; a NaN is far from any number."""
    a, b = ours.double(), theirs.double()
    far = (a - b).abs()
    if not far.numel() or bool(far.max().isfinite()):
        return largest(far)
    same = (ours.to(theirs.dtype) == theirs) | (a.isnan() & b.isnan())
    return float(far.masked_fill(same, 0).nan_to_num(nan=torch.inf).max())


def largest(x: Tensor) -> float:
    """The largest finite magnitude."""
    if not x.numel():
        return 0.0
    most = float(x.abs().max())
    return most if math.isfinite(most) else float(x.abs().masked_fill(~x.isfinite(), 0).max())


def tolerance(ours: Tensor, theirs: Tensor, size: float) -> float:
    """What rounding explains: of the result to its dtype, and of the sums before it."""
    rounded, computed = torch.finfo(theirs.dtype).eps, torch.finfo(_computed(theirs.dtype)).eps
    return 2 * rounded * largest(ours) + 32 * computed * max(size, largest(ours))


def _computed(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _told(symbol: str, difference: float, agrees: bool) -> str:
    source = "what the loss itself gives" if symbol == "L" else "what autograd gives"
    if agrees and not difference:
        return f"It equals {source}."
    if agrees:
        return f"Largest difference from {source}: {difference:.1e}."
    return f"It does NOT agree with {source}: the largest difference is {difference:.1e}."
