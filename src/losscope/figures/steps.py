"""One sample as bars: from the raw outputs to its loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from losscope.errors import InputError, describe
from losscope.figures.numbers import number
from losscope.figures.style import BLUE, GREY, VERMILLION, faded, figure, table, text
from losscope.links import softmax
from losscope.losses import cross_entropy
from losscope.targets import one_hot, smooth

MOST_BARS = 12


def steps_of_sample(
    z: Tensor, y: int, *, class_names: Sequence[str] | None = None, gamma: float = 0.0, epsilon: float = 0.0
) -> go.Figure:
    """The way of one sample: z, e^(z−m), ŷ and −ln ŷ, of which ℓ is the bar of the truth.

    With label smoothing ℓ takes a part of every bar, q_h of it.

    Args:
        z: raw outputs (H,).
        y: the true class.
        class_names: H names.
        gamma: γ of a focal loss, whose bars are (1 − ŷ)^γ (−ln ŷ).
        epsilon: ε of label smoothing.

    Raises:
        InputError: z has more than one dimension, or y is no class of it.

    Example:
        >>> figure = steps_of_sample(torch.tensor([0.0, 5.0]), 1)
        >>> [round(float(value), 4) for value in figure.data[2].y]
        [0.0067, 0.9933]
    """
    if z.ndim != 1 or not 0 <= y < len(z):
        raise InputError("steps_of_sample", "z of shape (H,) and y in 0…H−1", f"{describe(z)}, {y}", "give one sample")
    z = z.detach().double()
    shown = _shown(z, y)
    names = [str(h) if class_names is None else class_names[h] for h in shown]
    last = "(1 − ŷ)^γ (−ln ŷ)" if gamma else "−ln ŷ"
    panels = {
        "z": z[shown],
        "e^(z − m)": (z - z.max()).exp()[shown],
        "ŷ": softmax(z)[shown],
        last: _of_each(z, shown, gamma),
    }
    rows = [[name, *(float(f"{float(v[k]):.4g}") for v in panels.values())] for k, name in enumerate(names)]
    loss = float(cross_entropy(z, torch.tensor(y), focal_gamma=gamma, label_smoothing=epsilon))
    title = "(1 − ŷ)<sup>γ</sup> (−ln ŷ) (nats)" if gamma else "−ln ŷ (nats)"
    result = make_subplots(rows=2, cols=2, subplot_titles=["z (logit)", "e<sup>z−m</sup>", "ŷ (probability)", title])
    place = [(1, 1), (1, 2), (2, 1), (2, 2)]
    other = faded(GREY, 0.55)
    for (name, values), (row, column) in zip(panels.items(), place, strict=True):
        truth = VERMILLION if name == last else BLUE
        result.add_bar(
            x=np.arange(len(shown)),
            y=values.numpy(),
            marker={"color": [truth if h == y and not (epsilon and name == last) else other for h in shown]},
            customdata=[text(n, 80) for n in names],
            hovertemplate=f"%{{customdata}}<br>{name} %{{y:.4g}}<extra></extra>",
            showlegend=False,
            row=row,
            col=column,
        )
    if epsilon:
        q = smooth(one_hot(torch.tensor(y), len(z), dtype=z.dtype), epsilon)[shown]
        parts = (q * panels[last]).numpy()
        result.add_bar(x=np.arange(len(shown)), y=parts, marker_color=VERMILLION, showlegend=False, row=2, col=2)
    taken = (
        f"ℓ takes the coloured part of every bar in the last panel, q_h of it: {number(loss)} nats together."
        if epsilon
        else f"ℓ is the bar of the truth ('{names[shown.index(y)]}') in the last panel: {number(loss)} nats."
    )
    base = figure(
        f"From z to ℓ = {number(loss)} nats",
        f"The raw outputs, their exponentials with the largest taken out, the probabilities, and {last} of them. "
        f"{taken}",
        table(["output", *panels], rows),
        x="",
        y="",
        height=520,
    )
    look = base.layout.to_plotly_json()
    result.update_layout({key: value for key, value in look.items() if key not in ("xaxis", "yaxis")})
    grid = {"gridcolor": "rgba(128,134,142,0.28)", "zeroline": True, "zerolinecolor": GREY, "automargin": True}
    result.update_yaxes(grid)
    result.update_xaxes(tickvals=np.arange(len(shown)), ticktext=[text(n, 10) for n in names], showgrid=False)
    result.update_layout(barmode="overlay", bargap=0.25, margin_t=96)
    return result


def _of_each(z: Tensor, shown: list[int], gamma: float) -> Tensor:
    """The loss that each of these outputs would cost if it were the true one."""
    return cross_entropy(z.expand(len(shown), -1), torch.tensor(shown), reduction="none", focal_gamma=gamma)


def _shown(z: Tensor, y: int) -> list[int]:
    """All outputs where they fit, else the true one and the largest, in the order of h."""
    largest = z.topk(min(MOST_BARS, len(z))).indices.tolist()
    return sorted(list(dict.fromkeys([y, *largest]))[:MOST_BARS])
