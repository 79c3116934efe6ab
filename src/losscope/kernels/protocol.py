"""What a kernel computes: one function for each link and each loss, for any input that the edge lets through."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from losscope.kernels.options import BinaryOptions, CategoricalOptions, LinearOptions, Stats


class Plain(Protocol):
    """A module of losses whose calls are planned; each gives None where it does not serve after all."""

    def cross_entropy(
        self,
        z: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        reduction: str,
        extras: tuple[object, ...],
        /,
    ) -> Tensor | None: ...
    def binary_cross_entropy_with_logits(self, z: Tensor, target: Tensor, reduction: str, /) -> Tensor | None: ...


class Kernel(Protocol):
    """A module with these functions. Arguments are positional and already checked."""

    def sigmoid(self, z: Tensor, /) -> Tensor: ...
    def log_sigmoid(self, z: Tensor, /) -> Tensor: ...
    def softmax(self, z: Tensor, dim: int, /) -> Tensor: ...
    def log_softmax(self, z: Tensor, dim: int, /) -> Tensor: ...
    def logsumexp(self, z: Tensor, dim: int | tuple[int, ...], keepdim: bool, /) -> Tensor: ...
    def nll_loss(self, s: Tensor, y: Tensor, weight: Tensor | None, options: CategoricalOptions, /) -> Tensor: ...
    def cross_entropy(
        self, z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, /
    ) -> Tensor | tuple[Tensor, Stats]: ...
    def linear_cross_entropy(
        self,
        x: Tensor,
        linear_weight: Tensor,
        target: Tensor,
        linear_bias: Tensor | None,
        weight: Tensor | None,
        options: CategoricalOptions,
        linear: LinearOptions,
        /,
    ) -> Tensor | tuple[Tensor, Stats]: ...
    def binary_cross_entropy_with_logits(
        self,
        z: Tensor,
        target: Tensor,
        weight: Tensor | None,
        pos_weight: Tensor | None,
        options: BinaryOptions,
        /,
    ) -> Tensor: ...
    def binary_cross_entropy(
        self, probability: Tensor, target: Tensor, weight: Tensor | None, reduction: str, /
    ) -> Tensor: ...
    def mse_loss(self, z: Tensor, target: Tensor, weight: Tensor | None, reduction: str, /) -> Tensor: ...
    def mean_squared_log_error(self, z: Tensor, target: Tensor, weight: Tensor | None, reduction: str, /) -> Tensor: ...
