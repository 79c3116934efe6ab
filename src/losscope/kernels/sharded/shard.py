"""Which classes a rank holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor

from losscope.errors import InputError
from losscope.kernels.sharded.collectives import Group, row_counts

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


class Shard(NamedTuple):
    """Classes offset…offset+size−1 of ``total``, on this rank of the group."""

    group: Group
    offset: int
    size: int
    total: int


def shard_of(classes: int, group: Group, like: Tensor) -> Shard:
    """The shard of a rank that holds this many classes; the ranks may hold different numbers of them."""
    sizes = row_counts(like.new_empty(classes, 0), group)
    own = dist.get_rank(group)
    return Shard(group, sum(sizes[:own]), classes, sum(sizes))


def is_dtensor(x: object) -> TypeGuard[DTensor]:
    """True for a DTensor, without importing their module for anything else."""
    module = None if type(x) is Tensor else sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def group_of(where: str, x: Any, dim: int) -> Group:
    """The group over which dimension ``dim`` of a DTensor is sharded; on other mesh dimensions it is the same."""
    from torch.distributed.tensor import Replicate

    sharded = [i for i, placement in enumerate(x.placements) if placement.is_shard(dim)]
    others = [placement for i, placement in enumerate(x.placements) if i not in sharded]
    if len(sharded) != 1 or any(placement != Replicate() for placement in others):
        raise InputError(
            where,
            f"a DTensor sharded on the classes (dimension {dim}) over one mesh dimension and replicated on the others",
            f"placements {x.placements}",
            f"redistribute it to Shard({dim}), or give plain shards with group=",
        )
    group: Group = x.device_mesh.get_group(sharded[0])
    return group


def local(x: Any) -> Any:
    """A DTensor's part on this rank; anything else as it is."""
    return x.to_local() if is_dtensor(x) else x


def whole(x: Any) -> Any:
    """A DTensor as the same plain tensor on every rank; anything else as it is."""
    if not is_dtensor(x):
        return x
    from torch.distributed.tensor import Replicate

    return x.redistribute(placements=[Replicate()] * x.device_mesh.ndim).to_local()


def in_shard(y: Tensor, shard: Shard) -> tuple[Tensor, Tensor]:
    """(the index within the shard, whether it is there); 0 and False for a class of another rank."""
    here = (y >= shard.offset) & (y < shard.offset + shard.size)
    return torch.where(here, y - shard.offset, 0), here
