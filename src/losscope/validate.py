"""The checks at the edge: every loss makes them before it does any work.

One may come later: whether soft targets and labels are in [0, 1] a fused kernel sees on its way.

What the values hold is checked where they can be read (plain CPU tensors); inside ``torch.compile`` and
``torch.func``, and on other devices, the shapes, dtypes and options are, and torch's own device-side
assertions guard the indices.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from losscope.errors import InputError, describe, position
from losscope.kernels import indices
from losscope.kernels.indices import extremes
from losscope.kernels.options import BinaryOptions, CategoricalOptions
from losscope.kernels.readable import readable
from losscope.kernels.reference import class_dim

_REDUCTIONS = ("none", "mean", "sum")
_ROUNDING = 1e-6  # of a distribution that was added up in float32
_DEFAULT_CATEGORICAL = CategoricalOptions()


# --------------------------------------------------------------------------------------------- raw outputs


def tensor(where: str, name: str, x: object) -> None:
    """``x`` is a tensor."""
    if not isinstance(x, Tensor):
        raise InputError(where, f"{name} as a tensor", describe(x), f"make it one: torch.as_tensor({name})")


def logits(where: str, z: object, dtype: torch.dtype | None = None, name: str = "input") -> None:
    """``z`` is a floating tensor, or a real one that will be converted to the floating ``dtype``."""
    tensor(where, name, z)
    assert isinstance(z, Tensor)
    if dtype is not None:
        _floating(where, dtype)
    if z.is_complex() or (dtype is None and not z.is_floating_point()):
        raise InputError(
            where,
            f"{'raw outputs' if name == 'input' else name} of a floating dtype",
            describe(z),
            "take the real part or the modulus first" if z.is_complex() else "convert them with .float()",
        )


def _floating(where: str, dtype: object) -> None:
    """``dtype`` is one that can hold a probability."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InputError(where, "a floating dtype", repr(dtype), "give one, or leave it out")


def one_dim(where: str, z: Tensor, dim: object) -> int:
    """``dim``, which is one of z's dimensions."""
    n, i = max(z.ndim, 1), whole(dim)
    if i is None or not -n <= i < n:
        raise InputError(where, f"dim in {-n}…{n - 1} for {z.ndim} dimensions", repr(dim), "name one of them")
    return i


def some_dims(where: str, z: Tensor, dim: object) -> int | tuple[int, ...]:
    """``dim``, which is one of z's dimensions or several; () are all of them, as torch has it."""
    if not isinstance(dim, (tuple, list)):
        return one_dim(where, z, dim)
    dims = tuple(one_dim(where, z, one) for one in dim)
    if len({i % max(z.ndim, 1) for i in dims}) < len(dims):
        raise InputError(where, "each dim once", repr(dim), "leave the repeated one out")
    return dims or tuple(range(z.ndim))


def whole(x: object) -> int | None:
    """``x`` as an int, where Python takes it for one; a truth value, which torch takes for a mask, is none."""
    if isinstance(x, bool) or (isinstance(x, Tensor) and x.dtype == torch.bool):
        return None
    try:
        return operator.index(x)  # type: ignore[arg-type]
    except TypeError:
        return None


def class_logits(where: str, z: object) -> None:
    """``z`` has a dimension for the classes, and at least one class."""
    logits(where, z)
    assert isinstance(z, Tensor)
    if z.ndim == 0:
        raise InputError(
            where,
            "raw outputs (N, H), (N, H, d_1, …) or (H,)",
            describe(z),
            "keep the dimension of the classes; one output per sample is a case for binary_cross_entropy_with_logits",
        )
    if z.shape[class_dim(z)] == 0:
        raise InputError(where, "at least one class in dimension 1", describe(z), "check the last layer's size")


def overwritable(where: str, z: Tensor) -> None:
    """``z`` was computed, so that its gradient may take its memory: no parameter lies there."""
    owner = z if z._base is None else z._base
    if z.requires_grad and owner.is_leaf:
        raise InputError(
            where,
            "raw outputs that were computed, beside inplace_backward",
            f"a leaf, or a view of one: {describe(z)}",
            "leave inplace_backward out: input.grad would lie where input does",
        )


# ------------------------------------------------------------------------------------------------- targets


def index_target(where: str, z: Tensor, y: object, ignore_index: int, num_classes: int | None = None) -> None:
    """``y`` is an index target of the samples of ``z``, which may hold only some of ``num_classes``."""
    tensor(where, "target", y)
    assert isinstance(y, Tensor)
    expected = z.shape[:1] + z.shape[2:] if z.ndim > 1 else z.shape[:0]
    if y.dtype is not torch.int64:
        _index_dtype(where, z, y, expected)
    if y.shape != expected:
        _index_shape(where, z, y, expected)
    if y.dtype is not torch.int64:
        y = y.long()  # in eight bits −100 would be 156
    same_device(where, "target", y, z)
    index_values(where, y, z.shape[class_dim(z)] if num_classes is None else num_classes, ignore_index)


def class_target(where: str, z: Tensor, target: object, ignore_index: int, num_classes: int | None = None) -> None:
    """``target`` is an index target, or a soft one: floating and of the shape of ``z``, with values in [0, 1]."""
    class_target_type(where, z, target, ignore_index, num_classes)
    soft_values(where, target)


def soft_values(where: str, target: object) -> None:
    """What of a class target's values is left to check when its type is known."""
    if isinstance(target, Tensor) and target.is_floating_point():
        unit_interval(where, "soft targets", target, slack=_ROUNDING)


def class_target_type(where: str, z: Tensor, target: object, ignore_index: int, num_classes: int | None = None) -> None:
    """An index target, looked at in full, or a soft one, whose values :func:`soft_values` checks."""
    if isinstance(target, Tensor) and target.shape == z.shape and target.is_floating_point():
        integer(where, "ignore_index", ignore_index)
        if ignore_index >= 0:
            raise InputError(
                where,
                "no ignore_index beside soft targets",
                f"ignore_index={ignore_index} and a target of {describe(target)}",
                "leave the samples out by indexing both tensors, or give their rows q = 0 and a normalizer",
            )
        same_device(where, "target", target, z)
    else:
        index_target(where, z, target, ignore_index, num_classes)


def index_values(where: str, y: Tensor, num_classes: int, ignore_index: int) -> None:
    """Every index is in 0…H−1 or is ``ignore_index``."""
    if readable(y):
        indices.check(where, y, num_classes, ignore_index)


def _index_dtype(where: str, z: Tensor, y: Tensor, expected: Sequence[int]) -> None:
    """Integers of any width are indices; say what else was meant by anything else."""
    if y.dtype == torch.bool:
        fix = "make it an index with .long()" if y.shape == expected else "make it a soft target with .to(input.dtype)"
        raise InputError(where, "class indices, or probabilities of a floating dtype", f"boolean: {describe(y)}", fix)
    if y.is_complex():
        raise InputError(where, "class indices", describe(y), "convert them with .real.long()")
    if y.is_floating_point() and y.shape == expected:
        raise InputError(where, "class indices of an integer dtype", describe(y), "convert them with .long()")


def _index_shape(where: str, z: Tensor, y: Tensor, expected: Sequence[int]) -> NoReturn:
    came = f"target {describe(y)} for input {describe(z)}"
    raise InputError(where, f"an index target of shape {tuple(expected)}", came, _shape_remedy(z, y, expected))


def _shape_remedy(z: Tensor, y: Tensor, expected: Sequence[int]) -> str:
    """The most likely meaning of a target whose shape does not fit."""
    if y.shape == z.shape:
        return "integer one-hot: convert it with .to(input.dtype), or make it an index with .argmax(1)"
    if y.ndim == len(expected) + 1 and tuple(y.squeeze(class_dim(y)).shape) == tuple(expected):
        return "an extra dimension of length 1: drop it with .squeeze(1)"
    if z.ndim > 2 and tuple(y.shape) == tuple(z.shape[:-1]):
        return "the classes seem to be last: move them to dimension 1 with input.movedim(-1, 1)"
    if y.ndim == len(expected) and y.ndim and y.shape[0] != expected[0]:
        return "the batch sizes differ: check how input and target were batched"
    return "the target has the input's shape without dimension 1, the classes"


# ------------------------------------------------------------------------------------ elementwise targets


def same_shape(where: str, z: Tensor, x: object, name: str = "target") -> None:
    """``x`` has z's shape: nothing is broadcast in silence."""
    tensor(where, name, x)
    assert isinstance(x, Tensor)
    if x.shape != z.shape:
        raise InputError(
            where,
            f"a {name} of the input's shape {tuple(z.shape)}",
            describe(x),
            "reshape one of them (.unsqueeze(1) or .squeeze(1)): broadcasting would pair every sample with every other",
        )
    same_device(where, name, x, z)


def label_target(where: str, z: Tensor, target: Tensor, ignore_index: float | None = None) -> None:
    """``target`` holds a probability for every label of ``z``."""
    label_dtype(where, z, target)
    unit_interval(where, "targets", target, ignore_index)


def label_dtype(where: str, z: Tensor, target: object) -> None:
    """``target`` is floating and has the shape of ``z``."""
    same_shape(where, z, target)
    assert isinstance(target, Tensor)
    if not target.is_floating_point():
        kind = "boolean" if target.dtype == torch.bool else "integer"
        raise InputError(
            where,
            "a target of a floating dtype",
            f"{kind}: {describe(target)}",
            "convert it with .to(input.dtype)",
        )


def unit_interval(where: str, name: str, x: Tensor, ignored: float | None = None, *, slack: float = 0.0) -> None:
    """Every value is in [0, 1], or above by no more than the ``slack``, or is the ignored one."""
    if not readable(x) or x.numel() == 0:
        return
    lowest, highest = extremes(x)
    if lowest >= 0 and highest <= 1 + slack:
        return
    bad = ~((x >= 0) & (x <= 1 + slack))
    bad = bad if ignored is None else bad & (x != ignored)
    if not bool(bad.any()):
        return
    first = int(bad.flatten().int().argmax())
    value = x.flatten()[first].item()
    raise InputError(
        where,
        f"{name} in [0, 1]",
        f"{value:.6g} at {position(first, tuple(x.shape))} in {describe(x)}",
        "map −1 to 0 if the labels are ±1"
        if value == -1
        else "pass probabilities; raw outputs go to the loss with logits",
    )


def hard_labels(where: str, target: Tensor, ignored: float | None) -> None:
    """Every label is 0 or 1: the focal factor has no agreed meaning in between."""
    if not readable(target):
        return
    bad = (target != 0) & (target != 1)
    bad = bad if ignored is None else bad & (target != ignored)
    if bool(bad.any()):
        first = int(bad.flatten().int().argmax())
        raise InputError(
            where,
            "labels that are 0 or 1 beside focal_gamma",
            f"{target.flatten()[first].item():.6g} at {position(first, tuple(target.shape))}",
            "harden the targets, or leave focal_gamma out: p_t is not defined for a soft label",
        )


def positive(where: str, name: str, x: Tensor) -> None:
    """Every value is above 0."""
    if readable(x) and x.numel() and not extremes(x)[0] > 0:
        first = int((~(x > 0)).flatten().int().argmax())
        raise InputError(
            where,
            f"{name} above 0",
            f"{x.flatten()[first].item():.6g} at {position(first, tuple(x.shape))} in {describe(x)}",
            "the logarithm of a value ≤ 0 does not exist: shift the values, or use mse_loss",
        )


# ------------------------------------------------------------------------------------------------- weights


def class_weight(where: str, weight: object, z: Tensor, num_classes: int) -> None:
    """``weight`` has one number for each class."""
    tensor(where, "weight", weight)
    assert isinstance(weight, Tensor)
    if weight.shape != (num_classes,) or not weight.is_floating_point():
        raise InputError(
            where,
            f"weight: one floating number for each of the {num_classes} classes, shape ({num_classes},)",
            describe(weight),
            "give one weight per class, in the order of the outputs",
        )
    same_device(where, "weight", weight, z)


def real(where: str, name: str, x: Tensor) -> None:
    """``x`` is not complex."""
    if x.is_complex():
        raise InputError(where, f"{name} of real numbers", describe(x), "take the real part or the modulus first")


def broadcastable(where: str, name: str, weight: object, z: Tensor) -> None:
    """``weight`` fits onto z without making it larger, as torch allows."""
    tensor(where, name, weight)
    assert isinstance(weight, Tensor)
    real(where, name, weight)
    sizes = zip(reversed(weight.shape), reversed(z.shape), strict=False)
    if weight.ndim > z.ndim or any(w not in (1, n) for w, n in sizes):
        raise InputError(
            where,
            f"{name} that broadcasts to the input's shape {tuple(z.shape)}",
            describe(weight),
            "give one number per label (the last dimension), or one per element",
        )
    same_device(where, name, weight, z)


def same_device(where: str, name: str, x: Tensor, z: Tensor) -> None:
    """Both tensors are on one device."""
    if x.device != z.device:
        raise InputError(
            where, f"{name} on {z.device}, beside input", str(x.device), f"move it: {name}.to(input.device)"
        )


# ------------------------------------------------------------------------------------------------- options


def reduction(where: str, value: object) -> None:
    """``reduction`` is one that torch knows."""
    if value not in _REDUCTIONS:
        raise InputError(where, "reduction 'none', 'mean' or 'sum'", repr(value), "choose one of the three")


def number(where: str, name: str, value: object, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """``value`` is a finite number in [low, high] (or above low)."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Comparisons, which a number that torch.compile takes for a variable has too.
    if is_number and -math.inf < value < math.inf and low <= value <= high and not (open_low and value == low):  # type: ignore[operator]
        return
    span = f"above {low:g}" if open_low else f"in [{low:g}, {high:g}]" if high < math.inf else f"at least {low:g}"
    raise InputError(where, f"{name}: a finite number {span}", repr(value), f"give {name} such a number")


def _are_equal(options: tuple[object, ...], others: tuple[object, ...]) -> bool:
    """Each of one type and value: what may be given instead of a number, such as an array, has no truth of its own."""
    return all(type(a) is type(b) and a == b for a, b in zip(options, others, strict=True))


def integer(where: str, name: str, value: object) -> None:
    """``value`` is an int of 64 bits."""
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise InputError(
            where, f"{name}: an int of 64 bits", repr(value), "pass the index that marks samples not to count"
        )


def categorical_options(where: str, options: CategoricalOptions, *, soft: bool) -> None:
    """Each option is in range, and the combination has a meaning."""
    normalizer = options.normalizer
    if normalizer is None and _are_equal(options, _DEFAULT_CATEGORICAL):
        return
    reduction(where, options.reduction)
    integer(where, "ignore_index", options.ignore_index)
    number(where, "label_smoothing", options.label_smoothing, 0, 1)
    number(where, "focal_gamma", options.focal_gamma, 0)
    number(where, "z_loss", options.z_loss, 0)
    if options.softcap is not None:
        number(where, "softcap", options.softcap, 0, open_low=True)
    if normalizer is not None:
        _normalizer(where, normalizer, options.reduction)
    if options.focal_gamma and (soft or options.label_smoothing):
        raise InputError(
            where,
            "focal_gamma with hard targets and no label smoothing",
            f"focal_gamma={options.focal_gamma:g} with "
            + ("soft targets" if soft else f"label_smoothing={options.label_smoothing:g}"),
            "leave one of them out: which probability the factor (1 − ŷ)^γ takes is not agreed for a soft target",
        )


def _normalizer(where: str, normalizer: object, reduction_name: str) -> None:
    if reduction_name != "mean":
        raise InputError(
            where,
            "normalizer with reduction='mean'",
            f"reduction={reduction_name!r}",
            "it is the divisor of the mean",
        )
    if isinstance(normalizer, str) and normalizer == "global":
        return
    if not isinstance(normalizer, Tensor):
        number(where, "normalizer", normalizer, 0, open_low=True)
    elif normalizer.numel() != 1 or (readable(normalizer) and not 0 < normalizer.item() < math.inf):
        raise InputError(
            where,
            "normalizer: one positive number",
            f"{describe(normalizer)}" + (f", {normalizer.item():g}" if normalizer.numel() == 1 else ""),
            "pass the count of valid targets",
        )


def binary_options(where: str, options: BinaryOptions) -> None:
    """Each option is in range, and the combination has a meaning."""
    reduction(where, options.reduction)
    number(where, "label_smoothing", options.label_smoothing, 0, 1)
    number(where, "focal_gamma", options.focal_gamma, 0)
    if options.ignore_index is not None:
        number(where, "ignore_index", options.ignore_index, -math.inf)
    if options.focal_gamma and options.label_smoothing:
        raise InputError(
            where,
            "focal_gamma without label_smoothing",
            f"focal_gamma={options.focal_gamma:g} with label_smoothing={options.label_smoothing:g}",
            "leave one of them out: p_t is not defined for a soft label",
        )
