"""From logits to ŷ: the maximum taken out, the exponentials, their sum, and the log-probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from losscope.explain.check import largest
from losscope.explain.step import Trail
from losscope.kernels import naive
from losscope.kernels.reference import softcap


def logits(at: Trail, z: Tensor, cap: float | None, dtype: torch.dtype) -> str:
    """z, and z̃ where there is a softcap; the symbol to go on with comes back."""
    computed = "" if z.dtype == dtype else f" It came as {dtype_name(dtype)} and is computed in {dtype_name(z.dtype)}."
    at.add("z", "logit", "z_{ih}", "z_ih", z, f"The raw output of the last linear layer: any number.{computed}", "ih")
    if cap is None:
        return "z"
    at.add(
        "z̃",
        "softcapped logit",
        rf"\tilde{{z}}_{{ih}} = {cap:g} \tanh(z_{{ih}} / {cap:g})",
        f"z̃_ih = {cap:g} tanh(z_ih / {cap:g})",
        softcap(z, cap),
        f"No logit goes beyond ±{cap:g}, and small ones hardly change; −inf stays −inf.",
        "ih",
    )
    return "z̃"


def softmax(at: Trail, zed: str) -> None:
    """The stable softmax of the logits ``zed`` and its logarithm."""
    z, tex = at[zed], r"\tilde{z}" if zed == "z̃" else "z"
    m = at.add(
        "m",
        "largest logit",
        rf"m_i = \max_h {tex}_{{ih}}",
        f"m_i = max_h {zed}_ih",
        z.amax(1),
        "It is taken out of every exponential, so that none can overflow; in s and ŷ it cancels.",
        "i",
    ).unsqueeze(1)
    e = at.add(
        "exp(z−m)",
        "exponential",
        rf"e^{{{tex}_{{ih}} - m_i}}",
        f"exp({zed}_ih − m_i)",
        (z - m).exp(),
        "The largest is e^0 = 1; what is far below it goes to 0, which does no harm.",
        "ih",
    )
    total = at.add(
        "Σ exp(z−m)",
        "sum of exponentials",
        rf"\sum_h e^{{{tex}_{{ih}} - m_i}}",
        f"Σ_h exp({zed}_ih − m_i)",
        e.sum(1),
        f"Between 1 and H = {z.shape[1]:,}: close to 1 when a single class stands out.",
        "i",
    ).unsqueeze(1)
    at.add(
        "lse",
        "logsumexp",
        rf"\mathrm{{lse}}_i = m_i + \ln \sum_h e^{{{tex}_{{ih}} - m_i}}",
        f"lse_i = m_i + ln Σ_h exp({zed}_ih − m_i)",
        (m + total.log()).squeeze(1),
        f"A smooth maximum: never below the largest logit, and at most ln H = {_ln(z.shape[1])} above it.",
        "i",
    )
    at.add(
        "s",
        "log-probability",
        rf"s_{{ih}} = {tex}_{{ih}} - \mathrm{{lse}}_i"
        rf" = ({tex}_{{ih}} - m_i) - \ln \sum_k e^{{{tex}_{{ik}} - m_i}}",
        f"s_ih = {zed}_ih − lse_i = ({zed}_ih − m_i) − ln Σ_k exp({zed}_ik − m_i)",
        (z - m) - total.log(),
        "In nats, never above 0: the third form of log-softmax, exact however large the logits are.",
        "ih",
    )
    at.add(
        "ŷ",
        "estimated probability",
        rf"\hat{{y}}_{{ih}} = e^{{s_{{ih}}}} = \frac{{e^{{{tex}_{{ih}} - m_i}}}}{{\sum_k e^{{{tex}_{{ik}} - m_i}}}}",
        f"ŷ_ih = exp(s_ih) = exp({zed}_ih − m_i) / Σ_k exp({zed}_ik − m_i)",
        e / total,
        "The softmax: each row sums to one.",
        "ih",
    )


def paper_forms(at: Trail, zed: str) -> list[str]:
    """What the formulas without the maximum taken out give for the same logits."""
    z = at[zed]
    forms = {
        "softmax as exp(z) / Σ exp(z)": (naive.softmax(z, 1), at["ŷ"]),
        "logsumexp as ln Σ exp(z)": (naive.logsumexp(z, 1), at["lse"]),
        "log-softmax, first form ln(softmax(z))": (naive.log_softmax_of_softmax(z, 1), at["s"]),
        "log-softmax, second form z − ln Σ exp(z)": (naive.log_softmax_of_sum(z, 1), at["s"]),
    }
    return [compared(name, *pair) for name, pair in forms.items()]


def compared(name: str, on_paper: Tensor, stable: Tensor) -> str:
    """Where a formula as it stands on paper breaks, or how far it is from the stable form."""
    far = (on_paper - stable).abs()
    broken = None if not far.numel() or bool(far.max().isfinite()) else ~on_paper.isfinite() & stable.isfinite()
    if broken is None or not bool(broken.any()):
        most = largest(far)
        return f"{name}: holds here, {f'within {most:.0e} of' if most else 'equal to'} the stable form."
    place = [int(p) for p in broken.nonzero()[0]]
    where = ", ".join(f"{axis} = {p}" for axis, p in zip("ih", place, strict=False))
    came, right = float(on_paper[tuple(place)]), float(stable[tuple(place)])
    count = f"{int(broken.sum()):,} of {broken.numel():,}"
    return f"{name}: breaks here in {count}, first at {where}: {came:g} in place of {right:.6g}."


def _ln(n: int) -> str:
    return f"{torch.tensor(float(n)).log().item():.4f}"


def dtype_name(dtype: torch.dtype) -> str:
    """The dtype without its module."""
    return str(dtype).removeprefix("torch.")
