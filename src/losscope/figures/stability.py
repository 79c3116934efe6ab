"""Where the formulas of paper break in floating point."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import torch

from losscope.figures.style import BLUE, GREEN, VERMILLION, figure, line, table
from losscope.kernels import naive
from losscope.links import log_softmax


def log_softmax_three_ways(dtype: torch.dtype = torch.float32, reach: float = 150.0) -> go.Figure:
    """Log-softmax of (0, z) at its first output: the two naive forms beside the stable one.

    Args:
        dtype: in which all three are computed.
        reach: how far z goes to each side.

    Example:
        >>> figure = log_softmax_three_ways()
        >>> [trace.name.split(",")[0] for trace in figure.data]
        ['z_h − m − ln Σ e^(z − m)', 'z_h − ln Σ e^z', 'ln(softmax z)']
    """
    z = torch.linspace(-reach, reach, 301, dtype=torch.float64).to(dtype)
    pair = torch.stack([torch.zeros_like(z), z], 1)
    forms = {
        "z_h − m − ln Σ e^(z − m), the third form": (log_softmax(pair, 1)[:, 0], BLUE, "solid", 3.0),
        "z_h − ln Σ e^z, the second": (naive.log_softmax_of_sum(pair, 1)[:, 0], VERMILLION, "dash", 5.0),
        "ln(softmax z), the first": (naive.log_softmax_of_softmax(pair, 1)[:, 0], GREEN, "dot", 8.0),
    }
    name_of = str(dtype).removeprefix("torch.")
    breaks = largest_exponent(dtype)
    rows = [[float(z[k]), *(_said(float(values[k])) for values, *_ in forms.values())] for k in range(0, 301, 25)]
    result = figure(
        "Log-softmax three ways: only one survives",
        f"ln ŷ of the first of two outputs (0, z) in {name_of}. Above z = {breaks:.1f} e^z is larger than every "
        f"{name_of} number: the two naive forms are −∞ or NaN from there on, and their lines end. The third form holds "
        f"everywhere.",
        table(["z", *(name for name in forms)], rows),
        x="z of the second output (logit)",
        y="ln ŷ of the first (nats)",
        height=400,
    )
    for name, (values, color, dash, width) in reversed(forms.items()):
        result.add_scatter(
            x=z.double().numpy(),
            y=torch.where(values.isfinite(), values, torch.nan).double().numpy(),
            mode="lines",
            line=line(color, dash, width),
            name=name,
            hovertemplate="z %{x:.0f}: %{y:.4g} nats<extra></extra>",
        )
    result.data = result.data[::-1]
    result.add_vline(breaks, line=line("#7a7f87", "longdash", 1.5))
    return result


def largest_exponent(dtype: torch.dtype) -> float:
    """The z from which on e^z is larger than every number of this type.

    Example:
        >>> round(largest_exponent(torch.float32), 1), round(largest_exponent(torch.float16), 1)
        (88.7, 11.1)
    """
    return math.log(torch.finfo(dtype).max)


def _said(value: float) -> float | str:
    return float(f"{value:.4g}") if abs(value) < float("inf") else str(value)
