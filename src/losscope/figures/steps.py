"""One sample as bars: from the raw outputs to its loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from losscope.errors import InputError, describe
from losscope.figures.numbers import number
from losscope.figures.style import BLUE, GREY, VERMILLION, faded, figure, table, text
from losscope.links import log_softmax, softmax

MOST_BARS = 12


def steps_of_sample(z: Tensor, y: int, *, class_names: Sequence[str] | None = None) -> go.Figure:
    """The way of one sample: z, e^(z−m), ŷ and −ln ŷ, of which ℓ is the bar of the truth.

    Args:
        z: raw outputs (H,).
        y: the true class.
        class_names: H names.

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
    panels = {
        "z": z[shown],
        "e^(z − m)": (z - z.max()).exp()[shown],
        "ŷ": softmax(z)[shown],
        "−ln ŷ": -log_softmax(z)[shown],
    }
    rows = [[name, *(float(f"{float(v[k]):.4g}") for v in panels.values())] for k, name in enumerate(names)]
    loss = float(-log_softmax(z)[y])
    result = make_subplots(
        rows=2, cols=2, subplot_titles=["z (logit)", "e<sup>z−m</sup>", "ŷ (probability)", "−ln ŷ (nats)"]
    )
    place = [(1, 1), (1, 2), (2, 1), (2, 2)]
    colors = [BLUE if h == y else faded(GREY, 0.55) for h in shown]
    for (name, values), (row, column) in zip(panels.items(), place, strict=True):
        last = name == "−ln ŷ"
        result.add_bar(
            x=np.arange(len(shown)),
            y=values.numpy(),
            marker={
                "color": [VERMILLION if c == BLUE else c for c in colors] if last else colors,
                "line": {"width": 0},
            },
            customdata=[text(n, 80) for n in names],
            hovertemplate=f"%{{customdata}}<br>{name} %{{y:.4g}}<extra></extra>",
            showlegend=False,
            row=row,
            col=column,
        )
    base = figure(
        f"From z to ℓ = {number(loss)} nats",
        f"The raw outputs, their exponentials with the largest taken out, the probabilities, and −ln of them. ℓ is the "
        f"bar of the truth ('{names[shown.index(y)]}') in the last panel: {number(loss)} nats.",
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
    result.update_layout(bargap=0.25, margin_t=96)
    return result


def _shown(z: Tensor, y: int) -> list[int]:
    """All outputs where they fit, else the true one and the largest, in the order of h."""
    largest = z.topk(min(MOST_BARS, len(z))).indices.tolist()
    return sorted(list(dict.fromkeys([y, *largest]))[:MOST_BARS])
