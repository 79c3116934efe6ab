"""A loss is a link, a likelihood and a decision."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from torch import Tensor, nn

from losscope.kernels.options import BinaryOptions, CategoricalOptions
from losscope.links import Link
from losscope.targets import TargetKind

Options = TypeVar("Options", CategoricalOptions, BinaryOptions)


class Loss(nn.Module):
    """What every loss knows: what the network's raw outputs mean, and what to make of them.

    Attributes:
        link: how raw outputs become an estimate.
        target_kind: the form of the targets.
        likelihood: the loss of one sample in LaTeX, without its options.
    """

    link: ClassVar[Link]
    target_kind: ClassVar[TargetKind]
    likelihood: ClassVar[str]

    def activation(self, z: Tensor) -> Tensor:
        """The estimate ŷ that raw outputs stand for."""
        return self.link.activation(z)

    def decode(self, z: Tensor) -> Tensor:
        """The decision d, from raw outputs; give it what the loss is given, never ``activation(z)``."""
        return self.link.decide(z)

    @property
    def takes_indices(self) -> bool:
        """Whether a target may be the number of a class."""
        return self.target_kind is TargetKind.INDEX

    @property
    def formula(self) -> str:
        """The loss in LaTeX, in the notation of :mod:`losscope.notation`, with the options that are on."""
        return self.likelihood


def register_weight(module: nn.Module, name: str, weight: Tensor | None) -> None:
    """Keep a weight as a buffer: it moves with the module and is saved with it, as torch's do."""
    module.register_buffer(name, weight)


def read_options(module: nn.Module, kind: type[Options]) -> Options:
    """The module's attributes of the names of the options, as that tuple."""
    return kind(*(getattr(module, name) for name in kind._fields))


def options_repr(options: CategoricalOptions | BinaryOptions) -> str:
    """The options that differ from their defaults, for ``extra_repr``."""
    defaults = options._field_defaults
    changed = {name: value for name, value in options._asdict().items() if value is not defaults[name]}
    return ", ".join(f"{name}={value!r}" for name, value in changed.items() if value != defaults[name])
