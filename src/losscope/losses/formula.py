"""Formulas in LaTeX that follow the options."""

from __future__ import annotations

from losscope.kernels.options import BinaryOptions, CategoricalOptions


def reduced(reduction: str, each: str, over: str, divisor: str) -> str:
    """L in LaTeX: ``each``, their sum ``over`` the subscripts, or that by the divisor."""
    if reduction == "none":
        return rf"L_{over} = {each}"
    if reduction == "sum":
        return rf"L_\mathrm{{sum}} = \sum_{over} {each}"
    return rf"L_\mathrm{{mean}} = \frac{{\sum_{over} {each}}}{{{divisor}}}"


def class_reduction(options: CategoricalOptions, weighted: bool) -> list[str]:
    """What the samples come to, where it is not their plain mean: class weights are in ℓ, and in the divisor too."""
    given = options.normalizer
    if options.reduction == "mean" and given is None and not weighted:
        return []
    divisor = r"\sum_i v_i w_{y_i}" if given is None else f"{given:.12g}" if isinstance(given, (int, float)) else "C"
    return [reduced(options.reduction, r"v_i \ell_i", "i", divisor)]


def picked_formula(weighted: bool) -> str:
    """ℓ_i of log-probabilities."""
    return r"\ell_i = -w_{y_i} s_{i,y_i}" if weighted else r"\ell_i = -s_{i,y_i}"


def categorical_formula(options: CategoricalOptions, weighted: bool) -> str:
    """ℓ_i in LaTeX, with the options that are on; smoothing turns the pick into a sum over the classes."""
    z = r"\tilde{z}" if options.softcap is not None else "z"
    lse = rf"\ln \sum_k e^{{{z}_{{ik}}}}"
    parts = [(_of_smoothed if options.label_smoothing else _of_pick)(options, lse, weighted)]
    parts.append(rf"s_{{ih}} = {z}_{{ih}} - {lse}")
    if options.label_smoothing:
        e = options.label_smoothing
        parts.append(rf"\tilde{{q}}_{{ih}} = {1 - e:g}\, t_{{ih}} + {e:g} / H")
    if options.softcap is not None:
        parts.append(rf"\tilde{{z}}_{{ih}} = {options.softcap:g} \tanh(z_{{ih}} / {options.softcap:g})")
    parts += class_reduction(options, weighted)
    return r", \quad ".join(parts)


def _of_pick(options: CategoricalOptions, lse: str, weighted: bool) -> str:
    if not options.focal_gamma and not options.z_loss:
        return picked_formula(weighted)
    focal = rf"(1 - \hat{{y}}_{{i,y_i}})^{{{options.focal_gamma:g}}} " if options.focal_gamma else ""
    loss = rf"-{focal}s_{{i,y_i}}{_z_loss(options, lse)}"
    return rf"\ell_i = w_{{y_i}} \left({loss}\right)" if weighted else rf"\ell_i = {loss}"


def _of_smoothed(options: CategoricalOptions, lse: str, weighted: bool) -> str:
    weight = "w_h " if weighted else ""
    if not options.z_loss:
        return rf"\ell_i = -\sum_h {weight}\tilde{{q}}_{{ih}} s_{{ih}}"
    return rf"\ell_i = \sum_h {weight}\tilde{{q}}_{{ih}} \left(-s_{{ih}}{_z_loss(options, lse)}\right)"


def _z_loss(options: CategoricalOptions, lse: str) -> str:
    return rf" + {options.z_loss:g} \left({lse}\right)^2" if options.z_loss else ""


def label_reduction(options: BinaryOptions, weighted: bool) -> list[str]:
    """What the labels come to, where it is not their plain mean: no weight is in the divisor."""
    ignored = options.ignore_index
    if options.reduction == "mean" and ignored is None and not weighted:
        return []
    if ignored is None:
        return [reduced(options.reduction, r"\ell_{ih}", "{ih}", "N H")]
    counts = rf"v_{{ih}} = [m_{{ih}} \neq {ignored:g}]"
    return [counts, reduced(options.reduction, r"v_{ih} \ell_{ih}", "{ih}", r"\sum_{ih} v_{ih}")]


def binary_formula(options: BinaryOptions, weighted: bool, pos_weighted: bool) -> str:
    """ℓ_ih in LaTeX, with the options that are on."""
    m = r"\tilde{m}_{ih}" if options.label_smoothing else "m_{ih}"
    g = f"{options.focal_gamma:g}"
    on, off = (rf"(1 - \hat{{y}}_{{ih}})^{{{g}}} ", rf"\hat{{y}}_{{ih}}^{{{g}}} ") if options.focal_gamma else ("", "")
    p = "p_h " if pos_weighted else ""
    loss = rf"-{p}{m} {on}\ln \hat{{y}}_{{ih}} - (1 - {m}) {off}\ln(1 - \hat{{y}}_{{ih}})"
    loss = rf"w_{{ih}} \left({loss}\right)" if weighted else loss
    parts = [rf"\ell_{{ih}} = {loss}", r"\hat{y}_{ih} = \sigma(z_{ih})"]
    if options.label_smoothing:
        e = options.label_smoothing
        parts.append(rf"\tilde{{m}}_{{ih}} = {1 - e:g}\, m_{{ih}} + {e:g} / 2")
    parts += label_reduction(options, weighted or pos_weighted)
    return r", \quad ".join(parts)
