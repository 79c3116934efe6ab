"""Each label is true on its own: binary cross-entropy of raw outputs, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.explain.check import largest
from losscope.explain.reduction import Share, Terms, reduction
from losscope.explain.rows import label_rows
from losscope.explain.sigmoid import paper_forms, sigmoid
from losscope.explain.step import Check, Formula, Trail, Worked
from losscope.kernels.options import BinaryOptions
from losscope.kernels.reference import expectation, hide, modulation, upcast
from losscope.losses import BCEWithLogitsLoss

CHANCE = "Guessing ŷ = 1/2 costs ln 2 = 0.6931 each."


def explain_bce_with_logits(loss: BCEWithLogitsLoss, z: Tensor, target: Tensor) -> Worked:
    """Binary cross-entropy of logits, with every option."""
    at, options = Trail(), loss.options
    sigmoid(at, upcast(label_rows(z)), z.dtype)
    m, counted = multi_hot(at, upcast(label_rows(target)), options)
    p = factor(at, loss.pos_weight, z, "p", "positive weight", "The term of a true label is multiplied by it.")
    w = factor(at, loss.weight, z, "w", "weight", "Every label's loss is multiplied by it; the mean's divisor is not.")
    _losses(at, m, w, p is not None, options, counted)
    terms = label_terms(at, counted, ignoring=options.ignore_index is not None)
    share = reduction(at, terms, options.reduction, torch.promote_types(z.dtype, target.dtype))
    _slope(at, m, w, p is not None, options, counted)
    checks = label_gradient(at, "z", w, counted, share, 1 if p is None else largest(p))
    notes = paper_forms(at, at["m"], counted)
    return Worked(at.steps, checks, notes, at["m"], counted)


def multi_hot(at: Trail, m: Tensor, options: BinaryOptions) -> tuple[str, Tensor]:
    """The target m and v, and the smoothed m̃; the symbol to go on with comes back, and what counts."""
    at.add("m", "multi-hot target", "m_{ih}", "m_ih", m, "1 where the label is true; any number of them may be.", "ih")
    counted = torch.ones_like(m, dtype=torch.bool)
    if options.ignore_index is not None:
        counted = m != options.ignore_index
        ignored = int((~counted).sum())
        at.add(
            "v",
            "validity",
            rf"v_{{ih}} = [m_{{ih}} \neq {options.ignore_index:g}]",
            f"v_ih = [m_ih ≠ {options.ignore_index:g}]",
            counted.to(torch.int64),
            f"{ignored:,} of {m.numel():,} labels are ignored: their loss and gradient are 0, whatever their z is.",
            "ih",
        )
    if not options.label_smoothing:
        return "m", counted
    e = options.label_smoothing
    at.add(
        "m̃",
        "smoothed target",
        rf"\tilde{{m}}_{{ih}} = {1 - e:g}\, m_{{ih}} + {e:g} / 2",
        f"m̃_ih = {1 - e:g} m_ih + {e:g} / 2",
        (1 - e) * m + e / 2,
        f"Label smoothing: a share ε = {e:g} of the truth is spread evenly over true and false.",
        "ih",
    )
    return "m̃", counted


def factor(at: Trail, weight: Tensor | None, z: Tensor, symbol: str, name: str, sentence: str) -> Tensor | None:
    """A weight of every label, as the loss broadcasts it."""
    if weight is None:
        return None
    text, latex = f"{symbol}_ih", f"{symbol}_{{ih}}"
    return at.add(symbol, name, latex, text, upcast(label_rows(weight.expand(z.shape))), sentence, "ih")


def weighted(w: Tensor | None, inner: Formula) -> Formula:
    """A formula times w_ih, where there is a weight."""
    return inner if w is None else Formula(rf"w_{{ih}} \left({inner.latex}\right)", f"w_ih ({inner.text})")


def label_terms(at: Trail, counted: Tensor, *, ignoring: bool) -> Terms:
    """What is added up, v ℓ, and what the mean divides by: the labels that count, never their weights."""
    loss, count = at["ℓ"], f"{int(counted.sum()):,}"
    return Terms(
        loss,
        counted.to(loss.dtype),
        Formula("v_{ih} ", "v_ih ") if ignoring else Formula("", ""),
        Formula(r"\sum_{jk} v_{jk}", "Σ_jk v_jk") if ignoring else Formula(r"N H", "(N·H)"),
        f"the number of labels{' that count' if ignoring else ''}, {count}",
        "ih",
    )


def label_gradient(
    at: Trail, of: str, w: Tensor | None, counted: Tensor, share: Share, largest_factor: float
) -> dict[str, Check]:
    """∂L/∂z (or ∂L/∂ŷ), and what L and it are to be checked with."""
    latex = {"z": "z", "ŷ": r"\hat{y}"}[of]
    name = "v_{ih} " if "v" in at else ""
    pull = share.value * (counted if w is None else hide(w, ~counted))
    at.add(
        f"∂L/∂{of}",
        "gradient",
        rf"\frac{{\partial L}}{{\partial {latex}_{{ih}}}} = "
        rf"{name}\frac{{\partial \ell_{{ih}}}}{{\partial {latex}_{{ih}}}}{share.over.latex}",
        f"∂L/∂{of}_ih = {name.replace('{ih}', 'ih')}∂ℓ_ih/∂{of}_ih{share.over.text}",
        share.value * counted * at[f"∂ℓ/∂{of}"],
        "What flows back into the network.",
        "ih",
    )
    slope = 1 + largest_factor
    return {
        "L": Check("loss", float(pull.abs().sum()) * slope),
        f"∂L/∂{of}": Check("input", largest(pull) * slope),
    }


def _losses(at: Trail, m: str, w: Tensor | None, positive: bool, options: BinaryOptions, counted: Tensor) -> None:
    """ℓ_ih = w (−p m ln ŷ − (1 − m) ln(1 − ŷ)), each term with its focal factor."""
    is_true, is_false, gamma = at["ln ŷ"], at["ln(1−ŷ)"], options.focal_gamma
    if gamma:
        at.add(
            "f",
            "focal factor",
            rf"f_{{ih}} = (1 - \hat{{y}}_{{ih}})^{{{gamma:g}}} \text{{ if }} m_{{ih}} = 1 "
            rf"\text{{ else }} \hat{{y}}_{{ih}}^{{{gamma:g}}}",
            f"f_ih = (1 − ŷ_ih)^{gamma:g} where m_ih = 1, and ŷ_ih^{gamma:g} where m_ih = 0",
            torch.where(at[m] == 1, modulation(is_false, gamma), modulation(is_true, gamma)),
            "Near 0 where the truth is already likely: easy labels add little.",
            "ih",
        )
    p = at["p"] if positive else 1
    t = hide(at[m], ~counted)
    loss = -p * expectation(t, is_true) - expectation(1 - t, is_false)
    text = f"{'p_ih ' if positive else ''}{m}_ih"
    tex = {"m": "m_{ih}", "m̃": r"\tilde{m}_{ih}"}[m]
    body = Formula(
        rf"-{'p_{ih} ' if positive else ''}{tex} \ln \hat{{y}}_{{ih}} - (1 - {tex}) \ln(1 - \hat{{y}}_{{ih}})",
        f"−{text} ln ŷ_ih − (1 − {m}_ih) ln(1 − ŷ_ih)",
    )
    if gamma:
        loss = at["f"] * loss
        body = Formula(rf"f_{{ih}} \left({body.latex}\right)", f"f_ih ({body.text})")
    body = weighted(w, body)
    plain = w is None and not positive and not gamma
    at.add(
        "ℓ",
        "loss of one label",
        rf"\ell_{{ih}} = {body.latex}",
        f"ℓ_ih = {body.text}",
        hide(loss if w is None else w * loss, ~counted),
        "In nats: a multi-label loss is a sum of binary ones." + (f" {CHANCE}" if plain else ""),
        "ih",
    )


def _slope(at: Trail, m: str, w: Tensor | None, positive: bool, options: BinaryOptions, counted: Tensor) -> None:
    """∂ℓ_ih/∂z_ih: ŷ − m, with the weights, or with the focal factor's own slope."""
    t, p, y_hat, rest, gamma = at[m], at["p"] if positive else 1, at["ŷ"], at["1−ŷ"], options.focal_gamma
    tex = {"m": "m_{ih}", "m̃": r"\tilde{m}_{ih}"}[m]
    if gamma:
        raised = -p * (rest - gamma * expectation(y_hat, at["ln ŷ"]))
        lowered = y_hat - gamma * expectation(rest, at["ln(1−ŷ)"])
        slope = at["f"] * torch.where(t == 1, raised, lowered)
        by = ("p_{ih} ", "p_ih ") if positive else ("", "")
        formula = Formula(
            rf"f_{{ih}} \cdot \left(-{by[0]}(1 - \hat{{y}}_{{ih}} - {gamma:g}\,\hat{{y}}_{{ih}} \ln \hat{{y}}_{{ih}})"
            rf" \text{{ or }} \hat{{y}}_{{ih}} - {gamma:g} (1 - \hat{{y}}_{{ih}}) \ln(1 - \hat{{y}}_{{ih}})\right)",
            f"−f_ih {by[1]}(1 − ŷ_ih − {gamma:g} ŷ_ih ln ŷ_ih) where m_ih = 1, "
            f"f_ih (ŷ_ih − {gamma:g} (1 − ŷ_ih) ln(1 − ŷ_ih)) where m_ih = 0",
        )
    elif positive:
        slope = (1 - t) * y_hat - p * t * rest
        formula = Formula(
            rf"(1 - {tex}) \hat{{y}}_{{ih}} - p_{{ih}} {tex} (1 - \hat{{y}}_{{ih}})",
            f"(1 − {m}_ih) ŷ_ih − p_ih {m}_ih (1 − ŷ_ih)",
        )
    else:
        slope, formula = y_hat - t, Formula(rf"\hat{{y}}_{{ih}} - {tex}", f"ŷ_ih − {m}_ih")
    formula = weighted(w, formula)
    at.add(
        "∂ℓ/∂z",
        "gradient of one label",
        rf"\frac{{\partial \ell_{{ih}}}}{{\partial z_{{ih}}}} = {formula.latex}",
        f"∂ℓ_ih/∂z_ih = {formula.text}",
        hide(slope if w is None else w * slope, ~counted),
        "What is estimated minus what is true: above 0 where the estimate is too high, so that descent lowers z there.",
        "ih",
    )
