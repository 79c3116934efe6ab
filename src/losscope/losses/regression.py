"""Values instead of classes: squared error, and squared error of the logarithm for a high dynamic range."""

from __future__ import annotations

from torch import Tensor

from losscope import validate
from losscope.kernels import direct, dispatch
from losscope.kernels.options import BinaryOptions
from losscope.kernels.reference import autocast
from losscope.links import EXP, IDENTITY
from losscope.losses.base import Loss, options_repr
from losscope.losses.formula import label_reduction
from losscope.targets import TargetKind


def mse_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean") -> Tensor:
    r"""Squared error: ℓ = w (z − y)², with w = 1 where no weight is given.

    Args:
        input: z, of any shape, floating.
        target: y, of the input's shape (torch broadcasts with a warning; here it is an error).
        weight: w, of every element, of the input's shape.
        reduction: "none" ℓ, "sum" Σ ℓ, or "mean" Σ ℓ / Σ w.

    Returns:
        The loss, scalar or of the input's shape, in squared units of the target.

    Raises:
        InputError: shapes, dtypes or devices do not fit.

    Example:
        >>> mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(2.)

    Source: :func:`torch.nn.functional.mse_loss`. It is the negative log-likelihood of a Gaussian of fixed width.
    """
    loss = direct.mse_loss(input, target, weight, reduction)
    if loss is not None:
        return loss
    _regression("mse_loss", input, target, weight, reduction)
    return dispatch.mse_loss(autocast(input), target, weight, reduction)


def mean_squared_log_error(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    r"""Squared error of the logarithm: ℓ = w (z − ln y)², where the network's output z is ln of the value.

    For values of high dynamic range: equal ratios cost the same, whatever the size of the value. scikit-learn's and
    torchmetrics' functions of this name take the values themselves and compare ln(1 + y), which is ≈ y for small y
    and so no longer relative there.

    Args:
        input: z = ln ŷ, of any shape, floating.
        target: y > 0, of the input's shape.
        weight: w, of every element, of the input's shape.
        reduction: "none" ℓ, "sum" Σ ℓ, or "mean" Σ ℓ / Σ w.

    Returns:
        The loss, scalar or of the input's shape, in squared nats.

    Raises:
        InputError: shapes, dtypes or devices do not fit, or a target is not above 0.

    Example:
        >>> mean_squared_log_error(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
        tensor(0.0471)
    """
    loss = direct.mean_squared_log_error(input, target, weight, reduction)
    if loss is not None:
        return loss
    where = "mean_squared_log_error"
    _regression(where, input, target, weight, reduction)
    validate.positive(where, "targets", target)
    return dispatch.mean_squared_log_error(autocast(input), target, weight, reduction)


class MSELoss(Loss):
    r"""Module of :func:`mse_loss`.

    Example:
        >>> MSELoss()(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
        tensor(2.)

    Source: :class:`torch.nn.MSELoss`.
    """

    link = IDENTITY
    target_kind = TargetKind.VALUE
    likelihood = r"\ell_{ih} = (z_{ih} - y_{ih})^2"

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        validate.reduction(type(self).__name__, reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss; a weight belongs to the samples, so it comes with them."""
        return mse_loss(input, target, weight, reduction=self.reduction)

    @property
    def formula(self) -> str:
        """The loss in LaTeX, without a weight: that comes with the samples."""
        return r", \quad ".join([self.likelihood, *label_reduction(BinaryOptions(self.reduction), weighted=False)])

    def extra_repr(self) -> str:
        """The options that differ from torch's defaults."""
        return options_repr(BinaryOptions(self.reduction))


class MSLELoss(MSELoss):
    r"""Module of :func:`mean_squared_log_error`: its raw outputs are logarithms of the values.

    Example:
        >>> loss = MSLELoss()
        >>> z = torch.tensor([0.0, 1.0])
        >>> loss(z, torch.tensor([1.0, 2.0])), loss.decode(z)
        (tensor(0.0471), tensor([1.0000, 2.7183]))
    """

    link = EXP
    likelihood = r"\ell_{ih} = (z_{ih} - \ln y_{ih})^2"

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss; a weight belongs to the samples, so it comes with them."""
        return mean_squared_log_error(input, target, weight, reduction=self.reduction)


def _regression(where: str, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> None:
    validate.logits(where, input)
    validate.same_shape(where, input, target)
    if target.is_complex():
        validate.logits(where, target, name="target")
    validate.reduction(where, reduction)
    if weight is not None:
        validate.same_shape(where, input, weight, "weight")
        validate.real(where, "weight", weight)
