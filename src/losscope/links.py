"""Links: from raw outputs z to probabilities ŷ and back to a decision d.

A link is one half of what a loss is; the likelihood is the other. The functions here are drop-in for
``torch.nn.functional`` and ``torch``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from losscope.kernels import dispatch
from losscope.targets import class_dim
from losscope.validate import logits, one_dim, some_dims


def sigmoid(input: Tensor) -> Tensor:
    r"""ŷ = 1 / (1 + e^{−z}): the softmax of (0, z), its second entry.

    Args:
        input: z, floating, any shape.

    Returns:
        ŷ, same shape and dtype, each in [0, 1].

    Raises:
        InputError: ``input`` is no floating tensor.

    Example:
        >>> sigmoid(torch.tensor([0.0, 5.0]))
        tensor([0.5000, 0.9933])

    Source: :func:`torch.sigmoid`.
    """
    logits("sigmoid", input)
    return dispatch.sigmoid(input)


def log_sigmoid(input: Tensor) -> Tensor:
    r"""Ln ŷ = min(z, 0) − ln(1 + e^{−|z|}): exact where ln(sigmoid(z)) is −inf.

    Args:
        input: z, floating, any shape.

    Returns:
        ln ŷ in nats, same shape and dtype, each ≤ 0.

    Raises:
        InputError: ``input`` is no floating tensor.

    Example:
        >>> log_sigmoid(torch.tensor([0.0, -200.0]))
        tensor([  -0.6931, -200.0000])

    Source: :func:`torch.nn.functional.logsigmoid`.
    """
    logits("log_sigmoid", input)
    return dispatch.log_sigmoid(input)


def softmax(input: Tensor, dim: int = -1, dtype: torch.dtype | None = None) -> Tensor:
    r"""ŷ_h = e^{z_h} / Σ_k e^{z_k}.

    Args:
        input: z, floating, at least one dimension.
        dim: the dimension of the classes. torch guesses when it is left out; here it is the last.
        dtype: computed in and returned as this dtype.

    Returns:
        ŷ, same shape, summing to one along ``dim``. A −inf logit is a mask: its probability is 0.

    Raises:
        InputError: ``input`` or ``dtype`` is not floating, or ``dim`` is out of range.

    Example:
        >>> softmax(torch.tensor([0.0, 5.0]))
        tensor([0.0067, 0.9933])

    Source: :func:`torch.softmax`.
    """
    logits("softmax", input, dtype)
    dim = one_dim("softmax", input, dim)
    return dispatch.softmax(input if dtype is None else input.to(dtype), dim)


def log_softmax(input: Tensor, dim: int = -1, dtype: torch.dtype | None = None) -> Tensor:
    r"""s_h = z_h − ln Σ_k e^{z_k}, with the maximum taken out of the sum.

    Args:
        input: z, floating, at least one dimension.
        dim: the dimension of the classes. torch guesses when it is left out; here it is the last.
        dtype: computed in and returned as this dtype.

    Returns:
        s in nats, same shape, each ≤ 0, with Σ_h e^{s_h} = 1 along ``dim``.

    Raises:
        InputError: ``input`` or ``dtype`` is not floating, or ``dim`` is out of range.

    Example:
        >>> log_softmax(torch.tensor([0.0, 1000.0]))
        tensor([-1000.,     0.])

    Source: :func:`torch.log_softmax`.
    """
    logits("log_softmax", input, dtype)
    dim = one_dim("log_softmax", input, dim)
    return dispatch.log_softmax(input if dtype is None else input.to(dtype), dim)


def logsumexp(input: Tensor, dim: int | tuple[int, ...] = -1, keepdim: bool = False) -> Tensor:
    r"""Ln Σ_h e^{z_h} = m + ln Σ_h e^{z_h − m}, m = max_h z_h: a smooth maximum.

    Args:
        input: z, floating, at least one dimension.
        dim: the dimension, or dimensions, to sum over; () are all of them.
        keepdim: keep them with length 1.

    Returns:
        In nats, without ``dim``. −inf where every logit is −inf.

    Raises:
        InputError: ``input`` is no floating tensor, or ``dim`` is out of range or named twice.

    Example:
        >>> logsumexp(torch.tensor([1000.0, 1000.0]))
        tensor(1000.6932)

    Source: :func:`torch.logsumexp`.
    """
    logits("logsumexp", input)
    return dispatch.logsumexp(input, some_dims("logsumexp", input, dim), keepdim)


@dataclass(frozen=True, slots=True)
class Link:
    """How raw outputs become an estimate, and an estimate a decision.

    Attributes:
        name: the field's name of the link.
        activation: raw outputs to the estimate (ŷ, or a value).
        decide: raw outputs to the decision, without the detour over probabilities.
        formula: the activation in LaTeX.
        space: what the raw outputs are: "logit", "log-probability", "probability", "value" or "log-value".
    """

    name: str
    activation: Callable[[Tensor], Tensor]
    decide: Callable[[Tensor], Tensor]
    formula: str
    space: str


def _argmax(z: Tensor) -> Tensor:
    return z.argmax(class_dim(z))


def _identity(z: Tensor) -> Tensor:
    return z


SOFTMAX = Link(
    "softmax",
    lambda z: softmax(z, class_dim(z)),
    _argmax,
    r"\hat{y}_{ih} = \frac{e^{z_{ih}}}{\sum_k e^{z_{ik}}}",
    "logit",
)
EXP_CATEGORICAL = Link("exp", torch.exp, _argmax, r"\hat{y}_{ih} = e^{s_{ih}}", "log-probability")
SIGMOID = Link("sigmoid", sigmoid, lambda z: z > 0, r"\hat{y}_{ih} = \frac{1}{1 + e^{-z_{ih}}}", "logit")
IDENTITY_BINARY = Link("identity", _identity, lambda p: p > 0.5, r"\hat{y}_{ih}", "probability")
IDENTITY = Link("identity", _identity, _identity, r"\hat{y}_{ih} = z_{ih}", "value")
EXP = Link("exp", torch.exp, torch.exp, r"\hat{y}_{ih} = e^{z_{ih}}", "log-value")
