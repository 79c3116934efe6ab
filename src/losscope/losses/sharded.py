"""The edge of the losses whose classes are shared out over ranks: DTensors, or plain shards with their group."""

from __future__ import annotations

from torch import Tensor

from losscope import validate
from losscope.errors import InputError, describe
from losscope.kernels.options import CategoricalOptions, Stats
from losscope.kernels.reference import autocast, class_dim
from losscope.kernels.sharded import losses
from losscope.kernels.sharded.collectives import Group
from losscope.kernels.sharded.shard import Shard, group_of, local, shard_of, whole
from losscope.parallel import over_ranks


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, group: Group | None
) -> Tensor | tuple[Tensor, Stats]:
    """Cross-entropy of this rank's classes."""
    where = "cross_entropy"
    validate.logits(where, input)
    group = group_of(where, input, class_dim(input)) if group is None else group
    z = local(input)
    shard = shard_of(z.shape[class_dim(z)], group, z)
    target, weight = _target_and_weight(where, z, target, weight, options, shard)
    options = over_ranks(options, target, weight)
    return losses.cross_entropy(autocast(z), target, weight, options, shard)


def linear_cross_entropy(
    x: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    options: CategoricalOptions,
    group: Group | None,
) -> Tensor | tuple[Tensor, Stats]:
    """Cross-entropy of a linear layer of which this rank holds some rows."""
    where = "linear_cross_entropy"
    group = group_of(where, linear_weight, 0) if group is None else group
    x, w, b = whole(x), local(linear_weight), None if linear_bias is None else local(linear_bias)
    if w.ndim != 2:
        raise InputError(where, "a shard (H_r, D) of the weight", describe(w), "flatten further dimensions into N")
    shard = shard_of(w.shape[0], group, w)
    logits = x.new_empty(1).expand(*x.shape[:-1], w.shape[0])
    target, weight = _target_and_weight(where, logits, target, weight, options, shard)
    options = over_ranks(options, target, weight)
    return losses.linear_cross_entropy(x, w, target, b, weight, options, shard)


def _target_and_weight(
    where: str, z: Tensor, target: Tensor, weight: Tensor | None, options: CategoricalOptions, shard: Shard
) -> tuple[Tensor, Tensor | None]:
    """Checked against the classes of all ranks."""
    target = local(target) if target.is_floating_point() else whole(target)
    validate.class_target(where, z, target, options.ignore_index, shard.total)
    soft = target.is_floating_point()
    validate.categorical_options(where, options, soft=soft)
    if weight is not None:
        weight = whole(weight)
        validate.class_weight(where, weight, z, shard.total)
    return target if soft else target.long(), weight
