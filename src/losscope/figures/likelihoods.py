"""From z and the target to ℓ, and the slope that moves z."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from torch import Tensor

from losscope.figures.curves import curves, over, slope
from losscope.figures.links import Z
from losscope.links import sigmoid
from losscope.losses import binary_cross_entropy, binary_cross_entropy_with_logits, mse_loss

LOSS = "ℓ (nats)"
CUT = 6.0  # where the y axis of a loss ends


def loss_of_logit() -> go.Figure:
    """Cross-entropy over z, for either truth: of two outputs (0, z), which is the binary one.

    Example:
        >>> [trace.name for trace in loss_of_logit().data]
        ['m = 1: ℓ = −ln σ(z)', 'm = 0: ℓ = −ln σ(−z)']
    """
    z = over(-8, 8)
    return curves(
        "Cross-entropy over z: straight where it is wrong, flat where it is right",
        "Where the output is far on the wrong side ℓ grows like |z|, so the slope stays near 1 and learning goes on; "
        "on the right side it goes to 0. Both meet at z = 0, where ℓ = ln 2 = 0.693.",
        z,
        {"m = 1: ℓ = −ln σ(z)": _binary(z, 1.0), "m = 0: ℓ = −ln σ(−z)": _binary(z, 0.0)},
        x=Z,
        y=LOSS,
    )


def focal(gammas: Sequence[float] = (0.0, 1.0, 2.0, 5.0)) -> go.Figure:
    """The focal loss over z at several γ, m = 1.

    Example:
        >>> len(focal((0.0, 2.0)).data)
        2
    """
    z = over(-6, 6)
    return curves(
        "Focal loss: samples that are right already count less",
        "(1 − ŷ)^γ (−ln ŷ) for m = 1. The larger γ, the less a sample counts once ŷ is above 1/2; far on the wrong "
        "side all of them are the cross-entropy. γ = 0 is the cross-entropy.",
        z,
        {f"γ = {gamma:g}": _binary(z, 1.0, focal_gamma=gamma) for gamma in gammas},
        x=Z,
        y=LOSS,
    )


def smoothing(epsilons: Sequence[float] = (0.0, 0.1, 0.3)) -> go.Figure:
    """Label smoothing over z at several ε, m = 1.

    Example:
        >>> [trace.name for trace in smoothing((0.0, 0.1)).data]
        ['ε = 0', 'ε = 0.1']
    """
    z = over(-6, 10)
    return curves(
        "Label smoothing: being too sure costs again",
        "The target is 1 − ε/2 instead of 1, so that ℓ has its smallest value at ŷ = 1 − ε/2 and rises after it: the "
        "outputs are not driven to infinity.",
        z,
        {f"ε = {epsilon:g}": _binary(z, 1.0, label_smoothing=epsilon) for epsilon in epsilons},
        x=Z,
        y=LOSS,
        yaxis_range=[0, CUT],
    )


def squared_error_on_probability() -> go.Figure:
    """Squared error of the probability beside the cross-entropy, m = 1.

    Example:
        >>> len(squared_error_on_probability().data)
        2
    """
    z = over(-8, 8)
    estimate = sigmoid(z)
    return curves(
        "Why not the squared error of a probability",
        "(1 − σ(z))² levels off at 1 where the output is most wrong: there is no slope, and nothing is learned from "
        "the worst samples. The cross-entropy goes on rising.",
        z,
        {
            "cross-entropy −ln σ(z)": _binary(z, 1.0),
            "squared error (1 − σ(z))²": mse_loss(estimate, torch.ones_like(z), reduction="none"),
        },
        x=Z,
        y="ℓ (nats), and squared probability",
        yaxis_range=[0, CUT],
    )


def gradients(gamma: float = 2.0, epsilon: float = 0.1) -> go.Figure:
    """The slope of each of these losses over z, from autograd, m = 1.

    Args:
        gamma: γ of the focal loss.
        epsilon: ε of the smoothed one.

    Example:
        >>> float(gradients().data[0].y[0]) < -0.99
        True
    """
    z = over(-8, 8).requires_grad_()
    losses = {
        "cross-entropy: ŷ − m": _binary(z, 1.0),
        f"focal, γ = {gamma:g}": _binary(z, 1.0, focal_gamma=gamma),
        f"smoothing, ε = {epsilon:g}": _binary(z, 1.0, label_smoothing=epsilon),
        "squared error of ŷ": mse_loss(sigmoid(z), torch.ones_like(z), reduction="none"),
    }
    return curves(
        "The gradient: how hard z is pushed",
        "∂ℓ/∂z for m = 1. That of the cross-entropy is ŷ − m: −1 where the output is wrong and 0 where it is right. "
        "That of the squared error vanishes on both sides; with smoothing it turns positive where ŷ is too sure.",
        z.detach(),
        {name: slope(loss, z) for name, loss in losses.items()},
        x=Z,
        y="∂ℓ/∂z",
    )


def log_against_linear() -> go.Figure:
    """ℓ over ŷ: the logarithm beside the straight line and the square.

    Example:
        >>> len(log_against_linear().data)
        3
    """
    estimate = over(0.002, 1)
    true = torch.ones_like(estimate)
    return curves(
        "Why the logarithm: what is all but excluded and happens costs the most",
        "Over ŷ of the truth: −ln ŷ grows without end as ŷ goes to 0, while 1 − ŷ and (1 − ŷ)² end at 1. At ŷ = 1 the "
        "logarithm has the slope of the straight line.",
        estimate,
        {
            "−ln ŷ": binary_cross_entropy(estimate, true, reduction="none"),
            "1 − ŷ": 1 - estimate,
            "(1 − ŷ)²": mse_loss(estimate, true, reduction="none"),
        },
        x="ŷ of the truth (probability)",
        y="ℓ (−ln ŷ: nats)",
        xaxis_range=[0, 1],
    )


def _binary(z: Tensor, m: float, label_smoothing: float = 0.0, focal_gamma: float = 0.0) -> Tensor:
    target = torch.full_like(z, m)
    return binary_cross_entropy_with_logits(
        z, target, reduction="none", label_smoothing=label_smoothing, focal_gamma=focal_gamma
    )
