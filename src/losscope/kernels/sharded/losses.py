"""Cross-entropy of logits whose classes are shared out over ranks.

With m the largest logit over all ranks and e_h = exp(z_h − m), every option is a function of a few sums over the
classes: Σ e_h, Σ w_h q_h (z_h − m), and for smoothing Σ w_h (z_h − m), Σ w_h and the number of unmasked classes.
So one maximum and one sum travel: 3 numbers per sample for index targets, 4 for soft ones, 3 more with smoothing and 1
more for the entropy. No logit does.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from losscope.kernels import reference as ref
from losscope.kernels.options import CategoricalOptions, Stats
from losscope.kernels.sharded.collectives import extreme_over_ranks, same_on_all_ranks, sum_over_ranks
from losscope.kernels.sharded.shard import Shard, in_shard


def cross_entropy(
    z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, shard: Shard
) -> Tensor | tuple[Tensor, Stats]:
    """The reference's loss, with the sums over the classes taken over the ranks."""
    dim, is_index = ref.class_dim(z), not target.is_floating_point()
    ignored = target == options.ignore_index if is_index else None
    x = ref.softcap(ref.hide(ref.upcast(z), None if ignored is None else ignored.unsqueeze(dim)), options.softcap)
    y = ref.hide(target, ignored)
    largest = extreme_over_ranks(_amax(x, dim), shard.group, dist.ReduceOp.MAX)
    m = largest.masked_fill(largest.isinf(), 0)
    x = x - m.unsqueeze(dim)

    local = [x.exp().sum(dim), *_target_sums(x, y, weight, shard)]
    if options.label_smoothing:
        local += _uniform_sums(x, weight, shard)
    if options.return_stats:
        local.append(ref.expectation(x.exp(), x).sum(dim).detach())
    total, *sums = sum_over_ranks(torch.stack(local), shard.group)

    log_sum = total.log()
    loss, weights = _terms(log_sum, sums, y, weight, options)
    if options.z_loss:
        loss = loss + options.z_loss * weights * (m + log_sum).square()
    each = ref.divisor(target, weight, options, loss.dtype)
    dtype = z.dtype if is_index else torch.promote_types(z.dtype, target.dtype)
    result = ref.reduce(ref.hide(loss, ignored), each, options.reduction, options.normalizer).to(dtype)
    if not options.return_stats:
        return result
    return result, _statistics(x, y, ignored, shard, m, log_sum.detach(), sums[-1] / total.detach())


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
    shard: Shard,
) -> Tensor | tuple[Tensor, Stats]:
    """Cross-entropy of z = W x + b, each rank with its rows of W; every rank holds x and gets its whole gradient."""
    x = same_on_all_ranks(x, shard.group)
    return cross_entropy(ref.autocast(F.linear(x, linear_weight, linear_bias)), target, weight, options, shard)


def _amax(x: Tensor, dim: int) -> Tensor:
    """The largest of the shard's logits, −inf where the shard has no class."""
    return x.amax(dim) if x.shape[dim] else x.new_full(x.sum(dim).shape, -torch.inf)


def _target_sums(x: Tensor, target: Tensor, weight: Tensor | None, shard: Shard) -> list[Tensor]:
    """Index: z_y, from the rank that holds y. Soft: Σ w_h q_h z_h and Σ w_h q_h."""
    dim = ref.class_dim(x)
    if target.is_floating_point():
        weighted = target * _own(weight, x, shard)
        return [ref.expectation(weighted, x).sum(dim), weighted.sum(dim)]
    y, here = in_shard(target, shard)
    return [ref.hide(ref.pick(x, y, dim), ~here) if shard.size else torch.zeros_like(x.sum(dim))]


def _uniform_sums(x: Tensor, weight: Tensor | None, shard: Shard) -> list[Tensor]:
    """Σ w_h z_h, Σ w_h and how many, over the classes that are not masked."""
    dim = ref.class_dim(x)
    unmasked = (~x.isneginf()).to(x.dtype)
    weighted = unmasked * _own(weight, x, shard)
    return [ref.expectation(weighted, x).sum(dim), weighted.sum(dim), unmasked.sum(dim)]


def _terms(
    log_sum: Tensor, sums: list[Tensor], target: Tensor, weight: Tensor | None, options: CategoricalOptions
) -> tuple[Tensor, Tensor]:
    """(ℓ_i, Σ_h w_h q_h) from the sums over all classes."""
    if target.is_floating_point():
        picked, mass, *uniform = sums
        loss = mass * log_sum - picked
    else:
        picked, *uniform = sums
        mass = torch.ones_like(picked) if weight is None else weight.to(picked.dtype)[target]
        loss = mass * ref.focal(picked - log_sum, options.focal_gamma)
    if not options.label_smoothing:
        return loss, mass
    spread, weights, number = uniform[:3]
    e = options.label_smoothing
    return (1 - e) * loss + e * (weights * log_sum - spread) / number, (1 - e) * mass + e * weights / number


def _own(weight: Tensor | None, x: Tensor, shard: Shard) -> Tensor | float:
    """The weights of this rank's classes, along the class dimension."""
    if weight is None:
        return 1.0
    own = weight.to(x.dtype)[shard.offset : shard.offset + shard.size]
    return own.view(-1, *[1] * (x.ndim - ref.class_dim(x) - 1))


def _statistics(
    x: Tensor, target: Tensor, ignored: Tensor | None, shard: Shard, m: Tensor, log_sum: Tensor, mean_z: Tensor
) -> Stats:
    """The reference's statistics: entropy is ln Σ e_h − Σ ŷ_h (z_h − m), and the largest ŷ is 1 / Σ e_h."""
    decision = _argmax(x.detach(), shard)
    truth = _argmax(target, shard) if target.is_floating_point() else target
    correct = decision == truth
    return Stats(
        counted=torch.ones_like(correct) if ignored is None else ~ignored,
        correct=correct if ignored is None else correct & ~ignored,
        entropy=ref.hide(log_sum - mean_z.detach(), ignored),
        max_probability=ref.hide((-log_sum).exp(), ignored),
        logsumexp=ref.hide(m + log_sum, ignored),
    )


def _argmax(x: Tensor, shard: Shard) -> Tensor:
    """The first class of the largest value over all ranks."""
    dim = ref.class_dim(x)
    best = _amax(x, dim)
    overall = extreme_over_ranks(best, shard.group, dist.ReduceOp.MAX)
    first = x.argmax(dim) + shard.offset if shard.size else torch.zeros_like(best, dtype=torch.int64)
    candidate = torch.where((best == overall) & (shard.size > 0), first, shard.total)
    return extreme_over_ranks(candidate, shard.group, dist.ReduceOp.MIN)
