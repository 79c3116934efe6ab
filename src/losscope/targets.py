"""Targets: what the truth looks like, how to recognise it, and how to turn one form into another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from losscope import validate
from losscope.errors import InputError, describe
from losscope.kernels.reference import class_dim

__all__ = ["TargetKind", "class_dim", "multi_hot", "one_hot", "recognise", "smooth", "to_index"]


class TargetKind(Enum):
    """The forms a target comes in; the value is its name in the notation table."""

    INDEX = "target index"
    ONE_HOT = "one-hot target"
    SOFT = "soft target"
    MULTI_HOT = "multi-hot target"
    VALUE = "value"


def one_hot(y: Tensor, num_classes: int, *, dtype: torch.dtype = torch.float32, ignore_index: int = -100) -> Tensor:
    """t_ih = [h = y_i], the class in dimension 1 (0 for a single index).

    Args:
        y: index target, integer, any shape.
        num_classes: H.
        dtype: of the result.
        ignore_index: where y has this value, the row is all 0.

    Returns:
        (N, H, …) for y of shape (N, …), and (H,) for a single index.

    Raises:
        InputError: ``y`` is not an integer tensor, or holds an index outside 0…H−1, or there is no class.

    Example:
        >>> one_hot(torch.tensor([1, 0]), 3)
        tensor([[0., 1., 0.],
                [1., 0., 0.]])

    Source: :func:`torch.nn.functional.one_hot`.
    """
    validate.tensor("one_hot", "y", y)
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        fix = "convert it with .real.long()" if y.is_complex() else "convert it with .long()"
        raise InputError("one_hot", "an integer index target", describe(y), fix)
    num_classes = _count("one_hot", "num_classes", num_classes, least=1)
    y = y.long()
    counted = y != ignore_index
    if bool(((y < 0) | (y >= num_classes))[counted].any()):
        raise InputError(
            "one_hot",
            f"every index in 0…{num_classes - 1}",
            f"{y.tolist()}",
            "check num_classes and the labels",
        )
    t = F.one_hot(y.masked_fill(~counted, 0), num_classes) * counted.unsqueeze(-1)
    return t.movedim(-1, min(1, y.ndim)).to(dtype)


def to_index(t: Tensor) -> Tensor:
    """y_i from a one-hot t_ih, the class in dimension 1.

    Raises:
        InputError: ``t`` is no tensor, or a row is not one-hot, so that no single index says the same.

    Example:
        >>> to_index(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
        tensor([1, 0])
    """
    validate.tensor("to_index", "t", t)
    if not _is_one_hot(t, class_dim(t)):
        raise InputError("to_index", "one-hot rows: a single 1, the rest 0", describe(t), "keep it as a soft target")
    return (t == 1).byte().argmax(class_dim(t))  # of truth values and complex ones there is no argmax


def multi_hot(labels: Sequence[Iterable[int]], num_labels: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """m_ih = [h ∈ labels_i].

    Args:
        labels: for every sample the indices of its labels, none included.
        num_labels: H.
        dtype: of the result.

    Raises:
        InputError: a label is no integer, or is outside 0…H−1.

    Example:
        >>> multi_hot([[0, 2], []], 3)
        tensor([[1., 0., 1.],
                [0., 0., 0.]])
    """
    num_labels = _count("multi_hot", "num_labels", num_labels, least=0)
    m = torch.zeros(len(labels), num_labels, dtype=dtype)
    for i, row in enumerate(labels):
        for label in row:
            h = validate.whole(label)
            if h is None or not 0 <= h < num_labels:
                raise InputError(
                    "multi_hot",
                    f"labels in 0…{num_labels - 1}",
                    f"{label} in row {i}",
                    "check num_labels and the labels: they are the indices of those that are true",
                )
            m[i, h] = 1
    return m


def smooth(q: Tensor, epsilon: float) -> Tensor:
    """(1 − ε) q_ih + ε/H: what label smoothing makes of a target (Szegedy et al. 2016, section 7).

    Example:
        >>> smooth(torch.tensor([[0.0, 1.0]]), 0.2)
        tensor([[0.1000, 0.9000]])
    """
    return (1 - epsilon) * q + epsilon / q.shape[class_dim(q)]


def recognise(target: Tensor, outputs: Tensor, *, tolerance: float = 1e-3) -> TargetKind:
    """The kind of a target, from its shape, dtype and values.

    A guess to show and to check with, never one to compute with: the loss says what it takes.

    Args:
        target: any target.
        outputs: the raw outputs it belongs to.
        tolerance: how far a row of a soft target may be from summing to one.

    Raises:
        InputError: one of them is no tensor.

    Example:
        >>> recognise(torch.tensor([1, 0]), torch.zeros(2, 3))
        <TargetKind.INDEX: 'target index'>
        >>> recognise(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), torch.zeros(2, 3))
        <TargetKind.MULTI_HOT: 'multi-hot target'>
    """
    validate.tensor("recognise", "target", target)
    validate.tensor("recognise", "outputs", outputs)
    if target.shape != outputs.shape or outputs.ndim == 0:
        return TargetKind.VALUE if target.is_floating_point() else TargetKind.INDEX
    dim = class_dim(outputs)
    if bool(((target == 0) | (target == 1)).all()):
        return TargetKind.ONE_HOT if _is_one_hot(target, dim) else TargetKind.MULTI_HOT
    total = target.double().sum(dim)
    if bool((target >= 0).all()) and bool(((total - 1).abs() <= tolerance).all()):
        return TargetKind.SOFT
    return TargetKind.VALUE


def _count(where: str, name: str, number: object, least: int) -> int:
    """``number`` as an int: how many classes or labels there are."""
    count = validate.whole(number)
    if count is None or count < least:
        raise InputError(where, f"{name}: an int of at least {least}", repr(number), "give the size of the last layer")
    return count


def _is_one_hot(t: Tensor, dim: int) -> bool:
    return bool(((t == 0) | (t == 1)).all()) and bool((t.sum(dim) == 1).all())
