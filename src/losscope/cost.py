"""What a cross-entropy over a linear layer costs, on paper: operations, bytes moved, bytes held, bytes sent.

N tokens, D hidden, H classes, R ranks, b bytes per number. Everything is per rank, for forward and backward, and beside
what every strategy has in common: the input, the weight, and their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from losscope.errors import InputError
from losscope.kernels.chunked import rows_of_a_chunk


@dataclass(frozen=True, slots=True)
class Problem:
    """The sizes of one step on one rank, before the classes are shared out.

    Attributes:
        tokens: N, the samples that the loss is taken over.
        hidden: D, the width of the last linear layer's input.
        classes: H.
        ranks: R, over which vocabulary-parallel shares the classes out.
        bytes_per_number: 4 for float32, 2 for float16 and bfloat16.
    """

    tokens: int
    hidden: int
    classes: int
    ranks: int = 1
    bytes_per_number: int = 4

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError("plan", f"{name}: a whole number from 1 up", repr(value), "give such a number")

    @property
    def logits(self) -> int:
        """N·H·b: the bytes of all logits."""
        return self.tokens * self.classes * self.bytes_per_number


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one strategy, on one rank.

    Attributes:
        strategy: its name.
        operations: floating-point operations of the matrix products.
        moved: bytes read and written of the logits and what has their size.
        held: the most bytes held at once beside inputs and gradients.
        sent: bytes that a rank sends, counting an all-reduce of n bytes as 2 n (R − 1) / R.
    """

    strategy: str
    operations: int
    moved: int
    held: int
    sent: int = 0


def eager(p: Problem) -> Cost:
    """Torch's own, nine visits to each logit.

    Forward: z is written, read, and its log-softmax written. Backward: the pick's gradient is written, both are read,
    dz is written and read by two matrix products. Three arrays of the logits' size are held at once.
    """
    return Cost("eager", products(p), moved=9 * p.logits, held=3 * p.logits)


def fused(p: Problem) -> Cost:
    """One visit to each row: z is written and read, dz is written and read by two matrix products."""
    return Cost("fused", products(p), moved=5 * p.logits, held=2 * p.logits)


def chunked(p: Problem) -> Cost:
    """The same five visits, a chunk of rows at a time, in float32; each chunk reads W twice, and dW, and writes dW.

    One chunk is held, where dz is written over z. Half precision holds it in its own dtype too, and dW in float32.
    """
    rows = min(p.tokens, rows_of_a_chunk(p.classes * 4))
    chunks = -(-p.tokens // rows)
    weight = p.hidden * p.classes
    narrow = rows * p.classes * p.bytes_per_number + weight * 4 if p.bytes_per_number < 4 else 0
    moved = 5 * p.tokens * p.classes * 4 + chunks * weight * (2 * p.bytes_per_number + 2 * 4)
    return Cost("chunked linear", products(p), moved=moved, held=rows * p.classes * 4 + narrow)


def vocabulary_parallel(p: Problem) -> Cost:
    """Each rank has H/R classes, in float32, nineteen visits to each of its logits by torch's operators.

    Three numbers a token travel for the loss (the maximum, Σ e^{z−m} and z_y), and the input's gradient is summed.
    """
    shard = -(-p.classes // p.ranks) * p.tokens * 4
    summed = p.tokens * (3 * 4 + p.hidden * p.bytes_per_number)
    sent = 2 * summed * (p.ranks - 1) // p.ranks
    return Cost("vocabulary-parallel", -(-products(p) // p.ranks), moved=19 * shard, held=3 * shard, sent=sent)


def products(p: Problem) -> int:
    """6·N·D·H: z = x Wᵀ, dx = dz W, dW = dzᵀ x, each a multiplication and an addition."""
    return 6 * p.tokens * p.hidden * p.classes


STRATEGIES: tuple[Callable[[Problem], Cost], ...] = (eager, fused, chunked, vocabulary_parallel)


def plan(problem: Problem) -> list[Cost]:
    """The cost of every strategy.

    Example:
        >>> [cost.strategy for cost in plan(Problem(tokens=2048, hidden=512, classes=32000))]
        ['eager', 'fused', 'chunked linear', 'vocabulary-parallel']
    """
    return [strategy(problem) for strategy in STRATEGIES]
