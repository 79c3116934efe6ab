"""Which kernel serves a call. Nothing above this file knows which one ran.

=============  ===================================  ==========================================================
kernel         what it is                           the calls it serves
=============  ===================================  ==========================================================
``reference``  the formulas of the notation         those inside ``use("reference")``
``cpu``        fused, compiled by numba             plain CPU tensors of float16, bfloat16, float32 or float64
                                                    that are large enough, and in training, in float32 and one
                                                    piece, of any size (see ``direct``); what else it hands on to
                                                    ``eager``. A graph of ``torch.compile`` calls its losses as
                                                    operators
``triton``     fused, for GPUs, written in Triton   plain CUDA tensors of those dtypes that are large enough; what
                                                    else it hands on to ``eager``, and so every CPU tensor that
                                                    ``use("triton")`` gives it outside Triton's interpreter
``eager``      torch's own operators                every other: other small tensors, devices and dtypes,
                                                    ``torch.func``, what else is compiled, targets that need a
                                                    gradient
=============  ===================================  ==========================================================
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import cast

import torch
from torch import Tensor

from losscope.errors import InputError, LosscopeWarning
from losscope.kernels import eager, operator, value_operators
from losscope.kernels.options import BinaryOptions, CategoricalOptions, LinearOptions, Stats
from losscope.kernels.protocol import Kernel, Plain

KERNELS = ("reference", "eager", "cpu", "triton")

LARGE = 1 << 15
"""Raw outputs from which a fused kernel is faster than torch's operators are to call."""

LARGE_CATEGORICAL, LARGE_NARROW, NARROW = 1 << 17, 3 << 12, 16
"""The same for cross-entropy, and for one of fewer than 16 classes, with which torch's softmax is slow."""

LARGE_CALL = 1 << 17
"""The same for what takes longer to call: an operator in a compiled graph, a linear layer in chunks."""

LARGE_MEMORY = 1 << 21
"""The same for squares and picks, of which torch's operators are quick until their gradient leaves the cache."""

LARGE_CUDA = 1 << 20
"""On a GPU: below, torch's operators take longer to call than to run, and are fewer to call than the fused loss."""

_forced: ContextVar[Kernel | None] = ContextVar("losscope_kernel", default=None)
forced = _forced.get  # the kernel that is asked for by name


@contextmanager
def use(kernel: str) -> Iterator[None]:
    """Every loss inside the block is computed by this kernel.

    Args:
        kernel: one of ``KERNELS``.

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
    token = _forced.set(_load(kernel))
    try:
        yield
    finally:
        _forced.reset(token)


@cache
def _load(name: str) -> Kernel:
    """The kernel's module, imported on first use: numba takes a while. Torch's operators where it is missing."""
    try:
        return cast(Kernel, import_module(f"losscope.kernels.{name}"))
    except ImportError as error:
        warnings.warn(f"the {name} kernels cannot be used: {error}", LosscopeWarning, stacklevel=4)
        return eager


@cache
def plain() -> Plain | None:
    """The fused losses of plain calls; None where numba cannot be used."""
    return None if _load("cpu") is eager else cast(Plain, import_module("losscope.kernels.cpu.plain"))


def planned(z: Tensor) -> Plain | None:
    """The planned losses of the kernel for a GPU where it serves; None where there are none."""
    if type(z) is not Tensor or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return None
    kernel = forced() or (_load("triton") if z.is_cuda and z.numel() >= LARGE_CUDA else None)
    return cast("Plain | None", getattr(kernel, "planned", None))


def is_free() -> bool:
    """In eager mode, and no kernel asked for by name."""
    return not torch.compiler.is_compiling() and forced() is None


def _kernel(z: Tensor, large: int = LARGE, size: int | None = None) -> Kernel:
    """The kernel for these raw outputs, or for so many that are still to be made; the fused one if they are `large`."""
    if torch.compiler.is_compiling():  # it cannot read a context variable; the rest it fuses itself
        return eager
    if (kernel := forced()) is not None:
        return kernel
    size = z.numel() if size is None else size
    if z.is_cuda:
        return _load("triton") if size >= LARGE_CUDA else eager
    return _load("cpu") if z.is_cpu and size >= large else eager


def large_categorical(z: Tensor) -> int:
    """Raw outputs of so many classes from which the fused cross-entropy is faster."""
    return LARGE_NARROW if z.ndim > 1 and z.shape[1] < NARROW else LARGE_CATEGORICAL


def sigmoid(z: Tensor) -> Tensor:
    return _kernel(z).sigmoid(z)


def log_sigmoid(z: Tensor) -> Tensor:
    return _kernel(z).log_sigmoid(z)


def softmax(z: Tensor, dim: int) -> Tensor:
    return _kernel(z).softmax(z, dim)


def log_softmax(z: Tensor, dim: int) -> Tensor:
    return _kernel(z).log_softmax(z, dim)


def logsumexp(z: Tensor, dim: int | tuple[int, ...], keepdim: bool) -> Tensor:
    return _kernel(z).logsumexp(z, dim, keepdim)


def nll_loss(s: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions) -> Tensor:
    return _kernel(s, LARGE_MEMORY).nll_loss(s, y, weight, options)


def cross_entropy(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    options: CategoricalOptions,
    check: Callable[[], None],
    *,
    inplace_backward: bool = False,
) -> Tensor | tuple[Tensor, Stats]:
    """`check` refuses soft targets out of range: beforehand, or after a kernel that has looked at them on its way."""
    if operator.serves(z, target, weight, options) and z.numel() >= LARGE_CALL:
        return operator.cross_entropy(z, target, weight, options)
    kernel = _kernel(z, large_categorical(z))
    looking = getattr(kernel, "cross_entropy_looking", None)
    if looking is not None:
        return looking(z, target, weight, options, check)  # type: ignore[no-any-return]
    check()
    inplace = getattr(kernel, "cross_entropy_inplace", None) if inplace_backward else None
    return (inplace or kernel.cross_entropy)(z, target, weight, options)


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
    linear: LinearOptions,
) -> Tensor | tuple[Tensor, Stats]:
    logits = x.shape[:-1].numel() * linear_weight.shape[:-1].numel()
    kernel = _kernel(x, LARGE_CALL, logits)
    return kernel.linear_cross_entropy(x, linear_weight, target, linear_bias, weight, options, linear)


def binary_cross_entropy_with_logits(
    z: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    options: BinaryOptions,
    check: Callable[[], None],
) -> Tensor:
    """`check` refuses targets out of range: beforehand, or after a kernel that has looked at them on its way."""
    if value_operators.serves(z, target, weight, pos_weight) and z.numel() >= LARGE_CALL:
        return value_operators.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options)
    kernel = _kernel(z)
    looking = getattr(kernel, "binary_cross_entropy_with_logits_looking", None)
    if looking is not None:
        return looking(z, target, weight, pos_weight, options, check)  # type: ignore[no-any-return]
    check()
    return kernel.binary_cross_entropy_with_logits(z, target, weight, pos_weight, options)


def binary_cross_entropy(probability: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _kernel(probability).binary_cross_entropy(probability, target, weight, reduction)


def mse_loss(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if value_operators.serves(z, target, weight) and z.numel() >= LARGE_MEMORY:
        return value_operators.mse_loss(z, target, weight, reduction)
    return _kernel(z, LARGE_MEMORY).mse_loss(z, target, weight, reduction)


def mean_squared_log_error(z: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return _kernel(z, LARGE_MEMORY).mean_squared_log_error(z, target, weight, reduction)
