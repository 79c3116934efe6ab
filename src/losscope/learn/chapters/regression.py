"""Values instead of classes, and the logarithm where ratios matter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from losscope.figures.curves import curves
from losscope.figures.numbers import number
from losscope.learn import page
from losscope.losses import mean_squared_log_error, mse_loss

TITLE = "Regression, and values of high dynamic range"


def views(v: dict[str, Any]) -> tuple[page.View]:
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
        page.picture(_figure(y, v["ratio"])),
        page.code("ls.mse_loss(z, y)  # z is the value\nls.mean_squared_log_error(z, y)  # z is the value's logarithm"),
    )
    return (page.View(("log₁₀ y₀", "log₁₀ y₁", "ratio"), numbers, body),)


def _figure(y: Tensor, ratio: float) -> Any:
    r = torch.linspace(0.2, 3, 241, dtype=torch.float64)
    small, large = (f"y{name} = {number(float(value))}" for name, value in zip("₀₁", y, strict=True))
    result = curves(
        "The error over the ratio of estimate and truth",
        f"At {small} and {large}, on a logarithmic scale. Of the squared error each truth has its own curve, which is "
        "higher by the square of the truth; of the squared logarithm both have the same.",
        r,
        {
            "squared log error, of both": _relative(r),
            f"squared error, {small}": _absolute(r, y[0]),
            f"squared error, {large}": _absolute(r, y[1]),
        },
        x="estimate ÷ truth",
        y="ℓ (nats²; squared units)",
        yaxis={"type": "log", "exponentformat": "power"},
    )
    here = torch.tensor([ratio] * 3, dtype=r.dtype)
    errors = torch.cat([_relative(here[:1]), _absolute(here[:1], y[0]), _absolute(here[:1], y[1])])
    return page.mark(result, here, errors, "here")


def _relative(r: Tensor) -> Tensor:
    return mean_squared_log_error(r.log(), torch.ones_like(r), reduction="none")


def _absolute(r: Tensor, y: Tensor) -> Tensor:
    return mse_loss(r * y, y.expand_as(r), reduction="none")
