"""A look at outputs and targets from inside a compiled graph, without breaking it.

The graph holds one operator that changes a counter, so that it is not optimised away; when the graph runs, the
operator calls back. It reads the outputs, changes nothing else and has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakValueDictionary

import torch
from torch import Tensor


class Look:
    """What is called back with detached outputs and targets."""

    def __init__(self, callback: Callable[[Tensor, Tensor, bool], None]) -> None:
        self.callback = callback
        self.counter = torch.zeros((), dtype=torch.int64)
        self.key = id(self)
        _LOOKS[self.key] = self


_LOOKS: WeakValueDictionary[int, Look] = WeakValueDictionary()


@torch.library.custom_op("losscope::look", mutates_args=("counter",))
def look(z: Tensor, y: Tensor, counter: Tensor, key: int, training: bool) -> None:
    """Call back, where the one who asked is still there."""
    counter.add_(1)
    asked = _LOOKS.get(key)
    if asked is not None:
        asked.callback(z, y, training)


@look.register_fake
def _(z: Tensor, y: Tensor, counter: Tensor, key: int, training: bool) -> None:
    """Nothing to say of shapes."""
