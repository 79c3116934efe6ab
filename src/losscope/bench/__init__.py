"""Ours beside torch eager, torch.compile and optax, in turn in one process: ``losscope bench``."""

from losscope.bench.cases import CASES, Case, Contender
from losscope.bench.machine import JEMALLOC_OPTIONS, allocator, copy_bandwidth, jemalloc, machine
from losscope.bench.measure import Measured, measure
from losscope.bench.timing import in_turn

__all__ = [
    "CASES",
    "JEMALLOC_OPTIONS",
    "Case",
    "Contender",
    "Measured",
    "allocator",
    "copy_bandwidth",
    "in_turn",
    "jemalloc",
    "machine",
    "measure",
]
