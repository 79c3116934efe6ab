"""One of H classes is true: cross-entropy, and the negative log-likelihood it is made of."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor
from torch.distributed import ProcessGroup

from losscope import validate
from losscope.kernels import direct, dispatch
from losscope.kernels.options import CategoricalOptions, Stats
from losscope.kernels.reference import autocast, class_dim
from losscope.kernels.reference import softcap as softcapped
from losscope.kernels.sharded.shard import is_dtensor
from losscope.links import EXP_CATEGORICAL, SOFTMAX
from losscope.losses import sharded
from losscope.losses.base import Loss, options_repr, read_options, register_weight
from losscope.losses.formula import categorical_formula, class_reduction, picked_formula
from losscope.parallel import over_ranks
from losscope.targets import TargetKind


@overload
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = ...,
    *,
    ignore_index: int = ...,
    reduction: str = ...,
    label_smoothing: float = ...,
    focal_gamma: float = ...,
    z_loss: float = ...,
    softcap: float | None = ...,
    normalizer: float | Tensor | str | None = ...,
    group: ProcessGroup | None = ...,
    return_stats: Literal[False] = ...,
    inplace_backward: bool = ...,
) -> Tensor: ...
@overload
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = ...,
    *,
    ignore_index: int = ...,
    reduction: str = ...,
    label_smoothing: float = ...,
    focal_gamma: float = ...,
    z_loss: float = ...,
    softcap: float | None = ...,
    normalizer: float | Tensor | str | None = ...,
    group: ProcessGroup | None = ...,
    return_stats: Literal[True],
    inplace_backward: bool = ...,
) -> tuple[Tensor, Stats]: ...
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    normalizer: float | Tensor | str | None = None,
    group: ProcessGroup | None = None,
    return_stats: bool = False,
    inplace_backward: bool = False,
) -> Tensor | tuple[Tensor, Stats]:
    r"""Cross-entropy of raw outputs, in nats: ℓ_i = −s_{i,y_i} with s_ih = z_ih − ln Σ_k e^{z_ik}.

    With every option ℓ_i = Σ_h w_h q_ih f_ih and f_ih = (1 − ŷ_ih)^γ (−s_ih) + λ (ln Σ_k e^{z_ik})²: a class
    with q_ih = 0 adds nothing, even where its logit is −inf (a mask, whose probability is 0).

    Args:
        input: z, raw outputs (N, H), (N, H, d_1, …) or (H,), floating.
        target: y, indices of shape (N,), (N, d_1, …) or (), or q, soft targets in [0, 1] of the input's shape.
        weight: w_h, shape (H,): a sample of weight 2 counts as two.
        ignore_index: a target that does not count: no loss, and gradient 0 whatever its logits hold.
        reduction: "none" v_i ℓ_i, "sum" Σ v_i ℓ_i, or "mean" Σ v_i ℓ_i / Σ v_i w_{y_i} (for soft targets Σ ℓ_i / N).
        label_smoothing: ε in [0, 1]: q becomes (1 − ε) q + ε u with u uniform over the classes that are not masked.
        focal_gamma: γ ≥ 0 of the softmax focal loss, for hard targets without smoothing.
        z_loss: λ ≥ 0, keeps the normaliser of the softmax near 1.
        softcap: c > 0: z becomes c·tanh(z/c) first.
        normalizer: the divisor of the mean in place of its own, such as the count of valid targets over all
            accumulation steps and ranks (:func:`losscope.parallel.global_normalizer`); "global" counts those of this
            call over all ranks, whose gradients are then averaged.
        group: the ranks over which the classes are shared out; ``input`` is this rank's shard then, the target's
            indices are those of all classes, and a soft target is a shard like the input. A DTensor sharded on the
            classes says this itself.
        return_stats: also return :class:`losscope.Stats` of every sample, from the same logits.
        inplace_backward: the gradient may take the memory of the logits, which must have been computed. After backward
            they are gone: autograd refuses whatever still needs them, and a second backward is an error. Only the
            Triton kernels make use of it.

    Returns:
        The loss, scalar or one per sample, in the input's dtype (float32 under autocast), with a soft target in that
        to which both promote; with ``return_stats`` the pair (loss, stats). NaN when nothing counts (as torch's), with
        gradient 0.

    Raises:
        InputError: shapes, dtypes, devices or options do not fit, or an index is out of range.

    Example:
        >>> z = torch.tensor([[1.0, 10.0], [2.0, -2.0]])
        >>> cross_entropy(z, torch.tensor([1, 1]))
        tensor(2.0091)
        >>> loss, stats = cross_entropy(z, torch.tensor([1, 1]), return_stats=True)
        >>> stats.accuracy
        tensor(0.5000, dtype=torch.float64)

    Source: :func:`torch.nn.functional.cross_entropy`; label smoothing Szegedy et al. 2016, section 7; focal Lin et
    al. 2017, eq. 4; z-loss Chowdhery et al. 2022 (PaLM), section 5; softcap Gemma 2, section 2.
    """
    extras = (label_smoothing, focal_gamma, z_loss, softcap, normalizer, return_stats)
    if group is None and not inplace_backward:
        loss = direct.cross_entropy(input, target, weight, ignore_index, reduction, extras)
        if loss is not None:
            return loss
    options = CategoricalOptions(ignore_index, reduction, *extras)
    if group is not None or is_dtensor(input):
        return sharded.cross_entropy(input, target, weight, options, group)
    validate.class_logits("cross_entropy", input)
    validate.class_target_type("cross_entropy", input, target, ignore_index)
    soft = target.is_floating_point()
    validate.categorical_options("cross_entropy", options, soft=soft)
    if weight is not None:
        validate.class_weight("cross_entropy", weight, input, input.shape[class_dim(input)])
    if inplace_backward:
        validate.overwritable("cross_entropy", autocast(input))
    target = target if soft else target.long()
    options = over_ranks(options, target, weight)

    def check() -> None:
        validate.soft_values("cross_entropy", target)

    return dispatch.cross_entropy(autocast(input), target, weight, options, check, inplace_backward=inplace_backward)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    r"""Negative log-likelihood of log-probabilities, in nats: ℓ_i = −s_{i,y_i}, with class weights −w_{y_i} s_{i,y_i}.

    Args:
        input: s, log-probabilities (N, H), (N, H, d_1, …) or (H,), floating; ``log_softmax(z)`` gives them.
        target: y, indices of shape (N,), (N, d_1, …) or ().
        weight: w_h, shape (H,).
        ignore_index: a target that does not count.
        reduction: "none" v_i ℓ_i, "sum" Σ v_i ℓ_i, or "mean" Σ v_i ℓ_i / Σ v_i w_{y_i}.

    Returns:
        The loss, scalar or one per sample, in the input's dtype. NaN when nothing counts, with gradient 0.

    Raises:
        InputError: shapes, dtypes, devices or options do not fit, or an index is out of range.

    Example:
        >>> nll_loss(torch.tensor([[-2.1895, -1.1382]]), torch.tensor([1]))
        tensor(1.1382)

    Source: :func:`torch.nn.functional.nll_loss`.
    """
    loss = direct.nll_loss(input, target, weight, ignore_index, reduction)
    if loss is not None:
        return loss
    options = CategoricalOptions(ignore_index, reduction)
    validate.class_logits("nll_loss", input)
    validate.index_target("nll_loss", input, target, ignore_index)
    validate.categorical_options("nll_loss", options, soft=False)
    if weight is not None:
        validate.class_weight("nll_loss", weight, input, input.shape[class_dim(input)])
    return dispatch.nll_loss(autocast(input), target.long(), weight, options)


class CrossEntropyLoss(Loss):
    r"""Module of :func:`cross_entropy`, with the same options.

    Example:
        >>> loss = CrossEntropyLoss(label_smoothing=0.1)
        >>> z = torch.tensor([[0.0, 5.0]])
        >>> loss(z, torch.tensor([1]))
        tensor(0.2567)
        >>> loss.activation(z), loss.decode(z)
        (tensor([[0.0067, 0.9933]]), tensor([1]))

    Source: :class:`torch.nn.CrossEntropyLoss`.
    """

    link = SOFTMAX
    target_kind = TargetKind.INDEX
    likelihood = r"\ell_i = -s_{i,y_i}, \quad s_{ih} = z_{ih} - \ln \sum_k e^{z_{ik}}"
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        z_loss: float = 0.0,
        softcap: float | None = None,
        normalizer: float | Tensor | str | None = None,
        return_stats: bool = False,
        inplace_backward: bool = False,
    ) -> None:
        super().__init__()
        register_weight(self, "weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        self.z_loss = z_loss
        self.softcap = softcap
        self.normalizer = normalizer
        self.return_stats = return_stats
        self.inplace_backward = inplace_backward
        validate.categorical_options("CrossEntropyLoss", self.options, soft=False)

    @property
    def options(self) -> CategoricalOptions:
        """The options as one tuple, read anew: they may be set at any time, as torch's may."""
        return read_options(self, CategoricalOptions)

    def forward(
        self, input: Tensor, target: Tensor, *, normalizer: float | Tensor | str | None = None
    ) -> Tensor | tuple[Tensor, Stats]:
        """The loss; a ``normalizer`` given here goes before the module's own."""
        options = self.options if normalizer is None else self.options._replace(normalizer=normalizer)
        return cross_entropy(input, target, self.weight, **options._asdict(), inplace_backward=self.inplace_backward)

    def activation(self, z: Tensor) -> Tensor:
        """ŷ = softmax(z), of the softcapped z where that option is on."""
        return self.link.activation(softcapped(z, self.softcap))

    @property
    def formula(self) -> str:
        """The loss in LaTeX, with the options that are on."""
        return categorical_formula(self.options, self.weight is not None)

    def extra_repr(self) -> str:
        """The options that differ from torch's defaults."""
        changed = [options_repr(self.options), "inplace_backward=True" if self.inplace_backward else ""]
        return ", ".join(filter(None, changed))


class NLLLoss(Loss):
    r"""Module of :func:`nll_loss`: its raw outputs are log-probabilities.

    Example:
        >>> loss = NLLLoss()
        >>> s = torch.tensor([[-2.1895, -1.1382]])
        >>> loss(s, torch.tensor([1])), loss.decode(s)
        (tensor(1.1382), tensor([1]))

    Source: :class:`torch.nn.NLLLoss`.
    """

    link = EXP_CATEGORICAL
    target_kind = TargetKind.INDEX
    likelihood = r"\ell_i = -s_{i,y_i}"
    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__()
        register_weight(self, "weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        validate.categorical_options("NLLLoss", CategoricalOptions(ignore_index, reduction), soft=False)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of log-probabilities."""
        return nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)

    @property
    def formula(self) -> str:
        """The loss in LaTeX, with the options that are on."""
        weighted = self.weight is not None
        reduction = class_reduction(CategoricalOptions(reduction=self.reduction), weighted)
        return r", \quad ".join([picked_formula(weighted), *reduction])

    def extra_repr(self) -> str:
        """The options that differ from torch's defaults."""
        return options_repr(CategoricalOptions(self.ignore_index, self.reduction))
