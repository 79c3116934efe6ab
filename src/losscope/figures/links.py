"""From z to ŷ: the sigmoid, and the softmax over two and over three outputs."""

from __future__ import annotations

import plotly.graph_objects as go
import torch

from losscope.figures.curves import curves, over
from losscope.figures.style import BLUE, GREY, VERMILLION, faded, figure, line, table
from losscope.links import sigmoid, softmax
from losscope.losses import cross_entropy

Z = "z (logit)"
POINTS = 81  # of the map, to each side


def sigmoid_link() -> go.Figure:
    """The sigmoid over z, and 1 − ŷ beside it.

    Example:
        >>> [trace.name for trace in sigmoid_link().data]
        ['ŷ = σ(z)', '1 − ŷ = σ(−z)']
    """
    z = over(-8, 8)
    return curves(
        "The sigmoid: one raw output, one probability",
        "ŷ = 1/(1 + e^−z) rises from 0 to 1 and is 1/2 at z = 0. It is the softmax of (0, z), and 1 − ŷ = σ(−z).",
        z,
        {"ŷ = σ(z)": sigmoid(z), "1 − ŷ = σ(−z)": sigmoid(-z)},
        x=Z,
        y="ŷ (probability)",
        yaxis_range=[-0.02, 1.02],
    )


def softmax_link(others: tuple[float, ...] = (0.0, 1.0)) -> go.Figure:
    """The softmax while one of its raw outputs moves and the others stay.

    Args:
        others: the raw outputs that stay.

    Example:
        >>> len(softmax_link((0.0, 1.0, 2.0)).data)
        4
    """
    z = over(-8, 8)
    stay = torch.tensor(others, dtype=z.dtype).expand(len(z), -1)
    y = softmax(torch.cat([z.unsqueeze(1), stay], 1), 1)
    names = ["ŷ of the one that moves", *(f"ŷ where z stays at {value:g}" for value in others)]
    return curves(
        "The softmax: each output takes from the others",
        f"Of {1 + len(others)} outputs one moves. Where its z grows its ŷ goes to 1 and all others go to 0; the sum is "
        f"always 1.",
        z,
        dict(zip(names, y.T, strict=True)),
        x="z of the output that moves (logit)",
        y="ŷ (probability)",
        yaxis_range=[-0.02, 1.02],
    )


def softmax_map(y: int = 1, reach: float = 5.0) -> go.Figure:
    """The softmax over the plane of two raw outputs, with the cross-entropy as contours.

    Args:
        y: which of the two is true, 0 or 1.
        reach: how far z goes to each side.

    Example:
        >>> [trace.type for trace in softmax_map().data]
        ['heatmap', 'contour', 'scatter']
    """
    axis = torch.linspace(-reach, reach, POINTS, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis).reshape(POINTS, POINTS, 2).transpose(0, 1)  # rows: the second output
    target = torch.full((POINTS * POINTS,), y)
    estimate = softmax(z, -1)[..., y]
    loss = cross_entropy(z.reshape(-1, 2), target, reduction="none").reshape(POINTS, POINTS)
    some = range(0, POINTS, 20)
    rows = [[f"{float(axis[k]):g}", *(float(f"{float(loss[k, j]):.3g}") for j in some)] for k in some]
    result = figure(
        "Two outputs as a map: only their difference counts",
        f"The colour is ŷ_{y} and the contours are ℓ in nats for y = {y}. Both are the same along every diagonal: "
        f"adding one number to both outputs changes nothing. On the dashed line both are equal and ℓ = ln 2.",
        table(["ℓ at z_1 \\ z_0", *(f"{float(axis[j]):g}" for j in some)], rows),
        x="z_0 (logit)",
        y="z_1 (logit)",
        height=480,
        xaxis_range=[-reach, reach],
        yaxis_range=[-reach, reach],
    )
    result.add_heatmap(
        x=axis.numpy(),
        y=axis.numpy(),
        z=estimate.numpy(),
        colorscale=[[0, faded(VERMILLION, 0.6)], [0.5, "rgba(128,134,142,0.08)"], [1, faded(BLUE, 0.6)]],
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": f"ŷ_{y}"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate="z_0 %{x:.2f}<br>z_1 %{y:.2f}<br>ŷ %{z:.3f}<extra></extra>",
    )
    result.add_contour(
        x=axis.numpy(),
        y=axis.numpy(),
        z=loss.numpy(),
        contours={"coloring": "lines", "start": 1, "end": 9, "size": 1, "showlabels": True},
        colorscale=[[0, GREY], [1, GREY]],
        showscale=False,
        line={"width": 1.5},
        name="ℓ (nats)",
        hoverinfo="skip",
    )
    result.add_scatter(
        x=[-reach, reach],
        y=[-reach, reach],
        mode="lines",
        line=line(GREY, "dash", 1.5),
        name="z_0 = z_1: ℓ = ln 2",
        hoverinfo="skip",
    )
    return result
