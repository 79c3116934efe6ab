"""From z and the target to ℓ, and the slope that moves z."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from torch import Tensor

from losscope.figures.curves import beside, curves, listed, over, slope, with_options
from losscope.figures.links import Z
from losscope.links import sigmoid, softmax
from losscope.losses import binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, mse_loss

LOSS = "ℓ (nats)"
CUT = 6.0  # where the y axis of a loss ends


def loss_of_logit(gamma: float = 0.0, epsilon: float = 0.0) -> go.Figure:
    """Cross-entropy over z, for either truth: of two outputs (0, z), which is the binary one.

    Args:
        gamma: γ of a focal loss.
        epsilon: ε of label smoothing.

    Example:
        >>> [trace.name for trace in loss_of_logit().data]
        ['m = 1: ℓ = −ln σ(z)', 'm = 0: ℓ = −ln σ(−z)']
    """
    z = over(-8, 8)
    names = {1.0: "m = 1: ℓ = −ln σ(z)", 0.0: "m = 0: ℓ = −ln σ(−z)"}
    if gamma or epsilon:
        names = {m: f"m = {m:g}{with_options(gamma, epsilon)}" for m in names}
    plain = " Both meet at z = 0, where ℓ = ln 2 = 0.693."
    return curves(
        "Cross-entropy over z: straight where it is wrong, flat where it is right",
        "Where the output is far on the wrong side ℓ grows like |z|, so the slope hardly falls and learning goes on; "
        f"on the right side it is small.{'' if gamma or epsilon else plain}",
        z,
        {name: _binary(z, m, epsilon, gamma) for m, name in names.items()},
        x=Z,
        y=LOSS,
    )


def focal(
    gammas: Sequence[float] = (0.0, 1.0, 2.0, 5.0), others: Sequence[float] = (0.0,), reach: float = 6.0
) -> go.Figure:
    """The focal loss over z of the true output, at several γ.

    Args:
        gammas: a curve for each.
        others: the raw outputs that stay; (0,) is the binary question, m = 1.
        reach: how far z goes to each side.

    Example:
        >>> len(focal((0.0, 2.0)).data)
        2
    """
    z = over(-reach, reach)
    return curves(
        "Focal loss: samples that are right already count less",
        f"(1 − ŷ)^γ (−ln ŷ) for {_truth(others)}. The larger γ, the less a sample counts once ŷ is above 1/2; far on "
        "the wrong side all of them are the cross-entropy. γ = 0 is the cross-entropy.",
        z,
        {f"γ = {gamma:g}": _true(z, others, focal_gamma=gamma) for gamma in gammas},
        x=_moving(others),
        y=LOSS,
    )


def smoothing(
    epsilons: Sequence[float] = (0.0, 0.1, 0.3), others: Sequence[float] = (0.0,), reach: float = 8.0
) -> go.Figure:
    """Label smoothing over z of the true output, at several ε.

    Args:
        epsilons: a curve for each.
        others: the raw outputs that stay; (0,) is the binary question, m = 1.
        reach: how far z goes to each side.

    Example:
        >>> [trace.name for trace in smoothing((0.0, 0.1)).data]
        ['ε = 0', 'ε = 0.1']
    """
    z = over(-reach, reach)
    share = f"1 − {len(others)}ε/{1 + len(others)}" if len(others) > 1 else "1 − ε/2"
    return curves(
        "Label smoothing: being too sure costs again",
        f"The target is {share} instead of 1, for {_truth(others)}. So ℓ is smallest where ŷ = {share} and rises after "
        "it: the outputs are not driven to infinity.",
        z,
        {f"ε = {epsilon:g}": _true(z, others, label_smoothing=epsilon) for epsilon in epsilons},
        x=_moving(others),
        y=LOSS,
        yaxis_range=[0, CUT],
    )


def squared_error_on_probability(gamma: float = 0.0, epsilon: float = 0.0) -> go.Figure:
    """Squared error of the probability beside the cross-entropy, m = 1.

    Args:
        gamma: γ of a focal loss instead of the cross-entropy.
        epsilon: ε of label smoothing, of both.

    Example:
        >>> len(squared_error_on_probability().data)
        2
    """
    z = over(-8, 8)
    named = with_options(gamma, epsilon)
    aim = torch.full_like(z, 1 - epsilon / 2)
    return curves(
        "Why not the squared error of a probability",
        "The squared error levels off where the output is most wrong: there is no slope, and nothing is learned from "
        "the worst samples. The cross-entropy goes on rising.",
        z,
        {
            f"cross-entropy{named or ' −ln σ(z)'}": _binary(z, 1.0, epsilon, gamma),
            f"squared error ({aim[0]:g} − σ(z))²": mse_loss(sigmoid(z), aim, reduction="none"),
        },
        x=Z,
        y="ℓ (nats), and squared probability",
        yaxis_range=[0, CUT],
    )


def gradients(
    gamma: float = 2.0, epsilon: float = 0.1, others: Sequence[float] = (0.0,), reach: float = 8.0
) -> go.Figure:
    """The slope of each of these losses over z of the true output, from autograd.

    Args:
        gamma: γ of the focal loss.
        epsilon: ε of the smoothed one.
        others: the raw outputs that stay; (0,) is the binary question, m = 1.
        reach: how far z goes to each side.

    Example:
        >>> float(gradients().data[0].y[0]) < -0.99
        True
    """
    z = over(-reach, reach).requires_grad_()
    estimate = softmax(beside(z, others), 1)[:, 0]
    losses = {
        "cross-entropy: ŷ − 1": _true(z, others),
        f"focal, γ = {gamma:g}": _true(z, others, focal_gamma=gamma),
        f"smoothing, ε = {epsilon:g}": _true(z, others, label_smoothing=epsilon),
        "squared error of ŷ": mse_loss(estimate, torch.ones_like(z), reduction="none"),
    }
    return curves(
        "The gradient: how hard z is pushed",
        f"∂ℓ/∂z for {_truth(others)}. That of the cross-entropy is ŷ − 1: −1 where the output is wrong and 0 where it "
        "is right. That of the squared error vanishes on both sides; with smoothing it turns positive where ŷ is too "
        "sure.",
        z.detach(),
        {name: slope(loss, z) for name, loss in losses.items()},
        x=_moving(others),
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


def _truth(others: Sequence[float]) -> str:
    """Which output moves, in words."""
    return "m = 1" if tuple(others) == (0.0,) else f"the true output; the others stay at {listed(others)}"


def _moving(others: Sequence[float]) -> str:
    return Z if tuple(others) == (0.0,) else "z of the true output (logit)"


def _true(z: Tensor, others: Sequence[float], label_smoothing: float = 0.0, focal_gamma: float = 0.0) -> Tensor:
    """ℓ where the output that moves is the true one."""
    target = torch.zeros(len(z), dtype=torch.long)
    return cross_entropy(
        beside(z, others), target, reduction="none", label_smoothing=label_smoothing, focal_gamma=focal_gamma
    )


def _binary(z: Tensor, m: float, label_smoothing: float = 0.0, focal_gamma: float = 0.0) -> Tensor:
    target = torch.full_like(z, m)
    return binary_cross_entropy_with_logits(
        z, target, reduction="none", label_smoothing=label_smoothing, focal_gamma=focal_gamma
    )
