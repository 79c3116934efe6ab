"""Values instead of classes: the squared error, of the value or of its logarithm, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.explain.check import largest
from losscope.explain.reduction import Terms, reduction
from losscope.explain.rows import label_rows
from losscope.explain.step import Check, Formula, Trail, Worked
from losscope.kernels.reference import upcast
from losscope.losses import MSELoss, MSLELoss


def explain_mse(loss: MSELoss, z: Tensor, target: Tensor, weight: Tensor | None = None) -> Worked:
    """The squared error."""
    at = Trail()
    at.add("z", "estimate", "z_{ih}", "z_ih", upcast(label_rows(z)), "The raw output is the estimate itself.", "ih")
    dtype = torch.promote_types(z.dtype, target.dtype)
    at.add("y", "value", "y_{ih}", "y_ih", upcast(label_rows(target)).to(upcast_dtype(dtype)), "The true value.", "ih")
    return _squared_error(at, Formula("y_{ih}", "y_ih"), loss.reduction, dtype, weight)


def explain_msle(loss: MSLELoss, z: Tensor, target: Tensor, weight: Tensor | None = None) -> Worked:
    """The squared error of the logarithm."""
    at, x = Trail(), upcast(label_rows(z))
    at.add("z", "log-estimate", "z_{ih}", "z_ih", x, "The raw output is the logarithm of the estimate.", "ih")
    at.add(
        "ŷ",
        "estimate",
        r"\hat{y}_{ih} = e^{z_{ih}}",
        "ŷ_ih = exp(z_ih)",
        x.exp(),
        "The estimate itself, in the units of the values; the loss does not need it.",
        "ih",
    )
    dtype = z.dtype
    y = at.add("y", "value", "y_{ih}", "y_ih", upcast(label_rows(target.to(dtype))), "The true value, above 0.", "ih")
    at.add("ln y", "log-value", r"\ln y_{ih}", "ln y_ih", y.log(), "Its logarithm.", "ih")
    return _squared_error(at, Formula(r"\ln y_{ih}", "ln y_ih"), loss.reduction, dtype, weight)


def _squared_error(at: Trail, truth: Formula, kind: str, dtype: torch.dtype, weight: Tensor | None) -> Worked:
    """r, r², the weights, L and its gradient."""
    r = at.add(
        "r",
        "residual",
        f"r_{{ih}} = z_{{ih}} - {truth.latex}",
        f"r_ih = z_ih − {truth.text}",
        at["z"] - at[truth.text.removesuffix("_ih")],
        "What is estimated minus what is true: equal ratios are equal residuals."
        if "ln y" in at
        else "What is estimated minus what is true.",
        "ih",
    )
    w = _weight(at, weight, r)
    factor = Formula("", "") if weight is None else Formula("w_{ih} ", "w_ih ")
    loss = at.add(
        "ℓ",
        "squared error",
        rf"\ell_{{ih}} = {factor.latex}r_{{ih}}^2",
        f"ℓ_ih = {factor.text}r_ih²",
        w * r.square(),
        "The negative log-likelihood of a Gaussian of fixed width, but for constants.",
        "ih",
    )
    by = Formula("N H", "(N·H)") if weight is None else Formula(r"\sum_{jk} w_{jk}", "Σ_jk w_jk")
    words = f"the number of values, {w.numel():,}" if weight is None else f"the sum of the weights, {float(w.sum()):g}"
    share = reduction(at, Terms(loss, w, Formula("", ""), by, words, "ih"), kind, dtype)
    gradient = at.add(
        "∂L/∂z",
        "gradient",
        r"\frac{\partial L}{\partial z_{ih}} = " + f"2 {factor.latex}r_{{ih}}{share.over.latex}",
        f"∂L/∂z_ih = 2 {factor.text}r_ih{share.over.text}",
        2 * w * r * share.value,
        "In proportion to the residual, so a single large one may outweigh all the others.",
        "ih",
    )
    total = float((loss * share.value).abs().sum())
    return Worked(at.steps, {"L": Check("loss", total), "∂L/∂z": Check("input", largest(gradient))}, [])


def _weight(at: Trail, weight: Tensor | None, like: Tensor) -> Tensor:
    if weight is None:
        return torch.ones_like(like)
    sentence = "The weight of every value; the mean divides by their sum."
    return at.add("w", "weight", "w_{ih}", "w_ih", label_rows(weight).to(like.dtype), sentence, "ih")


def upcast_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for the low precisions, anything else as it is."""
    return upcast(torch.empty(0, dtype=dtype)).dtype
