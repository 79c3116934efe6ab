"""Ours and a peer, alternating in one process: medians and their spread, and the ratio of each pair."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
RETAINED = "thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1"  # huge pages, never given back


class Timing(NamedTuple):
    """Milliseconds: the medians, the fastest runs, and the median of peer / ours over the pairs."""

    ours: float
    peer: float
    fastest_ours: float
    fastest_peer: float
    ratio: float


def alternate(ours: Callable[[], object], peer: Callable[[], object], seconds: float = 4.0) -> Timing:
    """Both in turn, for about this long and at least 5 times each, after one run that doesn't count."""
    pairs = [_pair(ours, peer)]
    end = time.perf_counter() + seconds
    while len(pairs) < 6 or (time.perf_counter() < end and len(pairs) < 300):
        pairs.append(_pair(ours, peer))
    mine, theirs = zip(*pairs[1:], strict=True)
    ratio = statistics.median(b / a for a, b in pairs[1:])
    return Timing(statistics.median(mine), statistics.median(theirs), min(mine), min(theirs), ratio)


def _pair(*functions: Callable[[], object]) -> tuple[float, ...]:
    return tuple(map(_milliseconds, functions))


def _milliseconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def copy_bandwidth(size: int = 1 << 29) -> float:
    """GB/s of one read and one write, the best of 7 copies of this many bytes."""
    source, goal = torch.ones(size // 4), torch.ones(size // 4)
    return 2 * size / min(_milliseconds(lambda: goal.copy_(source)) for _ in range(7)) / 1e6


def machine() -> str:
    """The processor, its cores, and how busy it was."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    name = names[0].split(":")[1].strip() if names else platform.processor()
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {name}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, load {load:.1f}"
    )


def under_jemalloc(script: str, *arguments: str) -> None:
    """Run a script again with jemalloc in the allocator's place."""
    environment = os.environ | {"LD_PRELOAD": JEMALLOC, "MALLOC_CONF": RETAINED}
    subprocess.run([sys.executable, script, *arguments], env=environment, check=True)
