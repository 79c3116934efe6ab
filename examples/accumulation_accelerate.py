"""Accumulation with accelerate: the divisor is counted first, over all batches of the step and all ranks.

``accelerator.backward`` divides each loss by the number of steps, so that is multiplied in again.

    accelerate launch examples/accumulation_accelerate.py
"""

from accelerate import Accelerator
from torch import Tensor
from unequal import STEPS, batches, model, tell

import losscope as ls


def gradient() -> Tensor:
    """Of one optimizer step."""
    accelerator = Accelerator(gradient_accumulation_steps=STEPS, cpu=True)
    net, step = accelerator.prepare(model()), batches()
    normalizer = ls.parallel.global_normalizer(y for _, y in step)
    for x, y in step:
        with accelerator.accumulate(net):
            loss = ls.cross_entropy(net(x), y, normalizer=normalizer)
            accelerator.backward(loss * accelerator.gradient_accumulation_steps)
    return accelerator.unwrap_model(net).weight.grad


if __name__ == "__main__":
    tell(gradient())
