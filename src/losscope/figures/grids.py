"""Targets as grids: one row for each sample, one column for each output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from losscope.errors import InputError, describe
from losscope.figures.numbers import number
from losscope.figures.style import BLUE, GREY, faded, figure, table, text
from losscope.targets import TargetKind, one_hot, recognise

MOST_ROWS, MOST_COLUMNS = 20, 30
_SAYS = {
    TargetKind.ONE_HOT: "one-hot: every row has a single 1, so an index says the same",
    TargetKind.SOFT: "soft: every row is a distribution and sums to one",
    TargetKind.MULTI_HOT: "multi-hot: each label is true on its own, a row may have many or none",
    TargetKind.VALUE: "values: neither 0 or 1 nor a distribution",
}


def target_grid(
    target: Tensor, num_classes: int | None = None, *, class_names: Sequence[str] | None = None
) -> go.Figure:
    """A target as the grid that the loss sees; an index is shown as its one-hot.

    Args:
        target: indices (N,), or one-hot, soft or multi-hot targets (N, H).
        num_classes: H, for indices.
        class_names: H names.

    Raises:
        InputError: it is neither, or H is missing.

    Example:
        >>> target_grid(torch.tensor([1, 0, 2]), 3).data[0].z.tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if target.ndim == 1 and num_classes is not None:
        target = one_hot(target, num_classes)
    if target.ndim != 2:
        fix = "give indices with num_classes, or a target with one column for each output"
        raise InputError("target_grid", "(N,) with num_classes, or (N, H)", describe(target), fix)
    kind = recognise(target, target)
    grid = target[:MOST_ROWS, :MOST_COLUMNS].double().numpy()
    names = [str(h) if class_names is None else class_names[h] for h in range(grid.shape[1])]
    part = f" Shown are {grid.shape[0]} × {grid.shape[1]} of {target.shape[0]:,} × {target.shape[1]:,}."
    result = figure(
        f"The target as a grid: {kind.value}",
        f"{_SAYS[kind][0].upper()}{_SAYS[kind][1:]}.{part if grid.size < target.numel() else ''}",
        table(["sample", *names], [[i, *(float(f"{v:.4g}") for v in row)] for i, row in enumerate(grid)]),
        x="output h",
        y="sample i",
        height=140 + 30 * max(4, len(grid)),
        xaxis={"tickvals": np.arange(len(names)), "ticktext": [text(n, 12) for n in names], "showgrid": False},
        yaxis={"autorange": "reversed", "dtick": 1, "showgrid": False},
    )
    result.add_heatmap(
        z=grid,
        zmin=0,
        zmax=1,
        colorscale=[[0, faded(GREY, 0.12)], [1, faded(BLUE, 0.75)]],
        showscale=False,
        xgap=2,
        ygap=2,
        text=[[number(float(v)) for v in row] for row in grid],
        texttemplate="%{text}",
        hovertemplate="sample %{y}, output %{x}: %{z:.3g}<extra></extra>",
    )
    return result
