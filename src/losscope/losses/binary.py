"""Each label is true on its own: binary cross-entropy, of raw outputs and of probabilities."""

from __future__ import annotations

from torch import Tensor

from losscope import validate
from losscope.kernels import direct, dispatch
from losscope.kernels.options import BinaryOptions
from losscope.kernels.reference import autocast
from losscope.links import IDENTITY_BINARY, SIGMOID
from losscope.losses.base import Loss, options_repr, read_options, register_weight
from losscope.losses.formula import binary_formula, label_reduction
from losscope.targets import TargetKind


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    ignore_index: float | None = None,
) -> Tensor:
    r"""Binary cross-entropy of raw outputs, in nats: ℓ_ih = −m_ih ln σ(z_ih) − (1 − m_ih) ln σ(−z_ih).

    A multi-label loss is a sum of binary ones, and its ``mean`` divides by N·H: chance is ln 2, whatever H is. Weights
    are inside: ℓ_ih = w_ih (−p_h m_ih ln σ(z_ih) − (1 − m_ih) ln σ(−z_ih)).

    Args:
        input: z, raw outputs of any shape, floating.
        target: m, of the input's shape, floating, each in [0, 1].
        weight: w, of every element, broadcast to the input's shape. The mean does not divide by it (torch's rule).
        reduction: "none" ℓ_ih, "sum", or "mean" over the labels that count.
        pos_weight: p_h, times the term of the labels that are true, broadcast to the input's shape.
        label_smoothing: ε in [0, 1]: m becomes (1 − ε) m + ε/2, a mixture with the uniform over {false, true}.
        focal_gamma: γ ≥ 0: each term times (1 − p_t)^γ, p_t the probability of the truth; labels 0 or 1 only.
        ignore_index: a target value that does not count: no loss, gradient 0, and not in the mean's divisor.

    Returns:
        The loss, scalar or of the input's shape, in the dtype to which input (float32 under autocast) and target
        promote: of a float32 input and a float64 target it is float64, as torch's.

    Raises:
        InputError: shapes, dtypes, devices or options do not fit, or a target is outside [0, 1].

    Example:
        >>> z, m = torch.tensor([[0.0, 5.0]]), torch.tensor([[0.0, 1.0]])
        >>> binary_cross_entropy_with_logits(z, m, reduction="none")
        tensor([[0.6931, 0.0067]])

    Source: :func:`torch.nn.functional.binary_cross_entropy_with_logits`; smoothing as in Keras; focal Lin et al. 2017,
    eq. 4 (its α is ``weight=1-α`` with ``pos_weight=α/(1-α)``; its mean divides by the count, as here).
    """
    extras = (label_smoothing, focal_gamma, ignore_index)
    loss = direct.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction, extras)
    if loss is not None:
        return loss
    where, options = "binary_cross_entropy_with_logits", BinaryOptions(reduction, *extras)
    if not direct.are_plain_labels(input, target, weight, pos_weight, reduction, extras):
        validate.logits(where, input)
        validate.binary_options(where, options)
        validate.label_dtype(where, input, target)
        if weight is not None:
            validate.broadcastable(where, "weight", weight, input)
        if pos_weight is not None:
            validate.broadcastable(where, "pos_weight", pos_weight, input)
        if focal_gamma:
            validate.hard_labels(where, target, ignore_index)

    def check() -> None:
        validate.unit_interval(where, "targets", target, ignore_index)

    return dispatch.binary_cross_entropy_with_logits(autocast(input), target, weight, pos_weight, options, check)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    r"""Binary cross-entropy of probabilities, in nats: ℓ_ih = −m_ih ln ŷ_ih − (1 − m_ih) ln(1 − ŷ_ih).

    A probability that has been rounded to 0 or 1 has lost its logarithm: torch holds it at −100, and so does this.
    Give raw outputs to :func:`binary_cross_entropy_with_logits` instead wherever you have them.

    Args:
        input: ŷ, probabilities of any shape, floating, each in [0, 1].
        target: m, of the input's shape, floating, each in [0, 1].
        weight: w, of every element, broadcast to the input's shape, times ℓ. The mean does not divide by it (torch's
            rule).
        reduction: "none", "sum", or "mean" over N·H.

    Returns:
        The loss, scalar or of the input's shape, in the input's dtype.

    Raises:
        InputError: shapes, dtypes or devices do not fit, or a probability or target is outside [0, 1].

    Example:
        >>> binary_cross_entropy(torch.tensor([0.5, 0.9933]), torch.tensor([0.0, 1.0]), reduction="none")
        tensor([0.6931, 0.0067])

    Source: :func:`torch.nn.functional.binary_cross_entropy`.
    """
    loss = direct.binary_cross_entropy(input, target, weight, reduction)
    if loss is not None:
        return loss
    where = "binary_cross_entropy"
    validate.logits(where, input)
    validate.reduction(where, reduction)
    validate.label_target(where, input, target)
    validate.unit_interval(where, "probabilities as input", input)
    if weight is not None:
        validate.broadcastable(where, "weight", weight, input)
    return dispatch.binary_cross_entropy(autocast(input), target.to(autocast(input).dtype), weight, reduction)


class BCEWithLogitsLoss(Loss):
    r"""Module of :func:`binary_cross_entropy_with_logits`, with the same options.

    Example:
        >>> loss = BCEWithLogitsLoss()
        >>> z = torch.tensor([[0.0, 5.0]])
        >>> loss(z, torch.tensor([[0.0, 1.0]])), loss.decode(z)
        (tensor(0.3499), tensor([[False,  True]]))

    Source: :class:`torch.nn.BCEWithLogitsLoss`.
    """

    link = SIGMOID
    target_kind = TargetKind.MULTI_HOT
    likelihood = binary_formula(BinaryOptions(), weighted=False, pos_weighted=False)
    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        ignore_index: float | None = None,
    ) -> None:
        super().__init__()
        register_weight(self, "weight", weight)
        register_weight(self, "pos_weight", pos_weight)
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        self.ignore_index = ignore_index
        validate.binary_options("BCEWithLogitsLoss", self.options)

    @property
    def options(self) -> BinaryOptions:
        """The options as one tuple, read anew: they may be set at any time, as torch's may."""
        return read_options(self, BinaryOptions)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of raw outputs."""
        return binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, **self.options._asdict()
        )

    @property
    def formula(self) -> str:
        """The loss in LaTeX, with the options that are on."""
        return binary_formula(self.options, self.weight is not None, self.pos_weight is not None)

    def extra_repr(self) -> str:
        """The options that differ from torch's defaults."""
        return options_repr(self.options)


class BCELoss(Loss):
    r"""Module of :func:`binary_cross_entropy`: its raw outputs are probabilities.

    Example:
        >>> loss = BCELoss()
        >>> p = torch.tensor([0.5, 0.9933])
        >>> loss(p, torch.tensor([0.0, 1.0])), loss.decode(p)
        (tensor(0.3499), tensor([False,  True]))

    Source: :class:`torch.nn.BCELoss`.
    """

    link = IDENTITY_BINARY
    target_kind = TargetKind.MULTI_HOT
    likelihood = r"\ell_{ih} = -m_{ih} \ln \hat{y}_{ih} - (1 - m_{ih}) \ln(1 - \hat{y}_{ih})"
    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean") -> None:
        super().__init__()
        register_weight(self, "weight", weight)
        validate.reduction("BCELoss", reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of probabilities."""
        return binary_cross_entropy(input, target, self.weight, reduction=self.reduction)

    @property
    def formula(self) -> str:
        """The loss in LaTeX, with the options that are on."""
        loss, weighted = self.likelihood, self.weight is not None
        if weighted:
            body = loss.split(" = ", 1)[1]
            loss = rf"\ell_{{ih}} = w_{{ih}} \left({body}\right)"
        return r", \quad ".join([loss, *label_reduction(BinaryOptions(self.reduction), weighted)])

    def extra_repr(self) -> str:
        """The options that differ from torch's defaults."""
        return options_repr(BinaryOptions(self.reduction))
