"""Curves over one variable, every number from losscope's own functions: the common part of the formulas' figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor

from losscope.figures.style import DASHES, PALETTE, figure, line, table

POINTS = 241
ROWS = 13  # of a curve's table


def over(low: float, high: float) -> Tensor:
    """So many points from low to high, both included, float64."""
    return torch.linspace(low, high, POINTS, dtype=torch.float64)


def curves(
    title: str,
    description: str,
    at: Tensor,
    values: Mapping[str, Tensor],
    *,
    x: str,
    y: str,
    **layout: Any,
) -> go.Figure:
    """One line for each of the values, told apart by colour and by dash.

    Args:
        title: of the figure.
        description: what it shows, in words.
        at: the variable, (P,).
        values: name to the numbers at these points, (P,).
        x: title of the x axis, with its unit.
        y: title of the y axis, with its unit.
        layout: what else the layout has.
    """
    some = range(0, len(at), max(1, (len(at) - 1) // (ROWS - 1)))
    rows = [[_rounded(at[k]), *(_rounded(v[k]) for v in values.values())] for k in some]
    result = figure(title, description, table([x, *values], rows), x=x, y=y, **layout)
    for k, (name, numbers) in enumerate(values.items()):
        result.add_scatter(
            x=at.numpy(),
            y=numbers.detach().numpy(),
            mode="lines",
            line=line(PALETTE[k % len(PALETTE)], DASHES[k % len(DASHES)]),
            name=name,
            hovertemplate=f"%{{x:.3g}}: %{{y:.3g}}<extra>{name}</extra>",
        )
    return result


def beside(z: Tensor, others: Sequence[float]) -> Tensor:
    """Rows of raw outputs, (P, 1 + O): the first moves along z, the others stay."""
    return torch.cat([z.unsqueeze(1), torch.tensor(others, dtype=z.dtype).expand(len(z), -1)], 1)


def with_options(gamma: float, epsilon: float) -> str:
    """The options of a loss in words, where it has any.

    Example:
        >>> with_options(0.0, 0.1), with_options(0.0, 0.0)
        (', with ε = 0.1', '')
    """
    options = [f"{name} = {value:g}" for name, value in (("γ", gamma), ("ε", epsilon)) if value]
    return f", with {' and '.join(options)}" if options else ""


def listed(values: Sequence[float]) -> str:
    """Numbers in words.

    Example:
        >>> listed([2.5, -0.5])
        '2.5 and −0.5'
    """
    return " and ".join(f"{value:.3g}".replace("-", "−") for value in values)


def slope(of: Tensor, by: Tensor) -> Tensor:
    """The derivative of each number by its own variable, from autograd."""
    return torch.autograd.grad(of.sum(), by)[0]


def _rounded(value: Tensor) -> float:
    return float(f"{float(value):.4g}")
