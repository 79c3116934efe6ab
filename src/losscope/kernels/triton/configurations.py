"""How large a tile is and how many warps walk over it, by the classes, their layout and what is asked for.

Those of index targets and of binary labels are the quickest of some dozens timed on an H100 with bfloat16; the others
are chosen from what the compiler reports for sm_80, sm_90 and sm_100 (``make kernels``: registers, and whether they
spill).
"""

from __future__ import annotations

from typing import NamedTuple


class Tile(NamedTuple):
    """Samples by classes of a tile, the warps of its program, and whether it holds a whole row.

    ``resident``: programs of a multiprocessor, each of which takes row after row; 0 for a program to each tile.
    ``stages``: tiles that are on their way at a time.
    """

    rows: int
    block: int
    warps: int
    single: bool = True
    resident: int = 0
    stages: int = 3


class Sizes(NamedTuple):
    """The tiles of one kind of call.

    Attributes:
        short: logits that a program of several short rows takes, with 4 warps.
        single: (classes, warps), smallest first: a row that fits is read once and kept.
        long: (the most classes, classes of a tile, warps): longer rows, tile by tile.
        strided: (samples, classes, warps) where neighbours in memory are samples and not classes: images.
    """

    short: int
    single: tuple[tuple[int, int], ...]
    long: tuple[tuple[float, int, int], ...]
    strided: tuple[int, int, int]


SHORT = 1024
"""Classes up to which a program takes several samples."""

MANY = 65536
"""Classes above which rows under way must be few to stay in the second cache until they are read again."""

# A tile of 32768 logits takes so many registers that a multiprocessor has room for one program only.
PLAIN = Sizes(
    short=1024,
    single=((4096, 8), (8192, 16), (16384, 16), (32768, 32)),
    long=((MANY, 8192, 32), (float("inf"), 32768, 32)),
    strided=(64, 32, 8),
)
"""Index targets, with weights or z-loss."""

RICH = Sizes(
    short=256,
    single=((2048, 8), (4096, 16)),
    long=((float("inf"), 4096, 16),),
    strided=(16, 16, 4),
)
"""Soft targets, label smoothing, the focal loss, softcap or statistics: more numbers of each class at a time."""

DOUBLE = Sizes(
    short=256,
    single=((2048, 16),),
    long=((float("inf"), 512, 8),),
    strided=(16, 8, 4),
)
"""Everything in float64, of which one number takes two registers."""

INDEXED = ((2048, 4), (4096, 8), (8192, 4))
"""(classes, warps) of a whole row, smallest first: index targets and nothing else."""

INDEXED_LONG = ((40000, 2048, 8, 4, 1), (float("inf"), 1024, 4, 4, 4))
"""(the most classes, classes of a tile, warps, programs of a multiprocessor, tiles on their way) of longer rows."""

VALUES, VALUES_DOUBLE = (2048, 4), (1024, 8)
"""(values, warps) of a tile of binary labels."""


def for_classes(classes: int, *, adjacent: bool, rich: bool, double: bool) -> Tile:
    """The tile for so many classes, which are neighbours in memory or not."""
    sizes = DOUBLE if double else RICH if rich else PLAIN
    whole = power_of_two(classes)
    if not adjacent:
        rows, block, warps = sizes.strided
        return Tile(rows, min(block, whole), warps, classes <= block)
    if classes <= SHORT:
        return Tile(max(1, sizes.short // whole), whole, 4)
    for block, warps in sizes.single:
        if classes <= block:
            return Tile(1, block, warps)
    block, warps = next((block, warps) for most, block, warps in sizes.long if classes <= most)
    return Tile(1, block, warps, single=False)


def for_index(classes: int, before: int) -> Tile:
    """The tile for rows of so many classes, with up to so many numbers before them that are read along."""
    for block, warps in INDEXED:
        if classes + before <= block:
            return Tile(1, block, warps)
    return for_index_again(classes)


def for_index_again(classes: int) -> Tile:
    """The tile for a walk over such rows, none longer than a row."""
    block, warps, resident, stages = next(sizes for most, *sizes in INDEXED_LONG if classes <= most)
    return Tile(1, min(block, power_of_two(classes + 1) // 2), warps, False, resident, stages)


def for_values(rows: int, columns: int, *, double: bool) -> Tile:
    """The tile for a matrix of values of which each is on its own."""
    values, warps = VALUES_DOUBLE if double else VALUES
    block = min(values, power_of_two(columns))
    return Tile(min(values // block, power_of_two(rows)), block, warps)


def power_of_two(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()
