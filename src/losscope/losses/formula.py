"""Formulas in LaTeX that follow the options."""

from __future__ import annotations

from losscope.kernels.options import BinaryOptions, CategoricalOptions


def weighted_reduction(options: CategoricalOptions) -> str:
    """What the samples come to, each with the weight of its class."""
    each = r"v_i w_{y_i} \ell_i"
    if options.reduction == "none":
        return rf"L_i = {each}"
    if options.reduction == "sum":
        return rf"L_\mathrm{{sum}} = \sum_i {each}"
    given = options.normalizer
    divisor = r"\sum_i v_i w_{y_i}" if given is None else f"{given:g}" if isinstance(given, (int, float)) else "C"
    return rf"L_\mathrm{{mean}} = \frac{{\sum_i {each}}}{{{divisor}}}"


def categorical_formula(options: CategoricalOptions, weighted: bool) -> str:
    """ℓ_i in LaTeX, with the options that are on; smoothing turns the pick into a sum over the classes.

    Class weights stand in the mean, as in the notation, except where the sum over the classes needs each of them.
    """
    z = r"\tilde{z}" if options.softcap is not None else "z"
    lse = rf"\ln \sum_k e^{{{z}_{{ik}}}}"
    parts = [_of_smoothed(options, lse, weighted) if options.label_smoothing else _of_pick(options, lse)]
    parts.append(rf"s_{{ih}} = {z}_{{ih}} - {lse}")
    if options.label_smoothing:
        e = options.label_smoothing
        parts.append(rf"\tilde{{q}}_{{ih}} = {1 - e:g}\, t_{{ih}} + {e:g} / H")
    elif weighted:
        parts.append(weighted_reduction(options))
    if options.softcap is not None:
        parts.append(rf"\tilde{{z}}_{{ih}} = {options.softcap:g} \tanh(z_{{ih}} / {options.softcap:g})")
    return r", \quad ".join(parts)


def _of_pick(options: CategoricalOptions, lse: str) -> str:
    focal = rf"(1 - \hat{{y}}_{{i,y_i}})^{{{options.focal_gamma:g}}} " if options.focal_gamma else ""
    return rf"\ell_i = -{focal}s_{{i,y_i}}{_z_loss(options, lse)}"


def _of_smoothed(options: CategoricalOptions, lse: str, weighted: bool) -> str:
    weight = "w_h " if weighted else ""
    if not options.z_loss:
        return rf"\ell_i = -\sum_h {weight}\tilde{{q}}_{{ih}} s_{{ih}}"
    return rf"\ell_i = \sum_h {weight}\tilde{{q}}_{{ih}} \left(-s_{{ih}}{_z_loss(options, lse)}\right)"


def _z_loss(options: CategoricalOptions, lse: str) -> str:
    return rf" + {options.z_loss:g} \left({lse}\right)^2" if options.z_loss else ""


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
    return r", \quad ".join(parts)
