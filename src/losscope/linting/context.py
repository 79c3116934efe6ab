"""What a rule may look at: outputs, targets, the loss, and what is known of the run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from losscope.errors import InputError
from losscope.kernels.reference import as_index
from losscope.linting.reading import Reading, read
from losscope.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, Loss, NLLLoss
from losscope.targets import class_dim


@dataclass(frozen=True)
class History:
    """What a training loop has seen before this batch.

    Attributes:
        divisors: of the means of the micro-batches that add up to one optimizer step, this one last:
            Σ v_i w_{y_i}, or the number of targets that count. Empty where nothing is accumulated.
        normalizer: the caller gave the divisor of the mean, so the counts do not matter.
    """

    divisors: tuple[float, ...] = ()
    normalizer: bool = False


@dataclass(frozen=True)
class Context:
    """One batch, or one file, of outputs and targets, and the loss they are meant for.

    Attributes:
        z: raw outputs as given, detached.
        y: targets as given.
        loss: the losscope loss.
        given: the loss as the caller named it; torch's own differs from ours in a few places.
        held_out: the samples were not trained on.
        step: the number of optimizer steps made before, None where it is not known.
        history: of a training loop, None elsewhere.
    """

    z: Tensor
    y: Tensor
    loss: Loss
    given: object = None
    held_out: bool = False
    step: int | None = None
    history: History | None = None

    @cached_property
    def likelihood(self) -> str:
        """Which likelihood the loss is, by the name of its function."""
        kinds = (
            (CrossEntropyLoss, "cross_entropy"),
            (NLLLoss, "nll_loss"),
            (BCEWithLogitsLoss, "binary_cross_entropy_with_logits"),
            (BCELoss, "binary_cross_entropy"),
        )
        return next((name for kind, name in kinds if isinstance(self.loss, kind)), "value")

    @cached_property
    def categorical(self) -> bool:
        """One of H classes is true."""
        return self.likelihood in ("cross_entropy", "nll_loss")

    @cached_property
    def torch_given(self) -> bool:
        """The caller's loss is torch's own, whose NaN and −inf corners differ from ours."""
        return isinstance(self.given, nn.Module) and not isinstance(self.given, Loss)

    @cached_property
    def weight(self) -> Tensor | None:
        """The weights of the loss."""
        return getattr(self.loss, "weight", None)

    @cached_property
    def ignore_index(self) -> float | None:
        """The target that does not count."""
        return getattr(self.loss, "ignore_index", None)

    def is_ignored(self, y: Tensor) -> Tensor:
        """Where a target does not count."""
        return torch.zeros_like(y, dtype=torch.bool) if self.ignore_index is None else as_index(y).eq(self.ignore_index)

    @cached_property
    def reduction(self) -> str:
        """The reduction of the loss."""
        return str(getattr(self.loss, "reduction", "mean"))

    @cached_property
    def num_classes(self) -> int:
        """H, 0 where the outputs have no dimension for it."""
        return self.z.shape[class_dim(self.z)] if self.z.ndim else 0

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """The least and the largest output, of all of them; NaN if there is one."""
        if self.z.numel() == 0 or self.z.is_complex():
            return (torch.nan, torch.nan)
        low, high = self.z.aminmax()
        return float(low), float(high)

    @cached_property
    def reading(self) -> Reading | None:
        """Outputs and targets as rows, where they can be made to fit; None where they cannot."""
        return read(self.z, self.y, self.categorical, self.ignore_index)

    @cached_property
    def rows(self) -> Tensor | None:
        """Outputs as rows (n, H) without NaN, +inf or rows that are all −inf; also where the targets do not fit."""
        r = self._outputs
        return None if r is None else r.z[r.finite]

    @cached_property
    def dtype(self) -> torch.dtype:
        """The precision of the outputs."""
        return self.z.dtype if self._outputs is None else self._outputs.dtype

    @cached_property
    def part(self) -> str:
        """Which part of the outputs was read, to be said in the evidence."""
        return "" if self._outputs is None else self._outputs.part

    @cached_property
    def _outputs(self) -> Reading | None:
        if self.reading is not None or self.z.ndim < 2:
            return self.reading
        return read(self.z, torch.zeros_like(self.z), self.categorical, None)

    @cached_property
    def _has_samples_alone(self) -> bool:
        """Whether the first dimension is that of the samples, and no weight of the loss has one for them too."""
        if not (self.z.ndim and self.y.ndim and self.z.shape[0] == self.y.shape[0]):
            return False
        if self.categorical:
            return self.z.ndim > 1
        weights = (self.weight, getattr(self.loss, "pos_weight", None))
        return all(w is None or w.ndim < self.z.ndim or w.shape[0] == 1 for w in weights)

    @cached_property
    def raised(self) -> InputError | None:
        """What the loss says of the first few samples, if it cannot be computed."""
        few = slice(8) if self._has_samples_alone else slice(None)
        z, y = (x[few] if x.ndim else x for x in (self.z, self.y))
        try:
            with torch.no_grad():
                self.loss.forward(z, y)  # without the hooks that others may have put on it
        except InputError as error:
            return error
        return None
