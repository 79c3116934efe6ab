"""Values instead of classes, and the logarithm where ratios matter."""

from __future__ import annotations

from typing import Any

import marimo as mo
import torch
from torch import Tensor

from losscope.figures.curves import curves
from losscope.learn import page
from losscope.losses import mean_squared_log_error, mse_loss

TITLE = "Regression, and values of high dynamic range"


def controls() -> mo.ui.dictionary:
    """Two true values, and how far off both estimates are."""
    return mo.ui.dictionary(
        {
            "log₁₀ y₀": page.amount("log₁₀ y₀", -1, 4, 0.5, 0),
            "log₁₀ y₁": page.amount("log₁₀ y₁", -1, 4, 0.5, 3),
            "ratio": page.amount("estimate ÷ truth", 0.2, 3.0, 0.05, 1.5),
        }
    )


def view(v: dict[str, Any]) -> page.View:
    """The same relative error on both values, under both losses."""
    y = 10 ** torch.tensor([v["log₁₀ y₀"], v["log₁₀ y₁"]], dtype=torch.float64)
    estimate = y * v["ratio"]
    squared = mse_loss(estimate, y, reduction="none")
    relative = mean_squared_log_error(estimate.log(), y, reduction="none")
    numbers: dict[str, page.Number] = {
        "y": y,
        "ŷ": estimate,
        "squared error": squared,
        "its share of the sum": squared / squared.sum().clamp(min=1e-300),
        "squared log error (nats²)": relative,
        "its share of the sum ": relative / relative.sum().clamp(min=1e-300),
    }
    body = page.stack(
        page.formula(r"\ell = (z - y)^2, \quad \ell = (z - \ln y)^2 \;\text{ with }\; \hat{y} = e^z"),
        page.words(
            "Squared error weighs absolute errors, so the largest values decide everything. When what matters is "
            "the ratio, let the network predict the logarithm, and compare there: equal ratios then cost the same, "
            "whatever the size of the value."
        ),
        page.readout(numbers),
        page.picture(_figure(v["ratio"])),
        page.code("ls.mse_loss(z, y)  # z is the value\nls.mean_squared_log_error(z, y)  # z is the value's logarithm"),
    )
    return page.View(numbers, body)


def _figure(ratio: float) -> Any:
    r = torch.linspace(0.2, 3, 241, dtype=torch.float64)
    one = torch.ones_like(r)
    log_error = _relative(r)
    result = curves(
        "The error over the ratio of estimate and truth",
        "For a truth of 1. The squared logarithm treats twice and half alike; the squared error finds half cheaper, "
        "and it would grow with the square of the truth, while the curve of the logarithm stays the same.",
        r,
        {"squared log error (ln r)²": log_error, "squared error (r − 1)²": mse_loss(r, one, reduction="none")},
        x="estimate ÷ truth",
        y="ℓ (nats²; squared units)",
    )
    here = torch.tensor([ratio], dtype=r.dtype)
    return page.mark(result, here, _relative(here), "here")


def _relative(r: Tensor) -> Tensor:
    return mean_squared_log_error(r.log(), torch.ones_like(r), reduction="none")
