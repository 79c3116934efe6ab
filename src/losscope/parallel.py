"""Many ranks and many accumulation steps: one mean over all of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from losscope import validate
from losscope.errors import InputError, describe
from losscope.kernels.options import CategoricalOptions
from losscope.kernels.reference import as_index, divisor
from losscope.kernels.sharded.collectives import rows_of_all_ranks

__all__ = ["gather_rows", "global_normalizer"]

WHERE = "global_normalizer"


def global_normalizer(
    targets: Tensor | Iterable[Tensor],
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    group: dist.ProcessGroup | None = None,
    gradients_averaged: bool = True,
) -> Tensor:
    r"""The divisor that makes losses of parts add up to the mean over the whole: Σ v_i w_{y_i} over all of it.

    A mean of means is not the mean when the parts count different numbers of targets. Call this once per optimizer
    step, on every rank, with the targets of all accumulation steps, and give the result to every loss as
    ``normalizer=``. Then the gradients equal those of one big batch.

    Args:
        targets: of one step, or of each accumulation step: indices, or soft targets.
        weight: w_h, where the loss has class weights.
        ignore_index: as the loss has it.
        group: the ranks that share the mean; all of them when left out, one rank when torch.distributed is not in use.
        gradients_averaged: the ranks' gradients are averaged, as DDP and FSDP do, so the divisor is the sum over the
            number of ranks. False where they are summed.

    Returns:
        A float64 scalar. 1 where no target counts anywhere, so that the loss is 0 and not 0/0.

    Raises:
        InputError: there is no target tensor, or an index has no weight.

    Example:
        >>> a, b = torch.tensor([1, -100, 0]), torch.tensor([-100, -100, 2])
        >>> global_normalizer([a, b])
        tensor(3., dtype=torch.float64)
    """
    parts = _parts(targets)
    if weight is not None:
        _check_weight(weight, parts, ignore_index)
    return _over_ranks(parts, weight, ignore_index, group, gradients_averaged)


def _parts(targets: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The target of each step."""
    parts = [targets] if isinstance(targets, Tensor) or not isinstance(targets, Iterable) else list(targets)
    if not parts:
        raise InputError(WHERE, "at least one target tensor", "none", "give those of all steps")
    if not all(isinstance(part, Tensor) for part in parts):
        raise InputError(
            WHERE, "a target tensor, or one of each step", describe(targets), "make it one: torch.as_tensor(targets)"
        )
    return parts


def _check_weight(weight: Tensor, parts: list[Tensor], ignore_index: int) -> None:
    """One number for each class, and a class for each index."""
    validate.tensor(WHERE, "weight", weight)
    validate.class_weight(WHERE, weight, weight, weight.numel())
    for part in parts:
        validate.index_values(WHERE, as_index(part), len(weight), ignore_index)


def _over_ranks(
    parts: list[Tensor],
    weight: Tensor | None,
    ignore_index: int,
    group: dist.ProcessGroup | None = None,
    gradients_averaged: bool = True,
) -> Tensor:
    options = CategoricalOptions(ignore_index)
    total = torch.stack([divisor(part, weight, options, torch.float64).sum() for part in parts]).sum()
    ranks = 1
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total, dist.ReduceOp.SUM, group)
        ranks = dist.get_world_size(group)
    total = total / ranks if gradients_averaged else total
    return total.masked_fill(total == 0, 1)


def over_ranks(options: CategoricalOptions, target: Tensor, weight: Tensor | None) -> CategoricalOptions:
    """The options with ``normalizer="global"`` counted out."""
    if not isinstance(options.normalizer, str):
        return options
    return options._replace(normalizer=_over_ranks([target], weight, options.ignore_index))


def gather_rows(x: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """The rows of every rank, one after the other: a sequence-parallel input, made whole for a sharded linear loss.

    Args:
        x: this rank's rows (N_r, …); the ranks may hold different numbers of them.
        group: the ranks; all of them when left out.

    Returns:
        (Σ N_r, …) on every rank. Its gradient goes to each rank's own rows.
    """
    return rows_of_all_ranks(x, group or dist.group.WORLD)  # type: ignore[arg-type]
