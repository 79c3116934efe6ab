"""From what a caller has, a name or a torch module, to the loss of losscope with the same options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from losscope.errors import InputError, describe
from losscope.losses.base import Loss
from losscope.losses.binary import BCELoss, BCEWithLogitsLoss
from losscope.losses.categorical import CrossEntropyLoss, NLLLoss
from losscope.losses.linear import LinearCrossEntropyLoss
from losscope.losses.regression import MSELoss, MSLELoss

LOSS_NAMES: Mapping[str, type[Loss]] = MappingProxyType(
    {
        "cross_entropy": CrossEntropyLoss,
        "nll": NLLLoss,
        "nll_loss": NLLLoss,
        "bce_with_logits": BCEWithLogitsLoss,
        "binary_cross_entropy_with_logits": BCEWithLogitsLoss,
        "bce": BCELoss,
        "binary_cross_entropy": BCELoss,
        "mse": MSELoss,
        "mse_loss": MSELoss,
        "msle": MSLELoss,
        "mean_squared_log_error": MSLELoss,
    }
)
"""Every name of a loss that needs nothing but its defaults; the classes' own names are known too."""


def as_loss(loss: Loss | nn.Module | str, *, where: str = "as_loss") -> Loss:
    """The losscope loss that ``loss`` stands for, with the same options, weights and parameters.

    Args:
        loss: a losscope loss (returned as it is), the name of one ("cross_entropy", "CrossEntropyLoss",
            "bce_with_logits", …), or a torch module: CrossEntropyLoss, NLLLoss, BCELoss, BCEWithLogitsLoss, MSELoss
            or LinearCrossEntropyLoss. Tensors are shared with it, not copied.
        where: who asks, for the text of the error.

    Raises:
        InputError: it is none of these; the text lists them.

    Example:
        >>> as_loss(torch.nn.CrossEntropyLoss(label_smoothing=0.1))
        CrossEntropyLoss(label_smoothing=0.1)
        >>> as_loss("bce_with_logits")
        BCEWithLogitsLoss()
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        return _from_name(loss, where)
    for theirs, convert in _FROM_TORCH.items():
        # A subclass that computes something else is another loss.
        if isinstance(loss, theirs) and type(loss).forward is theirs.forward:
            return convert(loss)
    came = f"the class {loss.__name__}" if isinstance(loss, type) else describe(loss)
    fix = "pass an instance of it" if isinstance(loss, type) else "pass one of these"
    raise InputError(where, f"a loss, its name or its torch module ({_known()})", came, fix)


def _from_name(name: str, where: str) -> Loss:
    kind = LOSS_NAMES.get(name) or {kind.__name__: kind for kind in LOSS_NAMES.values()}.get(name)
    if kind is None:
        sized = name in ("linear_cross_entropy", "LinearCrossEntropyLoss")
        fix = "pass the module itself: it holds the layer" if sized else "choose one of these names"
        raise InputError(where, f"the name of a loss ({_known()})", repr(name), fix)
    return kind()


def _known() -> str:
    return ", ".join([*LOSS_NAMES, *dict.fromkeys(k.__name__ for k in LOSS_NAMES.values()), "LinearCrossEntropyLoss"])


def _cross_entropy(loss: nn.CrossEntropyLoss) -> Loss:
    return CrossEntropyLoss(
        loss.weight, ignore_index=loss.ignore_index, reduction=loss.reduction, label_smoothing=loss.label_smoothing
    )


def _nll(loss: nn.NLLLoss) -> Loss:
    return NLLLoss(loss.weight, ignore_index=loss.ignore_index, reduction=loss.reduction)


def _bce_with_logits(loss: nn.BCEWithLogitsLoss) -> Loss:
    return BCEWithLogitsLoss(loss.weight, reduction=loss.reduction, pos_weight=loss.pos_weight)


def _bce(loss: nn.BCELoss) -> Loss:
    return BCELoss(loss.weight, reduction=loss.reduction)


def _mse(loss: nn.MSELoss) -> Loss:
    return MSELoss(reduction=loss.reduction)


def _linear_cross_entropy(loss: nn.LinearCrossEntropyLoss) -> Loss:
    ours = LinearCrossEntropyLoss(
        loss.linear.in_features,
        loss.num_classes,
        out_features=loss.out_features,
        bias=loss.linear.bias is not None,
        device="meta",  # the layer is theirs, so none is allocated here
        weight=loss.weight,
        ignore_index=loss.ignore_index,
        reduction=loss.reduction,
        label_smoothing=loss.label_smoothing,
    )
    ours.linear = loss.linear
    return ours


_FROM_TORCH: dict[type[nn.Module], Callable[..., Loss]] = {
    nn.CrossEntropyLoss: _cross_entropy,
    nn.NLLLoss: _nll,
    nn.BCEWithLogitsLoss: _bce_with_logits,
    nn.BCELoss: _bce,
    nn.MSELoss: _mse,
    nn.LinearCrossEntropyLoss: _linear_cross_entropy,
}
