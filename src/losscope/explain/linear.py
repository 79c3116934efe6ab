"""The last linear layer and its cross-entropy: z = W x + b first, and its gradients last."""

from __future__ import annotations

from torch import Tensor

from losscope.explain.categorical import cross_entropy
from losscope.explain.check import largest
from losscope.explain.step import Check, Formula, Trail, Worked
from losscope.kernels.reference import upcast
from losscope.losses import LinearCrossEntropyLoss


def explain_linear(loss: LinearCrossEntropyLoss, x: Tensor, target: Tensor) -> Worked:
    """Cross-entropy of W x + b, with the gradients of x, W and b in place of autograd's of z."""
    at, weight, bias = Trail(), loss.linear.weight, loss.linear.bias
    rows = x.reshape(-1, x.shape[-1])
    # With further dimensions a sample has many rows, and the layer an output for each class of each of them.
    n, o = ("n", "o") if loss.out_features else ("i", "h")
    at.add("x", "feature", f"x_{{{n}d}}", f"x_{n}d", upcast(rows), "What the last linear layer is given.", f"{n}d")
    at.add("W", "layer weight", f"W_{{{o}d}}", f"W_{o}d", upcast(weight), "One row for each output.", f"{o}d")
    if bias is not None:
        at.add("b", "layer bias", f"b_{o}", f"b_{o}", upcast(bias), "One number for each output.", o)
    z = loss.logits(x.detach()).detach()
    worked = cross_entropy(at, z, target, loss.weight, loss.options)
    checks = _gradients(at, z, (n, o), bias is not None, worked.checks.pop("∂L/∂z"))
    return worked._replace(steps=at.steps, checks=worked.checks | checks)


def _gradients(at: Trail, z: Tensor, axes: tuple[str, str], biased: bool, of_z: Check) -> dict[str, Check]:
    """Of the layer's input and of its parameters, by the chain rule from ∂L/∂z."""
    x, weight, (n, o) = at["x"], at["W"], axes
    # Positions back beside their classes: one column for each row of W.
    g = _as_outputs(at["∂L/∂z"], z, len(weight))
    pull = Formula(rf"\frac{{\partial L}}{{\partial z_{{{n}{o}}}}}", f"∂L/∂z_{n}{o}")
    at.add(
        "∂L/∂x",
        "gradient of the features",
        rf"\frac{{\partial L}}{{\partial x_{{{n}d}}}} = \sum_{o} {pull.latex} W_{{{o}d}}",
        f"∂L/∂x_{n}d = Σ_{o} {pull.text} W_{o}d",
        g @ weight,
        "What flows back into the layers before.",
        f"{n}d",
    )
    at.add(
        "∂L/∂W",
        "gradient of the layer weight",
        rf"\frac{{\partial L}}{{\partial W_{{{o}d}}}} = \sum_{n} {pull.latex} x_{{{n}d}}",
        f"∂L/∂W_{o}d = Σ_{n} {pull.text} x_{n}d",
        g.T @ x,
        "Each sample pulls the row of a class towards its features, or away from them.",
        f"{o}d",
    )
    rows = len(x) * of_z.size
    checks = {
        "∂L/∂x": Check("input", of_z.size * len(weight) ** 0.5 * largest(weight)),
        "∂L/∂W": Check("linear.weight", rows * largest(x)),
    }
    if biased:
        at.add(
            "∂L/∂b",
            "gradient of the layer bias",
            rf"\frac{{\partial L}}{{\partial b_{o}}} = \sum_{n} {pull.latex}",
            f"∂L/∂b_{o} = Σ_{n} {pull.text}",
            g.sum(0),
            "0 once every class is predicted as often as it occurs.",
            o,
        )
        checks["∂L/∂b"] = Check("linear.bias", rows)
    return checks


def _as_outputs(gradient: Tensor, z: Tensor, outputs: int) -> Tensor:
    """(rows, H) as (N, outputs), in the order of the rows of W: outputs is H·d_1·… of them."""
    if z.ndim == 1:
        return gradient
    spread = gradient.reshape(z.shape[:1] + z.shape[2:] + z.shape[1:2])
    return spread.movedim(-1, 1).reshape(-1, outputs)
