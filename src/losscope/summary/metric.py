"""``Summary``: a pass over outputs and targets as a ``torchmetrics.Metric``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from losscope.errors import InputError
from losscope.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Loss,
    MSELoss,
    NLLLoss,
    as_loss,
)
from losscope.summary.binary import Binary
from losscope.summary.categorical import Categorical
from losscope.summary.regression import Regression
from losscope.summary.result import SummaryResult

Pass = Categorical | Binary | Regression


class Summary(Metric):
    r"""What a pass over raw outputs and targets measures, in memory that does not grow with the samples.

    A loss of one of H classes gives a :class:`CategoricalSummary`, a binary one a :class:`BinarySummary`, a squared
    error a :class:`RegressionSummary`; they say what is in them. Everything is computed in float64 from the raw
    outputs, and all sums are exact (:mod:`losscope.summary.exact`) until the last step rounds once. So the result
    is the same to the last digit however the samples are batched, in whatever order they come, and on however many
    ranks. (Two exceptions: with ``LinearCrossEntropyLoss`` the logits themselves depend on the batch, and above
    ``class_limit`` classes with more than 131,072 different mistakes the counts of mistakes are bounds.)

    It is a ``torchmetrics.Metric``: ``forward``, ``reset``, ``MetricCollection``, ``state_dict`` and the sync over
    ranks on ``compute`` work as usual. Raw outputs on another device are copied to the CPU block by block.

    Args:
        loss: a loss of losscope, its name, or a torch loss module.
        labels: the names of the classes, in the order of the outputs.
        top_k: the k of the top-k accuracies.
        worst: how many of the worst samples are kept.
        class_limit: up to so many classes everything is kept by class, and the whole confusion matrix.
        kwargs: those of ``torchmetrics.Metric``.

    Raises:
        InputError: the loss is none of ours; an option is out of range.

    Example:
        >>> summary = Summary("cross_entropy")
        >>> summary.update(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
        >>> result = summary.compute()
        >>> result.accuracy, round(result.nll, 4), round(result.chance, 4)
        (0.5, 0.7201, 0.6931)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    outputs: Tensor
    seen: Tensor

    def __init__(
        self,
        loss: Loss | nn.Module | str,
        *,
        labels: Sequence[str] | None = None,
        top_k: Sequence[int] = (1, 5),
        worst: int = 20,
        class_limit: int = 256,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.loss = as_loss(loss, where="Summary")
        for name, value in (("worst", worst), ("class_limit", class_limit), *(("top_k", k) for k in top_k)):
            whole_number(name, value, 0 if name == "worst" else 1)
        self.labels = None if labels is None else tuple(str(name) for name in labels)
        self.top_k = tuple(sorted(set(top_k)))
        self.worst_kept = worst
        self.class_limit = class_limit
        self.add_state("outputs", torch.tensor(0), "max")  # H; 0 until it is known
        self.add_state("seen", torch.tensor(0), "sum")  # rows, to number those that come without an index

    # --------------------------------------------------------------------------------------------- adding

    def update(self, z: Tensor, target: Tensor, index: Tensor | int | None = None) -> None:
        """Add samples.

        Args:
            z: raw outputs, as the loss takes them.
            target: as the loss takes it.
            index: the number of each sample (N,), or of the first, to name the worst by; left out, the rows are
                numbered as they come, from 0. Ranks that share a data set should pass it.

        Raises:
            InputError: shapes, dtypes or values do not fit the loss, or earlier samples.
        """
        numbers = self._numbers(z, index)
        self._open(z)
        state = {name: getattr(self, name).cpu() for name in self._names()}
        self._pass().update({name: x.numpy() for name, x in state.items()}, z, target, numbers)
        for name, x in state.items():
            setattr(self, name, x.to(getattr(self, name).device))
        self.seen = self.seen + len(numbers)

    def forward(self, z: Tensor, target: Tensor, index: Tensor | int | None = None) -> SummaryResult:
        """Add samples; the result of these alone."""
        numbers = self._numbers(z, index)
        self._open(z)
        result = super().forward(z, target, numbers)
        self._forward_cache = None  # torchmetrics would take it apart on .to()
        return cast(SummaryResult, result)

    def merge(self, other: Summary) -> Summary:
        """Add all that another summary of the same loss has seen; self.

        Raises:
            InputError: it is of another loss, or of another number of classes.

        Example:
            >>> a, b = Summary("mse"), Summary("mse")
            >>> a.update(torch.zeros(2), torch.ones(2))
            >>> b.update(torch.zeros(2), torch.zeros(2))
            >>> a.merge(b).compute().loss
            0.5
        """
        alike = isinstance(other, Summary) and other._recipe() == self._recipe() and _are_alike(self.loss, other.loss)
        if not alike:
            came = f"of {other.loss!r}" if isinstance(other, Summary) else f"a {type(other).__name__}"
            raise InputError(
                "Summary.merge", f"a summary of {self.loss!r} with the same arguments", came, "measure both alike"
            )
        assert isinstance(other, Summary)
        self.merge_state(other)
        self._update_count += other._update_count
        self._computed = None
        return self

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """As torchmetrics does; an empty summary adds nothing."""
        state = incoming_state.metric_state if isinstance(incoming_state, Metric) else incoming_state
        h = int(cast(Tensor, state["outputs"]))
        if h:
            self._prepare(h)
            super().merge_state(state)

    def _recipe(self) -> tuple[object, ...]:
        return (repr(self.loss), self.labels, self.top_k, self.worst_kept, self.class_limit)

    def _numbers(self, z: Tensor, index: Tensor | int | None) -> Tensor:
        n = z.shape[0] if isinstance(z, Tensor) and z.ndim > self.unbatched() else 1
        if index is None:
            index = int(self.seen)
        if isinstance(index, int):
            return torch.arange(index, index + n)
        if index.shape != (n,) or index.is_floating_point():
            raise InputError(
                "Summary.update",
                f"index: an int, or an integer tensor of shape ({n},)",
                f"{index.dtype} of shape {tuple(index.shape)}",
                "give the number of each sample, or of the first",
            )
        return index.detach().cpu().long()

    def unbatched(self) -> int:
        """How many dimensions one sample alone has."""
        return 1 if isinstance(self.loss, (CrossEntropyLoss, NLLLoss)) else 0

    # ---------------------------------------------------------------------------------------------- states

    def _pass(self) -> Pass:
        loss, limit, worst = self.loss, self.class_limit, self.worst_kept
        if isinstance(loss, (CrossEntropyLoss, NLLLoss)):
            return Categorical(loss, self.labels, self.top_k, worst, limit)
        if isinstance(loss, (BCEWithLogitsLoss, BCELoss)):
            return Binary(loss, self.labels, worst, limit)
        if isinstance(loss, MSELoss):
            return Regression(loss, worst, limit)
        raise InputError("Summary", "a loss that losscope has", repr(loss), "give one of losscope.losses")

    def _names(self) -> list[str]:
        return [name for name in self._defaults if name not in ("outputs", "seen")]

    def _open(self, z: Tensor) -> None:
        """The states are made when the first batch says how many classes there are."""
        h = self._pass().outputs(z)
        if self.labels is not None and len(self.labels) != h:
            raise InputError(
                "Summary.update", f"{h} names, one for each output", f"{len(self.labels)}", "give as many names"
            )
        self._prepare(h)

    def _prepare(self, h: int) -> None:
        before = int(self.outputs)
        if before and before != h:
            raise InputError(
                "Summary.update", f"{before} classes, as before", f"{h}", "use one summary for each, or reset() it"
            )
        if not before:
            self._make(h)

    def _make(self, h: int) -> None:
        """Empty states for H classes; what is there of the right shape stays."""
        self.outputs = torch.full_like(self.outputs, h)
        for name, (default, reduce) in self._pass().states(h).items():
            if name not in self._defaults or cast(Tensor, self._defaults[name]).shape != default.shape:
                self.add_state(name, default.to(self.outputs.device), reduce, self._persistent["outputs"])

    def sync(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any = None,
        should_sync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
    ) -> None:
        """As torchmetrics does; a rank that has seen nothing learns from the others how many classes there are."""
        available = distributed_available or self.distributed_available_fn
        if should_sync and not self._is_synced and callable(available) and available():
            gather = dist_sync_fn or gather_all_tensors
            every = gather(self.outputs, group=process_group or self.process_group)
            known = {int(h) for h in every} - {0}
            if len(known) != 1:
                came = f"{sorted(known)} on the ranks" if known else "no update on any rank"
                raise InputError("Summary.compute", "one number of classes", came, "update with the same classes")
            if not int(self.outputs):
                self._make(*known)
        super().sync(dist_sync_fn, process_group, should_sync, distributed_available)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        h = state_dict.get(prefix + "outputs")
        if h is not None and int(h):
            self._make(int(h))
        super()._load_from_state_dict(state_dict, prefix, *args)

    # --------------------------------------------------------------------------------------------- the result

    def compute(self) -> SummaryResult:
        """The result of all that has been added, on all ranks.

        Raises:
            InputError: nothing has been added anywhere.
        """
        if not int(self.outputs):
            raise InputError("Summary.compute", "at least one update", "none", "call update(z, target) first")
        state = {name: getattr(self, name).cpu().numpy().copy() for name in self._names()}
        return self._pass().result(state, int(self.outputs))

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """The wrapper takes a result apart to copy its tensors, which a frozen one forbids: it gets it in a box."""
        boxed = super()._wrap_compute(lambda: _Box(compute()))
        return wraps(compute)(lambda: boxed().content)


class _Box:
    """A result that nobody looks into."""

    def __init__(self, content: SummaryResult) -> None:
        self.content = content


def whole_number(name: str, value: object, low: int) -> None:
    """The option is a whole number that is not below ``low``.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
        raise InputError("Summary", f"{name}: a whole number from {low} on", repr(value), f"give {name} such a number")


def _are_alike(a: Loss, b: Loss) -> bool:
    """Their weights are the same: what a loss prints does not show them."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(
        t.shape == theirs[k].shape and bool((t.cpu() == theirs[k].cpu()).all()) for k, t in ours.items()
    )
