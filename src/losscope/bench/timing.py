"""Functions in turn, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random

FEWEST, MOST = 5, 300


def in_turn(functions: Sequence[Callable[[], object]], seconds: float) -> list[tuple[float, ...]]:
    """The milliseconds of each function in each round; the first round doesn't count.

    Each round has an order of its own, because the threads of one may still be spinning when the next begins: in a
    fixed cycle every function would follow the same other.

    Args:
        functions: what is compared.
        seconds: about how long; at least 5 rounds and at most 300 are made.

    Returns:
        A tuple of one time per function for each round.
    """
    rounds: list[tuple[float, ...]] = []
    orders = Random(0)
    _round(functions, range(len(functions)))
    end = time.perf_counter() + seconds
    while len(rounds) < FEWEST or (time.perf_counter() < end and len(rounds) < MOST):
        rounds.append(_round(functions, orders.sample(range(len(functions)), len(functions))))
    return rounds


def _round(functions: Sequence[Callable[[], object]], order: Sequence[int]) -> tuple[float, ...]:
    times = {k: milliseconds(functions[k]) for k in order}
    return tuple(times[k] for k in range(len(functions)))


def milliseconds(function: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3
