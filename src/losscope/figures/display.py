"""What a figure of data is drawn from: a display keeps its numbers as attributes, as scikit-learn's displays do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import plotly.graph_objects as go
from torch import Tensor, nn

from losscope.errors import InputError
from losscope.losses import Loss, as_loss
from losscope.summary import RegressionSummary, SummaryResult, summarize


class Display(ABC):
    """One question, its numbers and its figure.

    ``from_predictions`` measures raw outputs and targets, ``from_summary`` takes what has been measured already.
    """

    takes: ClassVar[tuple[type[SummaryResult], ...]]

    @classmethod
    def from_predictions(
        cls,
        z: Tensor,
        y: Tensor,
        *,
        loss: Loss | nn.Module | str = "cross_entropy",
        class_names: Sequence[str] | None = None,
    ) -> Any:
        """Of raw outputs z and targets y, as the loss takes them.

        Raises:
            InputError: they do not fit the loss, or the loss has no such figure.
        """
        return cls.from_summary(summarize(as_loss(loss), z, y, labels=class_names))

    @classmethod
    def from_summary(cls, summary: SummaryResult) -> Any:
        """Of what a pass over outputs and targets has measured.

        Raises:
            InputError: the summary is of a loss that has no such figure, or lacks these numbers.
        """
        if not isinstance(summary, cls.takes):
            kinds = " or ".join(kind.__name__ for kind in cls.takes)
            raise InputError(
                cls.__name__, f"a {kinds}", f"a {type(summary).__name__}", "choose a figure of this kind of loss"
            )
        return cls._read(summary)

    @classmethod
    @abstractmethod
    def _read(cls, summary: Any) -> Any:
        """The numbers out of a summary of the right kind."""

    @abstractmethod
    def plot(self) -> go.Figure:
        """The figure."""

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> Any:
        """In a notebook a display is its figure."""
        return self.plot()._repr_mimebundle_(*args, **kwargs)


def unit_of_loss(summary: SummaryResult) -> str:
    """What ℓ is measured in."""
    if not isinstance(summary, RegressionSummary):
        return "nats"
    return "nats²" if summary.unit == "nats" else "squared unit of the target"
