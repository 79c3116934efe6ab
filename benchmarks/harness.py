"""Ours and the peers, in turn, in one process; what is told are medians, and ratios of what ran side by side."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
RETAIN = "retain:true,thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1"


def alternate(ways: dict[str, Callable[[], object]], seconds: float = 2.0, least: int = 7) -> dict[str, list[float]]:
    """Seconds of each way, round by round: every round runs all of them once, in an order that turns."""
    for way in ways.values():
        way()
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names, started, rounds = list(ways), time.perf_counter(), 0
    while rounds < least or time.perf_counter() - started < seconds:
        turn = rounds % len(names)
        for name in names[turn:] + names[:turn]:
            before = time.perf_counter()
            ways[name]()
            taken[name].append(time.perf_counter() - before)
        rounds += 1
    return taken


def times_faster(taken: dict[str, list[float]], ours: str, peer: str) -> tuple[float, float, float]:
    """Median, and the quartiles, of peer / ours over the rounds."""
    ratios = sorted(p / o for p, o in zip(taken[peer], taken[ours], strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4)
    return middle, low, high


def median(times: Sequence[float]) -> float:
    """Of the seconds."""
    return statistics.median(times)


def copy_bandwidth(megabytes: int = 512) -> float:
    """Bytes a second, read and written, of a copy between two arrays that are in memory already."""
    a, b = torch.ones(megabytes << 18), torch.zeros(megabytes << 18)
    taken = alternate({"copy": lambda: b.copy_(a)}, seconds=1)
    return 2 * a.numel() * 4 / median(taken["copy"])


def machine() -> str:
    """The processor, the threads and the versions."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return (
        f"{names[0]}, {len(names)} cores, {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}"
    )


def under_jemalloc(arguments: Sequence[str]) -> str:
    """What the same script prints with jemalloc in place of the default allocator, its pages kept and huge."""
    if not Path(JEMALLOC).exists():
        sys.exit("jemalloc is not installed: apt-get install libjemalloc2")
    environment = {**os.environ, "LD_PRELOAD": JEMALLOC, "MALLOC_CONF": RETAIN}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def allocator() -> str:
    """Which one this process has."""
    return "jemalloc" if "jemalloc" in os.environ.get("LD_PRELOAD", "") else "default allocator"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
