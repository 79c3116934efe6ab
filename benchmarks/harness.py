"""Ours and one peer, alternating in one process: medians and their spread, and the ratio of each pair."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

from losscope.bench import copy_bandwidth, in_turn, machine

__all__ = ["Timing", "alternate", "copy_bandwidth", "machine"]


class Timing(NamedTuple):
    """Milliseconds: the medians, the fastest runs, and the median of peer / ours over the pairs."""

    ours: float
    peer: float
    fastest_ours: float
    fastest_peer: float
    ratio: float


def alternate(ours: Callable[[], object], peer: Callable[[], object], seconds: float = 4.0) -> Timing:
    """Both in turn, for about this long and at least 5 times each, after one run that doesn't count."""
    pairs = in_turn((ours, peer), seconds)
    mine, theirs = zip(*pairs, strict=True)
    ratio = statistics.median(b / a for a, b in pairs)
    return Timing(statistics.median(mine), statistics.median(theirs), min(mine), min(theirs), ratio)
