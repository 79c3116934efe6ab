"""A loss taken apart: every number between the raw outputs and L, and the gradient, by the formulas."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from losscope.errors import InputError, describe
from losscope.explain.binary import explain_bce_with_logits
from losscope.explain.categorical import explain_cross_entropy, explain_nll
from losscope.explain.check import compare, ordinary
from losscope.explain.explanation import Explanation
from losscope.explain.linear import explain_linear
from losscope.explain.probability import explain_bce
from losscope.explain.regression import explain_mse, explain_msle
from losscope.explain.rows import positions
from losscope.explain.step import Worked
from losscope.explain.view import View, view
from losscope.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    LinearCrossEntropyLoss,
    Loss,
    MSELoss,
    MSLELoss,
    NLLLoss,
    as_loss,
)
from losscope.targets import TargetKind


def explain(
    loss: Loss | nn.Module | str,
    z: Tensor,
    y: Tensor,
    *,
    weight: Tensor | None = None,
    rows: int | Sequence[int] = 6,
    classes: Sequence[str] | None = None,
) -> Explanation:
    """Take a loss apart: its steps from raw outputs to L and to the gradient, each with its formula and numbers.

    Every step is computed from the ones before it, by the formulas of the notation; L is compared with the loss
    called in the ordinary way, and the gradient, in closed form, with autograd through it. Numbers are complete in
    ``Step.value``; what is printed are the first rows, and the columns of the true classes and of the largest
    outputs. All steps are kept, so it takes about ten times the memory of z.

    Args:
        loss: a losscope loss, the name of one, or a torch module (see :func:`losscope.as_loss`).
        z: what the loss is given, raw outputs of any shape that it takes; further dimensions become rows.
        y: the targets, as the loss takes them.
        weight: of every value, for the losses that are given one with the values (MSELoss, MSLELoss).
        rows: how many rows to show, or which: a list of samples.
        classes: c_h, the names of the outputs, to stand above the columns.

    Returns:
        The :class:`Explanation`: print it, let a notebook show it, or read its ``steps``.

    Raises:
        InputError: there is no such loss, the loss refuses its input, or ``rows`` and ``classes`` do not fit it.

    Example:
        >>> z, y = torch.tensor([[1.0, 10.0], [2.0, -2.0]]), torch.tensor([1, 1])
        >>> explanation = explain("cross_entropy", z, y)
        >>> [step.symbol for step in explanation.steps][:7]
        ['z', 'm', 'exp(z−m)', 'Σ exp(z−m)', 'lse', 's', 'ŷ']
        >>> explanation["L"].value, explanation.agrees
        (tensor(2.0091), True)
        >>> print(explanation["∂ℓ/∂z"].text)
        ∂ℓ_i/∂z_ih = ŷ_ih − t_ih
    """
    loss = as_loss(loss, where="explain")
    if weight is not None and not isinstance(loss, MSELoss):
        raise InputError("explain", "no weight beside this loss", describe(weight), "give it to the loss itself")
    theirs = ordinary(loss, z, y, weight)  # raises what the loss raises, before any work
    worked = _worked(loss, z.detach(), y.detach(), weight)
    steps, differences, agrees = compare(worked.steps, worked.checks, theirs, z)
    shown = _view(worked, loss, z, rows, classes)
    intro = _intro(loss, z, shown)
    return Explanation(
        f"{type(loss).__name__}({loss.extra_repr()})",
        tuple(intro),
        tuple(steps),
        tuple(worked.notes),
        differences,
        agrees,
        shown,
    )


def _worked(loss: Loss, z: Tensor, y: Tensor, weight: Tensor | None) -> Worked:
    match loss:
        case LinearCrossEntropyLoss():
            return explain_linear(loss, z, y)
        case CrossEntropyLoss():
            return explain_cross_entropy(loss, z, y)
        case NLLLoss():
            return explain_nll(loss, z, y)
        case BCEWithLogitsLoss():
            return explain_bce_with_logits(loss, z, y)
        case BCELoss():
            return explain_bce(loss, z, y)
        case MSLELoss():
            return explain_msle(loss, z, y, weight)
        case MSELoss():
            return explain_mse(loss, z, y, weight)
    raise InputError(
        "explain",
        "one of losscope's losses",
        describe(loss),
        "name the loss whose steps it shares",
    )


def _view(worked: Worked, loss: Loss, z: Tensor, rows: int | Sequence[int], classes: Sequence[str] | None) -> View:
    outputs = next(step.value for step in worked.steps if step.axes == "ih")
    sizes = {axis: n for step in worked.steps for axis, n in zip(step.axes, step.value.shape, strict=True)}
    return view(outputs, worked.truth, worked.counted, sizes, rows, classes, _positions(loss, z))


def _positions(loss: Loss, z: Tensor) -> tuple[int, ...]:
    """The shape that rows run over."""
    if isinstance(loss, LinearCrossEntropyLoss):
        return (*z.shape[:-1], *loss.out_features)
    return positions(z, classes=loss.target_kind is TargetKind.INDEX)


def _intro(loss: Loss, z: Tensor, shown: View) -> list[str]:
    """What the rows are, and which of them and of the columns are shown."""
    n, h = shown.totals["i"], shown.totals["h"]
    outputs = "class" if loss.target_kind is TargetKind.INDEX else "output"
    plural = "" if h == 1 else "es" if outputs == "class" else "s"
    lines = [f"Input {describe(z)}: {n:,} row{'s' if n != 1 else ''} i, {h:,} {outputs}{plural} h."]
    places = _positions(loss, z)
    if len(places) > 1:
        lines.append(
            f"Every position of {tuple(places)} is a row of its own: "
            f"{'·'.join(map(str, places))} = {n:,} rows, each with the subscripts of its position."
        )
    if shown.left_out("i") or shown.left_out("h"):
        lines.append(_left_out(shown, n, h))
    return lines


def _left_out(shown: View, n: int, h: int) -> str:
    said = []
    if shown.left_out("i"):
        said.append(f"{len(shown.chosen['i'])} of {n:,} rows")
    if shown.left_out("h"):
        said.append(f"{len(shown.chosen['h'])} of {h:,} outputs, the true ones and the largest")
    return f"Shown: {' and '.join(said)}. The values are complete."
