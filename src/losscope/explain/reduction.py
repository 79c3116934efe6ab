"""From the loss of each sample to L, and the share that each sample has in it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from losscope.explain.step import Formula, Trail
from losscope.kernels.reference import reduce


class Terms(NamedTuple):
    """What is added up, as numbers and in formulas.

    Attributes:
        value: the terms, each already times its factor.
        divisor: what each adds to the divisor of the mean.
        factor: the formula of what each ℓ is multiplied by.
        by: the formula of the divisor of the mean.
        words: the same in words.
        axes: what the terms run over.
    """

    value: Tensor
    divisor: Tensor
    factor: Formula
    by: Formula
    words: str
    axes: str


class Share(NamedTuple):
    """∂L/∂term: 1, or one over the divisor; ``over`` ends the formula of a gradient."""

    value: Tensor
    over: Formula


def reduction(
    at: Trail, terms: Terms, kind: str, dtype: torch.dtype, normalizer: float | Tensor | str | None = None
) -> Share:
    """The step L, and the share that each of its terms has in it."""
    total = reduce(terms.value, terms.divisor, kind, normalizer).to(dtype)
    if normalizer is not None:
        given = f"{float(normalizer):g}"
        terms = terms._replace(by=Formula(given, given), words=f"the given normalizer, {given}")
    name = "loss of each" if kind == "none" else "reduced loss"
    axes = terms.axes if kind == "none" else ""
    at.add("L", name, *_formula(terms, kind), total, _sentence(terms, kind), axes)
    return _share(terms, kind, normalizer)


def _formula(terms: Terms, kind: str) -> Formula:
    axes = terms.axes
    latex, text = rf"{terms.factor.latex}\ell_{{{axes}}}", f"{terms.factor.text}ℓ_{axes}"
    if kind == "none":
        return Formula(rf"L_{{{axes}}} = {latex}", f"L_{axes} = {text}")
    latex, text = rf"\sum_{{{axes}}} {latex}", f"Σ_{axes} {text}"
    if kind == "sum":
        return Formula(rf"L_\mathrm{{sum}} = {latex}", f"L_sum = {text}")
    return Formula(rf"L_\mathrm{{mean}} = \frac{{{latex}}}{{{terms.by.latex}}}", f"L_mean = {text} / {terms.by.text}")


def _share(terms: Terms, kind: str, normalizer: float | Tensor | str | None) -> Share:
    one = torch.ones((), dtype=terms.value.dtype, device=terms.value.device)
    if kind != "mean":
        return Share(one, Formula("", ""))
    divisor = terms.divisor.sum() if normalizer is None else one * float(normalizer)
    # Nothing counts: no share either, though the mean itself is NaN.
    share = torch.where(divisor == 0, torch.zeros_like(one), 1 / divisor)
    return Share(share, Formula(rf" / {terms.by.latex}", f" / {terms.by.text}"))


def _sentence(terms: Terms, kind: str) -> str:
    if kind == "none":
        return "Not reduced: one number each."
    if kind == "sum":
        return "The sum, so it grows with the batch."
    nothing = " Nothing counts, so there is no mean." if not bool(terms.divisor.any()) else ""
    return f"The sum divided by {terms.words}.{nothing}"
