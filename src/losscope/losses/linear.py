"""The last linear layer and its cross-entropy as one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from losscope import validate
from losscope.errors import InputError, describe
from losscope.kernels import direct, dispatch
from losscope.kernels.options import CategoricalOptions, LinearOptions, Stats
from losscope.kernels.reference import in_autocast, linear_logits
from losscope.kernels.sharded.shard import is_dtensor
from losscope.losses import sharded
from losscope.losses.categorical import CrossEntropyLoss
from losscope.parallel import over_ranks


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    normalizer: float | Tensor | str | None = None,
    group: ProcessGroup | None = None,
    return_stats: bool = False,
    filter_eps: float | None = None,
    recompute: bool = False,
) -> Tensor | tuple[Tensor, Stats]:
    r"""Cross-entropy of z = x Wᵀ + b, in nats.

    Args:
        input: x, what the last linear layer is given, (N, D) or (D,).
        linear_weight: W, (H, D); or (H, d_1, …, D) for targets with further dimensions.
        target: y, indices (N,), (N, d_1, …) or (), or q, soft targets of the shape of the logits.
        linear_bias: b, of W's shape without D.
        weight: w_h, shape (H,).
        ignore_index: as :func:`losscope.cross_entropy` (None is its −100).
        reduction: as :func:`losscope.cross_entropy`.
        label_smoothing: as :func:`losscope.cross_entropy`.
        focal_gamma: as :func:`losscope.cross_entropy`.
        z_loss: as :func:`losscope.cross_entropy`.
        softcap: as :func:`losscope.cross_entropy`.
        normalizer: as :func:`losscope.cross_entropy`.
        group: the ranks over which the classes are shared out: ``linear_weight`` and ``linear_bias`` are this rank's
            rows (H_r, D) and (H_r,), and every rank holds the same ``input``
            (:func:`losscope.parallel.gather_rows` makes a sequence-parallel one whole). DTensors say this themselves.
        return_stats: as :func:`losscope.cross_entropy`.
        filter_eps: leave out of dx and dW what hardly counts, to save its multiplications. A class is left out of a
            chunk of rows when it is the target of none of them and |dz_ih| ≤ filter_eps |upstream_i| in all, where dz
            is the gradient of the logits and upstream that of ℓ_i: when no other option is set, where every ŷ_ih is
            that small. Each dz_ih is off by at most filter_eps |upstream_i|; loss, statistics and db are exact. None,
            few logits, and a chunk of which more than half of the classes would stay, leave nothing out.
        recompute: make the logits a second time for dW, some classes and all rows at a time. That takes 8 instead of 6
            operations for each of the N·D·H, but dW then is written once, in its own dtype: in float16 and bfloat16
            there is no float32 copy of it while it is summed, and on a GPU a chunk of logits is a fourth as large. In
            float32 on a CPU it saves nothing, for there the sum is dW itself.

    Returns:
        As :func:`losscope.cross_entropy` of ``torch.nn.functional.linear(input, linear_weight, linear_bias)``.

    Raises:
        InputError: shapes, dtypes, devices or options do not fit, or an index is out of range.

    Example:
        >>> x, w = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> linear_cross_entropy(x, w, torch.tensor([1]))
        tensor(0.3133)

    Source: :func:`torch.nn.functional.linear_cross_entropy`; for filter_eps and recompute Wijmans et al. 2024, Cut
    your losses in large-vocabulary language models (arXiv 2411.09009), section 4.3.
    """
    where = "linear_cross_entropy"
    options = CategoricalOptions(
        -100 if ignore_index is None else ignore_index,
        reduction,
        label_smoothing,
        focal_gamma,
        z_loss,
        softcap,
        normalizer,
        return_stats,
    )
    in_shards = group is not None or is_dtensor(linear_weight)
    if filter_eps is not None:
        _filter(where, filter_eps, options)
    if in_shards:
        _in_shards(where, filter_eps=filter_eps, recompute=recompute or None)
    loss = None
    if group is None:
        loss = direct.linear_cross_entropy(input, linear_weight, target, linear_bias, weight, options)
    if loss is not None:
        return loss
    if in_shards:
        return sharded.linear_cross_entropy(input, linear_weight, target, linear_bias, weight, options, group)
    _linear(where, input, linear_weight, linear_bias)
    logits = torch.empty(1, dtype=input.dtype, device=input.device).expand(*input.shape[:-1], *linear_weight.shape[:-1])
    validate.class_logits(where, logits)
    validate.class_target(where, logits, target, options.ignore_index)
    soft = target.is_floating_point()
    validate.categorical_options(where, options, soft=soft)
    if weight is not None:
        validate.class_weight(where, weight, input, linear_weight.shape[0])
    options = over_ranks(options, target, weight)
    return dispatch.linear_cross_entropy(
        input,
        linear_weight,
        target if soft else target.long(),
        linear_bias,
        weight,
        options,
        LinearOptions(filter_eps, recompute),
    )


def _filter(where: str, eps: object, options: CategoricalOptions) -> None:
    """``filter_eps`` is in [0, 1), and what it leaves out was not put there on purpose."""
    if not isinstance(eps, (int, float)) or isinstance(eps, bool) or not 0 <= eps < 1:
        raise InputError(
            where, "filter_eps: a number in [0, 1)", repr(eps), "give a small one, such as 2**-12, or None for all"
        )
    if options.label_smoothing:
        raise InputError(
            where,
            "filter_eps without label_smoothing",
            f"filter_eps={eps:g} with label_smoothing={options.label_smoothing:g}",
            "leave one of them out: the smoothing's share of each class is small, and so would be left out of most",
        )


def _in_shards(where: str, **given: object) -> None:
    """What is for a layer that is whole was not asked of a part of one."""
    for name, value in given.items():
        if value is not None:
            raise InputError(
                where, f"{name} with all classes on one rank", "a shard of them", f"leave {name} out, or the group"
            )


def _linear(where: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """The three fit together, before anything is multiplied."""
    validate.logits(where, x)
    validate.logits(where, weight, name="linear_weight")
    if x.ndim not in (1, 2) or weight.ndim < 2 or x.shape[-1] != weight.shape[-1]:
        raise InputError(
            where,
            "input (N, D) or (D,) and linear_weight (H, …, D)",
            f"input {describe(x)} and linear_weight {describe(weight)}",
            "flatten the input's leading dimensions into N, and give the weight as nn.Linear keeps it",
        )
    if x.ndim == 1 and weight.ndim > 2:
        raise InputError(
            where,
            "a batched input beside (H, d_1, …, D)",
            f"input {describe(x)}",
            "add a batch: input.unsqueeze(0)",
        )
    _same_kind(where, "linear_weight", weight, x)
    if bias is not None:
        validate.tensor(where, "linear_bias", bias)
        if bias.shape != weight.shape[:-1]:
            raise InputError(
                where,
                f"linear_bias of shape {tuple(weight.shape[:-1])}",
                describe(bias),
                "give one bias per output",
            )
        _same_kind(where, "linear_bias", bias, x)


def _same_kind(where: str, name: str, parameter: Tensor, x: Tensor) -> None:
    """A parameter has the input's device, and its dtype unless autocast converts both."""
    validate.same_device(where, name, parameter, x)
    if parameter.dtype != x.dtype and not in_autocast(x):
        raise InputError(
            where, f"{name} of the input's dtype, {x.dtype}", describe(parameter), "convert one: .to(input.dtype)"
        )


class LinearCrossEntropyLoss(CrossEntropyLoss):
    r"""The last linear layer and its cross-entropy as a module; its parameters have torch's names.

    ``activation`` and ``decode`` take what ``forward`` takes: the input of the linear layer.

    Example:
        >>> loss = LinearCrossEntropyLoss(2, 3)
        >>> x, y = torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])
        >>> loss(x, y)
        tensor(1.0986, grad_fn=<...>)
        >>> loss.decode(x)
        tensor([0, 0, 0, 0])

    Source: :class:`torch.nn.LinearCrossEntropyLoss`.
    """

    likelihood = CrossEntropyLoss.likelihood + r", \quad z_i = W x_i + b"

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        z_loss: float = 0.0,
        softcap: float | None = None,
        normalizer: float | Tensor | str | None = None,
        return_stats: bool = False,
        filter_eps: float | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__(
            weight,
            ignore_index=-100 if ignore_index is None else ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
            focal_gamma=focal_gamma,
            z_loss=z_loss,
            softcap=softcap,
            normalizer=normalizer,
            return_stats=return_stats,
        )
        self.filter_eps, self.recompute = filter_eps, recompute
        self.num_classes = num_classes
        self.out_features = out_features
        self.linear = nn.Linear(
            in_features, math.prod(out_features, start=num_classes), bias=bias, device=device, dtype=dtype
        )

    def forward(
        self, input: Tensor, target: Tensor, *, normalizer: float | Tensor | str | None = None
    ) -> Tensor | tuple[Tensor, Stats]:
        """The loss of the layer's logits, from its input."""
        options = self.options if normalizer is None else self.options._replace(normalizer=normalizer)
        return linear_cross_entropy(
            input,
            self._weight(),
            target,
            linear_bias=self._bias(),
            weight=self.weight,
            filter_eps=self.filter_eps,
            recompute=self.recompute,
            **options._asdict(),
        )

    def logits(self, x: Tensor) -> Tensor:
        """Z = W x + b."""
        return linear_logits(x, self._weight(), self._bias())

    def activation(self, x: Tensor) -> Tensor:
        """ŷ = softmax(W x + b)."""
        return super().activation(self.logits(x))

    def decode(self, x: Tensor) -> Tensor:
        """D = argmax_h (W x + b)_h."""
        return super().decode(self.logits(x))

    @property
    def formula(self) -> str:
        """The loss in LaTeX, with the options that are on."""
        return super().formula + r", \quad z_i = W x_i + b"

    def _weight(self) -> Tensor:
        return self.linear.weight.view(self.num_classes, *self.out_features, -1)

    def _bias(self) -> Tensor | None:
        bias: Tensor | None = self.linear.bias
        return None if bias is None else bias.view(self.num_classes, *self.out_features)
