"""One error type for bad input: what was expected, what came, what to do."""

from __future__ import annotations

import torch


class InputError(ValueError):
    """Input that a loss cannot be computed from.

    Raised before any work is done, or before its result is returned where the work itself is what looks at the values.
    The text always has the same three parts, which are also attributes.

    Args:
        where: the function that was called.
        expected: what it takes.
        got: what came, with shapes, dtypes and the offending value.
        fix: what to do about it.

    Example:
        >>> raise InputError("nll_loss", "log-probabilities", "a string", "pass a tensor")
        Traceback (most recent call last):
        losscope.errors.InputError: nll_loss: expected log-probabilities; got a string. What to do: pass a tensor.
    """

    def __init__(self, where: str, expected: str, got: str, fix: str) -> None:
        super().__init__(where, expected, got, fix)
        self.where = where
        self.expected = expected
        self.got = got
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}; got {self.got}. What to do: {self.fix}."


class LosscopeWarning(UserWarning):
    """What losscope tells without stopping: a kernel that cannot be used, a finding of ``watch``."""


def describe(value: object) -> str:
    """A tensor as dtype and shape, anything else as its type.

    Example:
        >>> describe(torch.zeros(2, 3))
        'float32 of shape (2, 3)'
        >>> describe([1])
        'a list'
    """
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def position(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The subscripts of a flat index, to say where an offending value stands.

    Example:
        >>> position(5, (2, 3))
        (1, 2)
    """
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(index, device="cpu"), shape))
