"""Log-softmax three ways, and where two of them break."""

from __future__ import annotations

import math
from typing import Any

import torch

from losscope.figures import log_softmax_three_ways
from losscope.figures.stability import largest_exponent
from losscope.kernels import naive
from losscope.learn import page
from losscope.links import log_sigmoid, log_softmax, logsumexp

TITLE = "Log-softmax three ways, and where they break"
DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


REACH = 800  # beyond ln of the largest float64


def views(v: dict[str, Any]) -> tuple[page.View]:
    """Each form of the log-softmax of (0, z) in the chosen precision."""
    dtype = DTYPES[v["precision"]]
    z = torch.tensor([0.0, v["z"]], dtype=dtype)
    numbers: dict[str, page.Number] = {
        "1. ln(softmax z)": naive.log_softmax_of_softmax(z, 0),
        "2. z − ln Σ e^z": naive.log_softmax_of_sum(z, 0),
        "3. ls.log_softmax(z)": log_softmax(z),
        "ln Σ e^z, as on paper": naive.logsumexp(z, 0),
        "ls.logsumexp(z)": logsumexp(z),
        "ln σ(−z), as on paper": naive.sigmoid(-z[1]).log(),
        "ls.log_sigmoid(−z)": log_sigmoid(-z[1]),
    }
    breaks = largest_exponent(dtype)
    ways = log_softmax_three_ways(dtype, page.reach(z, math.ceil(1.7 * breaks)))
    figure = page.mark(ways, z[1], log_softmax(z)[0], "here")
    body = page.stack(
        page.words(
            r"The loss needs $s_h = \ln \hat{y}_h$. On paper three forms are equal:"
            "\n\n1. $\\ln \\dfrac{e^{z_h}}{\\sum_k e^{z_k}}$\n2. $z_h - \\ln \\sum_k e^{z_k}$\n"
            "3. $(z_h - m) - \\ln \\sum_k e^{z_k - m}$, with $m = \\max_k z_k$\n\n"
            f"In {v['precision']} the largest number is {torch.finfo(dtype).max:.4g}, which $e^z$ passes at "
            f"$z = {breaks:.1f}$. "
            "From there on it is infinite, and ∞/∞ is no number (nan). The third form never sees it: its largest "
            "exponential is $e^0 = 1$."
        ),
        page.readout(numbers),
        page.picture(figure),
        page.words(
            "And on the other side? For $z$ far below 0 the first form underflows for the *second* output: its "
            "probability is rounded to 0, and $\\ln 0 = -\\infty$ where the truth is a large but finite number."
        ),
        page.code("ls.log_softmax(z, dim=1)\nls.logsumexp(z, dim=1)\nls.log_sigmoid(z)"),
    )
    return (page.View(("z", "precision"), numbers, body),)
