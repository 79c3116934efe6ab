"""From z to ŷ: the sigmoid, and the softmax over two and over three outputs."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import torch

from losscope.figures.curves import beside, curves, listed, over, with_options
from losscope.figures.style import BLUE, GREY, VERMILLION, faded, figure, line, table
from losscope.links import sigmoid, softmax
from losscope.losses import cross_entropy

Z = "z (logit)"
POINTS = 81  # of the map, to each side


def sigmoid_link(reach: float = 8.0) -> go.Figure:
    """The sigmoid over z, and 1 − ŷ beside it.

    Args:
        reach: how far z goes to each side.

    Example:
        >>> [trace.name for trace in sigmoid_link().data]
        ['ŷ = σ(z)', '1 − ŷ = σ(−z)']
    """
    z = over(-reach, reach)
    return curves(
        "The sigmoid: one raw output, one probability",
        "ŷ = 1/(1 + e^−z) rises from 0 to 1 and is 1/2 at z = 0. It is the softmax of (0, z), and 1 − ŷ = σ(−z).",
        z,
        {"ŷ = σ(z)": sigmoid(z), "1 − ŷ = σ(−z)": sigmoid(-z)},
        x=Z,
        y="ŷ (probability)",
        yaxis_range=[-0.02, 1.02],
    )


def softmax_link(others: Sequence[float] = (0.0, 1.0), reach: float = 8.0) -> go.Figure:
    """The softmax while one of its raw outputs moves and the others stay.

    Args:
        others: the raw outputs that stay.
        reach: how far z goes to each side.

    Example:
        >>> len(softmax_link((0.0, 1.0, 2.0)).data)
        4
    """
    z = over(-reach, reach)
    y = softmax(beside(z, others), 1)
    names = ["ŷ of the one that moves", *(f"ŷ where z stays at {listed([value])}" for value in others)]
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


def softmax_map(
    y: int = 1, reach: float = 5.0, others: Sequence[float] = (), *, gamma: float = 0.0, epsilon: float = 0.0
) -> go.Figure:
    """The softmax over the plane of its first two raw outputs, with the cross-entropy as contours.

    Args:
        y: the true output.
        reach: how far z goes to each side.
        others: the raw outputs after the first two, which stay.
        gamma: γ of a focal loss.
        epsilon: ε of label smoothing.

    Example:
        >>> [trace.type for trace in softmax_map().data]
        ['heatmap', 'contour', 'scatter']
    """
    axis = torch.linspace(-reach, reach, POINTS, dtype=torch.float64)
    plane = torch.cartesian_prod(axis, axis).reshape(POINTS, POINTS, 2).transpose(0, 1)  # rows: the second output
    z = torch.cat([plane, torch.tensor(others, dtype=axis.dtype).expand(POINTS, POINTS, -1)], 2)
    estimate = softmax(z, -1)[..., y]
    target = torch.full((POINTS * POINTS,), y)
    each = cross_entropy(z.flatten(0, 1), target, reduction="none", focal_gamma=gamma, label_smoothing=epsilon)
    loss = each.reshape(POINTS, POINTS)
    some = range(0, POINTS, 20)
    rows = [[f"{float(axis[k]):g}", *(float(f"{float(loss[k, j]):.3g}") for j in some)] for k in some]
    colours = f"The colour is ŷ_{y} and the contours are ℓ in nats for y = {y}{with_options(gamma, epsilon)}."
    diagonals = (
        " Both are the same along every diagonal: adding one number to both outputs changes nothing. On the dashed "
        "line both are equal and ŷ = 1/2."
    )
    stay = f" The other outputs stay at {listed(others)}."
    result = figure(
        "Two outputs as a map" if others else "Two outputs as a map: only their difference counts",
        colours + (stay if others else diagonals),
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
    step = max(1, round(reach / 5))
    result.add_contour(
        x=axis.numpy(),
        y=axis.numpy(),
        z=loss.numpy(),
        contours={"coloring": "lines", "start": step, "end": 9 * step, "size": step, "showlabels": True},
        colorscale=[[0, GREY], [1, GREY]],
        showscale=False,
        line={"width": 1.5},
        name="ℓ (nats)",
        hoverinfo="skip",
    )
    if not others:
        result.add_scatter(
            x=[-reach, reach],
            y=[-reach, reach],
            mode="lines",
            line=line(GREY, "dash", 1.5),
            name="z_0 = z_1: ŷ = 1/2",
            hoverinfo="skip",
        )
    return result
