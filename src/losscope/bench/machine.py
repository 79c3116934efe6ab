"""What a figure was measured on: processor, load, memory's speed, allocator."""

from __future__ import annotations

import ctypes.util
import os
import platform
from pathlib import Path
from statistics import median

import torch

from losscope.bench.timing import milliseconds

JEMALLOC_OPTIONS = "thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1"
"""Huge pages that are never given back: the best an allocator can do for torch."""


def machine() -> str:
    """The processor, its cores, and how busy it was."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    name = names[0].split(":")[1].strip() if names else platform.processor()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{os.cpu_count()} cores, {name}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads{load}"
    )


def copy_bandwidth(size: int = 1 << 29) -> float:
    """GB/s of one read and one write, the median of 7 copies of this many bytes."""
    source, goal = torch.ones(size // 4), torch.ones(size // 4)
    return 2 * size / median(milliseconds(lambda: goal.copy_(source)) for _ in range(7)) / 1e6


def allocator() -> str:
    """The one this process runs under."""
    return "jemalloc" if "jemalloc" in os.environ.get("LD_PRELOAD", "") else "default"


def jemalloc() -> str | None:
    """The name of jemalloc's library, as ``LD_PRELOAD`` takes it; None where it is not installed."""
    return ctypes.util.find_library("jemalloc")
