r"""The one notation, as data: what every formula, plot, page and error text calls things.

Example:
    >>> NOTATION["ŷ"].name
    'estimated probability'
    >>> NOTATION["ŷ"].latex
    '\\hat{y}_{ih}'
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol: how it is written, what it is called, its meaning and its shape."""

    text: str
    latex: str
    name: str
    meaning: str
    shape: str = ""


_SYMBOLS = {
    "i": Symbol("i", r"i", "sample", "i = 1…N (0-based in code)"),
    "h": Symbol("h", r"h", "output node", "h = 1…H: a class, or a label"),
    "c": Symbol("c_h", r"c_h", "category", "the category assigned to output h"),
    "z": Symbol("z_ih", r"z_{ih}", "logit", "raw output of the last linear layer", "(N, H)"),
    "ŷ": Symbol(
        "ŷ_ih",
        r"\hat{y}_{ih}",
        "estimated probability",
        "softmax_h(z_i) where one of H is true, sigmoid(z_ih) where each is on its own",
        "(N, H)",
    ),
    "s": Symbol("s_ih", r"s_{ih}", "log-probability", "s_ih = ln ŷ_ih", "(N, H)"),
    "y": Symbol("y_i", r"y_i", "target index", "the true class, y_i ∈ {0…H−1}", "(N,)"),
    "t": Symbol("t_ih", r"t_{ih}", "one-hot target", "the same target: t_ih ∈ {0,1}, Σ_h t_ih = 1", "(N, H)"),
    "q": Symbol("q_ih", r"q_{ih}", "soft target", "a distribution: q_ih ≥ 0, Σ_h q_ih = 1", "(N, H)"),
    "m": Symbol("m_ih", r"m_{ih}", "multi-hot target", "m_ih ∈ {0,1}, no constraint on the sum", "(N, H)"),
    "v": Symbol("v_i", r"v_i", "validity", "1 where the target counts, 0 where it is ignored", "(N,)"),
    "w": Symbol("w_h", r"w_h", "class weight", "weight of category h", "(H,)"),
    "ℓ": Symbol(
        "ℓ_i",
        r"\ell_i",
        "loss of one sample",
        "cross-entropy ℓ_i = −s_{i,y_i}, in nats; with class weights ℓ_i = −w_{y_i} s_{i,y_i}",
        "(N,)",
    ),
    "ℓh": Symbol(
        "ℓ_ih",
        r"\ell_{ih}",
        "loss of one label",
        "binary cross-entropy ℓ_ih = −m_ih ln ŷ_ih − (1−m_ih) ln(1−ŷ_ih), in nats; with weights times w_ih",
        "(N, H)",
    ),
    "L": Symbol("L", r"L_\mathrm{mean}", "reduced loss", "L_mean = Σ v_i ℓ_i / Σ v_i w_{y_i}", "scalar"),
    "d": Symbol(
        "d_i",
        r"d_i",
        "decision",
        "d_i = argmax_h z_ih; d_ih = [z_ih > 0] where labels are independent",
        "(N,)",
    ),
}

NOTATION = MappingProxyType(_SYMBOLS)
