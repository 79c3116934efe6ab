"""Sums over the ranks that gradients can pass.

Every rank holds the same loss, so the gradient of a sum over the ranks is the same on all of them: it goes to each
rank's own term as it is. That holds for the first derivative only, and a second one is refused.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

Group = dist.ProcessGroup


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, dist.ReduceOp.SUM, group)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _SameOnAllRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, dist.ReduceOp.SUM, ctx.group)
        return total, None


class _RowsOfAllRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        rows = row_counts(x, group)
        own = dist.get_rank(group)
        ctx.own = slice(sum(rows[:own]), sum(rows[: own + 1]))
        parts = [x.new_empty(n, *x.shape[1:]) for n in rows]
        for source, part in enumerate(parts):
            if source == own:
                part.copy_(x)
            dist.broadcast(part, dist.get_global_rank(group, source), group)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad[ctx.own], None


def sum_over_ranks(x: Tensor, group: Group) -> Tensor:
    """Σ_r x_r, on every rank."""
    return _SumOverRanks.apply(x, group)  # type: ignore[no-untyped-call,no-any-return]


def same_on_all_ranks(x: Tensor, group: Group) -> Tensor:
    """An x that every rank holds; its gradient is the sum of what the ranks' shards give it."""
    return _SameOnAllRanks.apply(x, group)  # type: ignore[no-untyped-call,no-any-return]


def rows_of_all_ranks(x: Tensor, group: Group) -> Tensor:
    """The rows of rank 0, then of rank 1, …; each rank's gradient is that of its own rows."""
    return _RowsOfAllRanks.apply(x, group)  # type: ignore[no-untyped-call,no-any-return]


def extreme_over_ranks(x: Tensor, group: Group, op: dist.ReduceOp.RedOpType) -> Tensor:
    """The largest or smallest x_r, on every rank, without gradient."""
    best = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(best, op, group)
    return best


def row_counts(x: Tensor, group: Group) -> list[int]:
    """How many rows each rank holds."""
    counts = torch.zeros(dist.get_world_size(group), dtype=torch.int64, device=x.device)
    counts[dist.get_rank(group)] = x.shape[0]
    dist.all_reduce(counts, dist.ReduceOp.SUM, group)
    return [int(n) for n in counts]
