"""Accumulation in a plain loop: the divisor is counted first, over all batches of the step.

python examples/accumulation_plain.py
"""

from torch import Tensor
from unequal import batches, model, tell

import losscope as ls


def gradient() -> Tensor:
    """Of one optimizer step."""
    net, step = model(), batches()
    normalizer = ls.parallel.global_normalizer(y for _, y in step)
    for x, y in step:
        ls.cross_entropy(net(x), y, normalizer=normalizer).backward()
    return net.weight.grad


if __name__ == "__main__":
    tell(gradient())
