"""``losscope bench``: the losses beside torch eager, torch.compile and optax, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from losscope.cli import options as o
from losscope.errors import InputError

Shapes = Annotated[
    list[str] | None, typer.Option("--shape", help="N×H of the logits, such as 4096x32000.", metavar="NxH")
]
Only = Annotated[list[str] | None, typer.Option("--case", help="One of the cases; all of them when left out.")]
Dtype = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]
Seconds = Annotated[float, typer.Option(help="About how long each case is measured.", min=0)]
Peers = Annotated[bool, typer.Option("--compile/--no-compile", help="torch.compile as a peer: it compiles each case.")]
Optax = Annotated[bool, typer.Option("--optax/--no-optax", help="optax under jax.jit as a peer, where installed.")]
Jemalloc = Annotated[bool, typer.Option("--jemalloc", help="Run under jemalloc, with huge pages that it keeps.")]

WIDTH = 108
DTYPES = ("float32", "float64", "bfloat16", "float16")


def bench(
    shape: Shapes = None,
    case: Only = None,
    dtype: Dtype = "float32",
    seconds: Seconds = 2.0,
    compiled: Peers = True,
    optax: Optax = True,
    jemalloc: Jemalloc = False,
    json: o.AsJson = False,
) -> None:
    """Time each loss and its peers in turn in one process: medians, spread, ratio, memory and bandwidth."""
    import torch
    from rich.progress import track

    from losscope.bench import CASES, allocator, copy_bandwidth, machine, measure
    from losscope.cli.terminal import errors, results

    sizes = [_size(text) for text in shape or ["4096x32000", "65536x10"]]
    names = case or list(CASES)
    for name in names:
        if name not in CASES:
            raise InputError("bench", f"--case one of {', '.join(CASES)}", repr(name), "name one of them")
    if dtype not in DTYPES:
        raise InputError("bench", f"--dtype one of {', '.join(DTYPES)}", repr(dtype), "name one of them")
    if jemalloc and allocator() != "jemalloc":
        sys.exit(_under_jemalloc())

    copy = copy_bandwidth()
    where = {"machine": machine(), "allocator": allocator(), "copy_gb_per_s": copy, "dtype": dtype}
    rows: list[dict[str, Any]] = []
    todo = [(name, size) for size in sizes for name in names]
    for name, size in track(todo, "Cases", console=errors(), transient=True, disable=not errors().is_terminal):
        torch.manual_seed(0)
        one = CASES[name](torch.randn(size).to(getattr(torch, dtype)))
        found = measure(one, seconds, compiled=compiled, optax=optax)
        rows += [{"case": name, "shape": size, "bytes": one.bytes, **m._asdict()} for m in found]
    if json:
        from json import dumps

        typer.echo(dumps({**where, "rows": rows}, indent=1))
        return
    results().print(
        f"{where['machine']}; allocator {where['allocator']}; copy {copy:.0f} GB/s; {dtype}.\n"
        "Forward and backward (no_grad: forward). losscope: median ms ± half the distance of its quartiles; then each "
        "peer's time over losscope's; memory: the peak of one call, losscope / torch; of copy: the bytes that have to "
        "move, over losscope's time and the copy's speed.",
        soft_wrap=True,
    )
    console = results()
    console.width = max(console.width, WIDTH)  # in a file nothing is cut off
    console.print(_table(rows, copy))


def _table(rows: list[dict[str, Any]], copy: float) -> Any:
    """A line for each case at each shape."""
    from itertools import groupby

    from rich.table import Table

    table = Table(box=None)
    peers = list(dict.fromkeys(row["name"] for row in rows))[1:]
    for column in ("case", "N×H", "losscope ms", *peers, "memory MB", "of copy"):
        table.add_column(column, justify="left" if column in ("case", "N×H") else "right", no_wrap=True)
    for (case, (n, h)), group in groupby(rows, key=lambda row: (row["case"], row["shape"])):
        ours, *others = group
        ms, (low, high) = ours["milliseconds"], ours["spread"]
        table.add_row(
            case,
            f"{n}×{h}",
            f"{ms:.3f} ±{(high - low) / 2 / ms:.0%}",
            *(f"{other['ratio']:.2f}×" for other in others),
            " / ".join("?" if m["peak"] is None else f"{m['peak'] / 1e6:.0f}" for m in (ours, others[0])),
            f"{ours['bytes'] / ms / 1e6 / copy:.0%}",
        )
    return table


def _size(text: str) -> tuple[int, int]:
    """4096x32000 as two numbers."""
    n, _, h = text.lower().replace("×", "x").partition("x")
    if not (n.isdigit() and h.isdigit() and int(n) and int(h)):
        raise InputError("bench", "--shape as N and H, such as 4096x32000", repr(text), "write two positive integers")
    return int(n), int(h)


def _under_jemalloc() -> int:
    """This command again with jemalloc in the allocator's place; its exit code."""
    from losscope.bench import JEMALLOC_OPTIONS, jemalloc

    library = jemalloc()
    if library is None:
        raise InputError("bench", "jemalloc for --jemalloc", "no such library", "install it: apt install libjemalloc2")
    environment = os.environ | {"LD_PRELOAD": library, "MALLOC_CONF": JEMALLOC_OPTIONS}
    command = [sys.executable, "-c", "from losscope.cli.app import main; main()", *sys.argv[1:]]
    return subprocess.run(command, env=environment, check=False).returncode
