"""Compile the Triton kernels as calls on a GPU would, without one, and report what each takes of a multiprocessor.

    python tools/compile_kernels.py [--all] [--targets 80 90 100] [--only WORDS]

Each case is a call of a loss and its backward on CPU tensors. Every launch on the way is compiled for each target, from
the very arguments that it was given, and not run: so what comes of the call is no number. A kernel that spills
registers within a loop, or more than a few anywhere, or does not compile, makes the exit status 1. Without --all a
representative few of the cases.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

os.environ.pop("TRITON_INTERPRET", None)  # what is interpreted is not compiled, and triton decides when it is imported

import torch
import triton
from sass import spills_in_loops
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

import losscope as ls
from losscope.kernels import dispatch
from losscope.kernels.triton import classes, launch, picks, reduction, serves, values

triton.knobs.compilation.always_compile = True  # only a compilation tells
triton.knobs.nvidia.dump_ptxas_log = True

TARGETS = (80, 90, 100)

TOLERATED = 32
"""Bytes written and read: ptxas puts a few numbers aside before the loops and takes them back behind, to let one more
program onto a multiprocessor."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


class Usage(NamedTuple):
    """What a compiled kernel takes: registers a thread, and the bytes of them that it spills into memory."""

    kernel: str
    target: int
    warps: int
    registers: int
    spilled: int
    in_loops: int = 0

    @property
    def fails(self) -> bool:
        """Whether the spilling costs time."""
        return self.in_loops > 0 or self.spilled > TOLERATED


def compiled(kernel: triton.JITFunction, arguments: dict[str, object], warps: int, capability: int) -> Usage:
    """The kernel for one target, specialised as a launch with these arguments would."""
    target = GPUTarget("cuda", capability, 32)
    backend = make_backend(target)
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    options = {"num_warps": warps, **launch.DEVICE_CHECKS}
    bound, specialization, _ = binder(**arguments, **options)
    parsed, signature, constants, attributes = kernel._pack_args(backend, options, bound, specialization, None)
    source = ASTSource(kernel, signature, constants, attributes)
    with contextlib.redirect_stdout(io.StringIO()) as told:
        made = triton.compile(source, target=target, options=parsed.__dict__)
    usage = Usage(kernel.fn.__name__, capability, warps, *resources(told.getvalue()))
    return usage._replace(in_loops=spills_in_loops(made.asm["sass"])) if usage.spilled else usage


def resources(log: str) -> tuple[int, int]:
    """(registers of a thread, bytes that it spills) as ptxas tells them."""
    registers = re.search(r"Used (\d+) registers", log)
    spills = re.findall(r"(\d+) bytes spill", log)
    assert registers is not None, log
    assert spills, log
    return int(registers[1]), sum(map(int, spills))


def usages(call: Callable[[], object], targets: tuple[int, ...]) -> list[Usage]:
    """Of every launch that the call makes."""
    found = []

    def compile_instead(work: launch.Work) -> None:
        found.extend(compiled(work.kernel, work.arguments, work.warps, target) for target in targets)

    serves.runs = lambda device: True
    dispatch.planned = lambda z: None  # whose launches are those of a first call
    for room in (classes, picks, reduction, values):
        room.launch = compile_instead
    with ls.kernels.use("triton"):
        call()
    return found


ROWS = {
    "plain": {},
    "z_loss": {"z_loss": 1e-4},
    "focal": {"focal_gamma": 2.0},
    "smoothed": {"label_smoothing": 0.1},
    "capped": {"softcap": 30.0},
    "stats": {"return_stats": True},
    "everything": {"label_smoothing": 0.1, "softcap": 30.0, "z_loss": 1e-4, "return_stats": True},
}
LABELS = {"plain": {}, "smoothed": {"label_smoothing": 0.1}, "focal": {"focal_gamma": 2.0, "ignore_index": -1}}
CLASSES = (1, 10, 100, 1000, 2000, 4096, 8192, 16384, 32000, 50257, 128256)


class Case(NamedTuple):
    """A call to compile."""

    name: str
    call: Callable[[], object]


def cross_entropy(classes: int, dtype: str, name: str, kind: str, weighted: bool, reduction: str) -> Case:
    """One call with its backward; ``kind``: an index target, a soft one, or that of an image."""

    def call() -> None:
        shape = (2, classes, 4, 4) if kind == "image" else (2, classes)
        z = torch.zeros(shape, dtype=DTYPES[dtype], requires_grad=True)
        y = torch.zeros(shape[:1] + shape[2:], dtype=torch.int64)
        target = torch.full_like(z, 1 / classes).detach() if kind == "soft" else y
        weight = torch.ones(classes, dtype=DTYPES[dtype]) if weighted else None
        loss = ls.cross_entropy(z, target, weight, reduction=reduction, **ROWS[name])
        (loss[0] if isinstance(loss, tuple) else loss).sum().backward()

    about = ", ".join((name, kind, reduction, *["weighted"] * weighted))
    return Case(f"cross_entropy {dtype} H={classes} {about}", call)


def labels(columns: int, dtype: str, name: str, weighted: bool, reduction: str) -> Case:
    """Binary labels, with weights of every kind or without."""

    def call() -> None:
        z = torch.zeros(64, columns, dtype=DTYPES[dtype], requires_grad=True)
        some = torch.ones(columns, dtype=DTYPES[dtype]) if weighted else None
        each = torch.ones(64, 1, dtype=DTYPES[dtype]) if weighted else None
        arguments = {"weight": each, "pos_weight": some, "reduction": reduction}
        ls.binary_cross_entropy_with_logits(z, torch.zeros_like(z), **arguments, **LABELS[name]).sum().backward()

    return Case(f"binary {dtype} H={columns} {name}, {reduction}" + ", weighted" * weighted, call)


def picked(classes: int, dtype: str, weighted: bool) -> Case:
    """The negative log-likelihood."""

    def call() -> None:
        s = torch.zeros(2, classes, dtype=DTYPES[dtype], requires_grad=True)
        weight = torch.ones(classes, dtype=DTYPES[dtype]) if weighted else None
        ls.nll_loss(s, torch.zeros(2, dtype=torch.int64), weight).backward()

    return Case(f"nll_loss {dtype} H={classes}" + ", weighted" * weighted, call)


def few() -> Iterator[Case]:
    """Every kernel, every way through it, and the tiles that take the most registers."""
    for dtype in ("float32", "bfloat16"):
        yield cross_entropy(1000, dtype, "plain", "index", False, "mean")
        yield cross_entropy(32000, dtype, "plain", "index", False, "mean")
        yield cross_entropy(50257, dtype, "z_loss", "index", True, "mean")
        yield cross_entropy(32000, dtype, "smoothed", "soft", False, "mean")
        yield cross_entropy(128256, dtype, "everything", "soft", True, "none")
        yield labels(1000, dtype, "focal", True, "mean")
    yield cross_entropy(128256, "bfloat16", "focal", "index", True, "sum")
    yield cross_entropy(21, "bfloat16", "everything", "image", True, "mean")
    yield cross_entropy(4096, "float64", "everything", "soft", True, "mean")
    yield picked(1000, "bfloat16", True)


def every() -> Iterator[Case]:
    """All combinations that choose other code or another tile; weights only add to what is held in registers."""
    for dtype, h, name, kind in product(DTYPES, CLASSES, ROWS, ("index", "soft")):
        if kind == "index" or "focal_gamma" not in ROWS[name]:
            yield cross_entropy(h, dtype, name, kind, True, "mean")
            yield cross_entropy(h, dtype, name, kind, False, "mean")
    for dtype, h, name in product(DTYPES, (2, 21, 150), ROWS):
        yield cross_entropy(h, dtype, name, "image", True, "mean")
    for dtype, h, name, weighted in product(DTYPES, (1, 80, 1000, 100_000), LABELS, (False, True)):
        for reduced in ("mean", "none"):
            yield labels(h, dtype, name, weighted, reduced)
    for dtype, h, weighted in product(DTYPES, (10, 1000, 128256), (False, True)):
        yield picked(h, dtype, weighted)


def main() -> int:
    """Compile the cases and print what each kernel takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every combination: some thousands, half an hour")
    parser.add_argument("--targets", nargs="+", type=int, default=TARGETS, metavar="SM")
    parser.add_argument("--part", default="0/1", help="only cases I, I+N, I+2N …, as I/N: to share them out")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()
    index, parts = map(int, arguments.part.split("/"))
    spilled = failed = launches = 0
    cases = [case for case in (every() if arguments.all else few()) if arguments.only in case.name]
    for case in cases[index::parts]:
        for usage in usages(case.call, tuple(arguments.targets)):
            launches += 1
            spilled, failed = spilled + (usage.spilled > 0), failed + usage.fails
            took = f"{usage.warps} warps, {usage.registers} registers, {usage.spilled} bytes spilled"
            took += f", {usage.in_loops} times in a loop" if usage.spilled else ""
            print(f"{case.name}: {usage.kernel} sm_{usage.target}, {took}", flush=True)
    print(f"{launches} kernels compiled, {spilled} of them spill, {failed} in a loop or much")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
