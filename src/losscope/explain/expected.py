"""A soft or smoothed target: the same pick, in expectation over the distribution of the target."""

from __future__ import annotations

from torch import Tensor

from losscope.explain.picked import z_loss
from losscope.explain.reduction import Terms
from losscope.explain.step import Formula, Trail
from losscope.explain.targets import chance, counted_words, weight_of_target
from losscope.kernels.options import CategoricalOptions
from losscope.kernels.reference import expectation, hide

_Q = {"q": "q_{ih}", "q̃": r"\tilde{q}_{ih}"}


def expected(at: Trail, q: str, weight: Tensor | None, options: CategoricalOptions, counted: Tensor) -> Terms:
    """ℓ_i = Σ_h w_h q_ih (−s_ih + λ lse²): the weights stand inside, since every class has its own."""
    weighted = _weighted(at, q, weight)
    loss = -expectation(weighted, at["s"]).sum(1)
    inner = Formula("(-s_{ih})", "(−s_ih)")
    if options.z_loss:
        loss = loss + z_loss(at, options.z_loss) * at["A"]
        inner = Formula(
            rf"\left(-s_{{ih}} + {options.z_loss:g}\,\mathrm{{lse}}_i^2\right)", f"(−s_ih + {options.z_loss:g} lse_i²)"
        )
    term = _term(q, weight)
    at.add(
        "ℓ",
        "loss of one sample",
        rf"\ell_i = \sum_h {term.latex} {inner.latex}",
        f"ℓ_i = Σ_h {term.text} {inner.text}",
        hide(loss, ~counted),
        "In nats: the expectation of −s over the target; a class with no share in it adds nothing, even where s is "
        "−inf." + (f" {chance(at['s'].shape[1])}" if weight is None and not options.z_loss else ""),
        "i",
    )
    return _terms(at, weight, counted)


def expected_slope(at: Trail, q: str, weight: Tensor | None, options: CategoricalOptions) -> tuple[Tensor, Formula]:
    """∂ℓ_i/∂z_ih = A_i ŷ_ih (1 + 2 λ lse_i) − w_h q_ih, before the softcap."""
    pull, formula = at["A"], Formula(r"A_i \hat{y}_{ih}", "A_i ŷ_ih")
    if options.z_loss:
        pull = pull * (1 + 2 * options.z_loss * at["lse"])
        twice = f"{2 * options.z_loss:g}"
        formula = Formula(rf"{formula.latex} (1 + {twice}\,\mathrm{{lse}}_i)", f"{formula.text} (1 + {twice} lse_i)")
    term = _term(q, weight)
    weighted = at[q] if weight is None else at[q] * at["w_h"]
    slope = pull.unsqueeze(1) * at["ŷ"] - weighted
    return slope, Formula(f"{formula.latex} - {term.latex}", f"{formula.text} − {term.text}")


def _weighted(at: Trail, q: str, weight: Tensor | None) -> Tensor:
    """w_h q_ih, with the steps w_h and A_i = Σ_h w_h q_ih."""
    weighted = at[q]
    if weight is not None:
        weighted = weighted * at.add(
            "w_h", "class weight", "w_h", "w_h", weight.to(weighted.dtype), "The weight of each class.", "h"
        )
    term = _term(q, weight)
    at.add(
        "A",
        "weight of the target",
        rf"A_i = \sum_h {term.latex}",
        f"A_i = Σ_h {term.text}",
        weighted.sum(1),
        "What the shares of the target come to: 1 for a distribution without class weights.",
        "i",
    )
    return weighted


def _term(q: str, weight: Tensor | None) -> Formula:
    w = "" if weight is None else "w_h "
    return Formula(f"{w}{_Q[q]}", f"{w}{q}_ih")


def _terms(at: Trail, weight: Tensor | None, counted: Tensor) -> Terms:
    """What is added up, and the divisor: the weights of the true classes, or N where there is no true class."""
    loss = at["ℓ"]
    if "y" in at:
        each = hide(weight_of_target(at, weight, loss.dtype, counted), ~counted)
        words = counted_words(weight, each)
        by = Formula(r"\sum_j v_j w_{y_j}", "Σ_j v_j w_{y_j}")
        return Terms(loss, each, Formula("v_i ", "v_i "), by, words, "i")
    words = f"the number of samples, {len(loss):,}"
    return Terms(loss, counted.to(loss.dtype), Formula("", ""), Formula("N", "N"), words, "i")
