"""A hard target: the loss of a sample is a pick, −s of its true class, with the focal factor and the z-loss."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.explain.reduction import Terms
from losscope.explain.step import Formula, Trail
from losscope.explain.targets import chance, counted_words, weight_of_target
from losscope.kernels.options import CategoricalOptions
from losscope.kernels.reference import expectation, hide, pick


def picked(at: Trail, weight: Tensor | None, options: CategoricalOptions, counted: Tensor) -> Terms:
    """ℓ_i = w ((1 − ŷ)^γ (−s) + λ lse²) at the true class, and what is added up: v_i ℓ_i."""
    ignored = ~counted
    s = pick(at["s"], hide(at["y"], ignored), 1)
    loss, latex, text = -s, "-s_{i,y_i}", "−s_{i,y_i}"
    if options.focal_gamma:
        loss = _focal_factor(at, s, options.focal_gamma) * loss
        latex, text = rf"(1 - \hat{{y}}_{{i,y_i}})^{{{options.focal_gamma:g}}} ({latex})", f"f_i ({text})"
    if options.z_loss:
        loss = loss + z_loss(at, options.z_loss)
        latex, text = rf"{latex} + {options.z_loss:g}\,\mathrm{{lse}}_i^2", f"{text} + {options.z_loss:g} lse_i²"
    w = weight_of_target(at, weight, loss.dtype, counted)
    if weight is not None:
        loss = w * loss
        latex, text = rf"w_{{y_i}} \left({latex}\right)", f"w_{{y_i}} ({text})"
    plain = weight is None and not options.focal_gamma and not options.z_loss
    same = f", the same number as −Σ_h t_ih s_ih. {chance(at['s'].shape[1])}" if plain else "."
    loss = at.add(
        "ℓ",
        "loss of one sample",
        rf"\ell_i = {latex}",
        f"ℓ_i = {text}",
        hide(loss, ignored),
        f"In nats: a pick at the true class{same}",
        "i",
    )
    each = hide(w, ignored)
    return Terms(
        loss,
        each,
        Formula("v_i ", "v_i "),
        Formula(r"\sum_j v_j w_{y_j}", "Σ_j v_j w_{y_j}"),
        counted_words(weight, each),
        "i",
    )


def picked_slope(
    at: Trail, weight: Tensor | None, options: CategoricalOptions, counted: Tensor
) -> tuple[Tensor, Formula]:
    """∂ℓ_i/∂z_ih of a hard target, before the softcap: ŷ − t, times w and what the focal factor makes of it."""
    slope, formula = at["ŷ"] - at["t"], Formula(r"\hat{y}_{ih} - t_{ih}", "ŷ_ih − t_ih")
    if options.focal_gamma:
        slope = _focal_pull(at, options.focal_gamma, counted).unsqueeze(1) * slope
        formula = Formula(rf"a_i ({formula.latex})", f"a_i ({formula.text})")
    if options.z_loss:
        slope = slope + 2 * options.z_loss * at["lse"].unsqueeze(1) * at["ŷ"]
        twice = f"{2 * options.z_loss:g}"
        formula = Formula(
            rf"{formula.latex} + {twice}\,\mathrm{{lse}}_i\,\hat{{y}}_{{ih}}", f"{formula.text} + {twice} lse_i ŷ_ih"
        )
    if weight is not None:
        slope = at["w"].unsqueeze(1) * slope
        formula = Formula(rf"w_{{y_i}} \left({formula.latex}\right)", f"w_{{y_i}} ({formula.text})")
    return slope, formula


def z_loss(at: Trail, weight: float) -> Tensor:
    """λ lse²: what keeps the normaliser near 1."""
    return at.add(
        "λ lse²",
        "z-loss",
        rf"{weight:g}\,\mathrm{{lse}}_i^2",
        f"{weight:g} lse_i²",
        weight * at["lse"].square(),
        "0 where Σ_h exp(z_ih) = 1: it keeps the logits from drifting, which the softmax would not notice.",
        "i",
    )


def _focal_factor(at: Trail, s: Tensor, gamma: float) -> Tensor:
    return at.add(
        "f",
        "focal factor",
        rf"f_i = (1 - \hat{{y}}_{{i,y_i}})^{{{gamma:g}}}",
        f"f_i = (1 − ŷ_{{i,y_i}})^{gamma:g}",
        _miss(s).pow(gamma),
        "Near 0 where the true class is already likely: easy samples add little.",
        "i",
    )


def _focal_pull(at: Trail, gamma: float, counted: Tensor) -> Tensor:
    """What the focal factor makes of the 1 before ŷ − t; ŷ s → 0 where ŷ = 0."""
    s = pick(at["s"], hide(at["y"], ~counted), 1)
    return at.add(
        "a",
        "focal pull",
        rf"a_i = f_i - {gamma:g}\,\hat{{y}}_{{i,y_i}} s_{{i,y_i}} (1 - \hat{{y}}_{{i,y_i}})^{{{gamma - 1:g}}}",
        f"a_i = f_i − {gamma:g} ŷ_{{i,y_i}} s_{{i,y_i}} (1 − ŷ_{{i,y_i}})^{gamma - 1:g}",
        at["f"] - gamma * expectation(s.exp(), s) * _miss(s).pow(gamma - 1),
        "How hard the sample pulls; 1 without the focal factor.",
        "i",
    )


def _miss(s: Tensor) -> Tensor:
    """1 − ŷ from ln ŷ, kept off 0 as the loss keeps it."""
    return (-s.expm1()).clamp(min=torch.finfo(s.dtype).tiny)
