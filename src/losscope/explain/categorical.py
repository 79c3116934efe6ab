"""One of H classes is true: cross-entropy and the negative log-likelihood, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.explain.check import largest
from losscope.explain.expected import expected, expected_slope
from losscope.explain.picked import picked, picked_slope
from losscope.explain.reduction import Share, Terms, reduction
from losscope.explain.rows import class_rows
from losscope.explain.softmax import logits, paper_forms, softmax
from losscope.explain.step import Check, Formula, Trail, Worked
from losscope.explain.targets import class_target, smoothed, validity
from losscope.kernels.options import CategoricalOptions
from losscope.kernels.reference import hide, upcast
from losscope.losses import CrossEntropyLoss, NLLLoss
from losscope.parallel import over_ranks


def explain_cross_entropy(loss: CrossEntropyLoss, z: Tensor, target: Tensor) -> Worked:
    """Cross-entropy, with every option."""
    return cross_entropy(Trail(), z, target, loss.weight, loss.options)


def cross_entropy(at: Trail, z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Worked:
    """The steps from z on; ``at`` may already hold how z came about."""
    options = over_ranks(options, target, weight)
    x, index = upcast(class_rows(z)), not target.is_floating_point()
    dtype = z.dtype if index else torch.promote_types(z.dtype, target.dtype)
    zed = logits(at, x, options.softcap, z.dtype)
    softmax(at, zed)
    truth = class_target(at, target, options.ignore_index, x)
    counted = validity(at, options.ignore_index) if index else torch.ones_like(x[:, 0], dtype=torch.bool)
    q = smoothed(at, truth, zed, options.label_smoothing, counted)
    hard = q == "t"
    terms = picked(at, weight, options, counted) if hard else expected(at, q, weight, options, counted)
    share = reduction(at, terms, options.reduction, dtype, options.normalizer)
    slope = picked_slope(at, weight, options, counted) if hard else expected_slope(at, q, weight, options)
    _slope(at, *slope, options.softcap, counted)
    _gradient(at, share.value * counted, terms, share)
    checks = _checks(at, share.value * (terms.divisor if hard else counted), "z")
    return Worked(at.steps, checks, paper_forms(at, zed), at[truth], counted)


def explain_nll(loss: NLLLoss, s: Tensor, target: Tensor) -> Worked:
    """The negative log-likelihood of log-probabilities: a pick."""
    at, x = Trail(), upcast(class_rows(s))
    at.add("s", "log-probability", "s_{ih}", "s_ih", x, "What the network gives: logarithms, in nats.", "ih")
    at.add(
        "ŷ",
        "estimated probability",
        r"\hat{y}_{ih} = e^{s_{ih}}",
        "ŷ_ih = exp(s_ih)",
        x.exp(),
        "Each row sums to one if the input is what it has to be, the output of log_softmax.",
        "ih",
    )
    class_target(at, target, loss.ignore_index, x)
    counted = validity(at, loss.ignore_index)
    terms = picked(at, loss.weight, CategoricalOptions(), counted)
    share = reduction(at, terms, loss.reduction, s.dtype)
    pull = share.value * terms.divisor
    at.add(
        "∂L/∂s",
        "gradient",
        rf"\frac{{\partial L}}{{\partial s_{{ih}}}} = -v_i w_{{y_i}} t_{{ih}}{share.over.latex}",
        f"∂L/∂s_ih = −v_i w_{{y_i}} t_ih{share.over.text}",
        -pull.unsqueeze(1) * at["t"],
        "Only the true class is pulled, always with the same force.",
        "ih",
    )
    return Worked(at.steps, _checks(at, pull, "s"), [], at["t"], counted)


def _slope(at: Trail, slope: Tensor, formula: Formula, cap: float | None, counted: Tensor) -> None:
    """∂ℓ_i/∂z_ih, through the softcap where there is one; 0 where the sample is ignored."""
    if cap is not None:
        # A masked logit stays masked whatever it is, so nothing comes back through it.
        through = (1 - (at["z̃"] / cap).square()).masked_fill(at["z"].isneginf(), 0)
        slope = slope * through
        formula = Formula(
            rf"\left(1 - (\tilde{{z}}_{{ih}} / {cap:g})^2\right) \left({formula.latex}\right)",
            f"(1 − (z̃_ih / {cap:g})²) ({formula.text})",
        )
    at.add(
        "∂ℓ/∂z",
        "gradient of one sample",
        rf"\frac{{\partial \ell_i}}{{\partial z_{{ih}}}} = {formula.latex}",
        f"∂ℓ_i/∂z_ih = {formula.text}",
        hide(slope, ~counted.unsqueeze(1)),
        "What is estimated minus what is true: above 0 where the estimate is too high, so that descent lowers z there.",
        "ih",
    )


def _gradient(at: Trail, pull: Tensor, terms: Terms, share: Share) -> None:
    slope = Formula(r"\frac{\partial \ell_i}{\partial z_{ih}}", "∂ℓ_i/∂z_ih")
    at.add(
        "∂L/∂z",
        "gradient",
        r"\frac{\partial L}{\partial z_{ih}} = " + f"{terms.factor.latex}{slope.latex}{share.over.latex}",
        f"∂L/∂z_ih = {terms.factor.text}{slope.text}{share.over.text}",
        pull.unsqueeze(1) * at["∂ℓ/∂z"],
        "What flows back into the network.",
        "ih",
    )


def _checks(at: Trail, pull: Tensor, outputs: str) -> dict[str, Check]:
    """Each is a difference of numbers of the size of the outputs, so it shares their rounding."""
    size = 1 + largest(at[outputs])
    return {
        "L": Check("loss", size * float(pull.abs().sum())),
        f"∂L/∂{outputs}": Check("input", size * largest(pull)),
    }
