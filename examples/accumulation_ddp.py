"""Accumulation on many ranks: the divisor is counted over the batches of all ranks, and DDP averages the gradients.

torchrun --nproc-per-node 2 examples/accumulation_ddp.py
"""

from contextlib import nullcontext

import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from unequal import batches, model, tell

import losscope as ls


def gradient() -> Tensor:
    """Of one optimizer step, in which each rank has its share of the batches."""
    net = DistributedDataParallel(model())
    step = batches()[dist.get_rank() :: dist.get_world_size()]
    normalizer = ls.parallel.global_normalizer(y for _, y in step)
    for number, (x, y) in enumerate(step, 1):
        with nullcontext() if number == len(step) else net.no_sync():
            ls.cross_entropy(net(x), y, normalizer=normalizer).backward()
    return net.module.weight.grad


if __name__ == "__main__":
    dist.init_process_group("gloo")
    tell(gradient())
    dist.destroy_process_group()
