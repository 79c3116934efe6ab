"""Which kernel serves a call. Nothing above this file knows which one ran.

``reference``  the formulas of the notation          when asked for by ``use("reference")``
``eager``      torch's own operators                 every other call
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.kernels import eager, reference
from losscope.kernels.options import BinaryOptions, CategoricalOptions, Stats
from losscope.kernels.protocol import Kernel

KERNELS: dict[str, Kernel] = {"reference": reference, "eager": eager}
_forced: ContextVar[Kernel | None] = ContextVar("losscope_kernel", default=None)


@contextmanager
def use(kernel: str) -> Iterator[None]:
    """Every loss inside the block is computed by this kernel.

    Args:
        kernel: a key of ``KERNELS``.

    Raises:
        InputError: there is no such kernel.

    Example:
        >>> import losscope as ls
        >>> with ls.kernels.use("reference"):
        ...     ls.cross_entropy(torch.tensor([[0.0, 5.0]]), torch.tensor([1]))
        tensor(0.0067)
    """
    if kernel not in KERNELS:
        raise InputError("use", f"one of {', '.join(KERNELS)}", repr(kernel), "name one of them")
    token = _forced.set(KERNELS[kernel])
    try:
        yield
    finally:
        _forced.reset(token)


def _kernel() -> Kernel:
    # torch.compile cannot read a context variable; the graph it makes is the fast one there.
    return eager if torch.compiler.is_compiling() else _forced.get() or eager


def sigmoid(z: Tensor) -> Tensor:
    return _kernel().sigmoid(z)


def log_sigmoid(z: Tensor) -> Tensor:
    return _kernel().log_sigmoid(z)


def softmax(z: Tensor, dim: int) -> Tensor:
    return _kernel().softmax(z, dim)


def log_softmax(z: Tensor, dim: int) -> Tensor:
    return _kernel().log_softmax(z, dim)


def logsumexp(z: Tensor, dim: int | tuple[int, ...], keepdim: bool) -> Tensor:
    return _kernel().logsumexp(z, dim, keepdim)


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor:
    return _kernel().nll_loss(s, y, weight, options)


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> Tensor | tuple[Tensor, Stats]:
    return _kernel().cross_entropy(z, target, weight, options)


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
) -> Tensor | tuple[Tensor, Stats]:
    return _kernel().linear_cross_entropy(x, linear_weight, target, linear_bias, weight, options)


def binary_cross_entropy_with_logits(
    z: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, options: BinaryOptions
) -> Tensor:
    return _kernel().binary_cross_entropy_with_logits(z, target, weight, pos_weight, options)


def binary_cross_entropy(probability: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _kernel().binary_cross_entropy(probability, target, weight, reduction)


def mse_loss(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _kernel().mse_loss(z, target, weight, reduction)


def mean_squared_log_error(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _kernel().mean_squared_log_error(z, target, weight, reduction)
