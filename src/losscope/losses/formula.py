"""Formulas in LaTeX that follow the options."""

from __future__ import annotations

from losscope.kernels.options import BinaryOptions, CategoricalOptions


def categorical_formula(options: CategoricalOptions, weighted: bool) -> str:
    """ℓ_i in LaTeX, with the options that are on; smoothing turns the pick into a sum over the classes."""
    h = "ih" if options.label_smoothing else "i,y_i"
    z = r"\tilde{z}" if options.softcap is not None else "z"
    lse = rf"\ln \sum_k e^{{{z}_{{ik}}}}"
    focal = rf"(1 - \hat{{y}}_{{{h}}})^{{{options.focal_gamma:g}}} " if options.focal_gamma else ""
    term = rf"-{focal}s_{{{h}}}"
    if options.z_loss:
        term += rf" + {options.z_loss:g} \left({lse}\right)^2"
    weight = "" if not weighted else "w_h " if options.label_smoothing else "w_{y_i} "
    target = r"\tilde{q}_{ih} " if options.label_smoothing else ""
    if (weight or target) and options.z_loss:
        term = rf"\left({term}\right)"
    elif weight or target:
        weight, term = f"-{weight}{target}", term.removeprefix("-")
        target = ""
    total = rf"{weight}{target}{term}"
    parts = [rf"\ell_i = \sum_h {total}" if options.label_smoothing else rf"\ell_i = {total}"]
    parts.append(rf"s_{{ih}} = {z}_{{ih}} - {lse}")
    if options.label_smoothing:
        e = options.label_smoothing
        parts.append(rf"\tilde{{q}}_{{ih}} = {1 - e:g}\, t_{{ih}} + {e:g} / H")
    if options.softcap is not None:
        parts.append(rf"\tilde{{z}}_{{ih}} = {options.softcap:g} \tanh(z_{{ih}} / {options.softcap:g})")
    return r", \quad ".join(parts)


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
