"""`losscope bench` over the shapes of the README's table, under the default allocator and under jemalloc.

    python benchmarks/cpu_losses.py [--seconds 1.5]

Writes benchmarks/results/cpu_losses_default.txt and cpu_losses_jemalloc.txt. Every shape is a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

COMMAND = "from losscope.cli import main; main()"
RESULTS = Path(__file__).parent / "results"
SHAPES = {
    ("4096x32000", "float32"): (),
    ("4096x32000", "bfloat16"): ("cross_entropy", "no_grad"),
    ("4096x1000", "float32"): (),
    ("65536x100", "float32"): (),
    ("65536x10", "float32"): (),
    ("1024x10", "float32"): ("cross_entropy", "bce"),
    ("64x10", "float32"): ("cross_entropy", "bce"),
}


def table(shape: str, dtype: str, cases: tuple[str, ...], options: list[str]) -> str:
    """What the command prints."""
    chosen = [word for case in cases for word in ("--case", case)]
    command = [sys.executable, "-c", COMMAND, "bench", "--shape", shape, "--dtype", dtype, *chosen, *options]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each case")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile as a peer")
    arguments = parser.parse_args()
    common = ["--seconds", str(arguments.seconds), *(["--no-compile"] if arguments.no_compile else [])]
    RESULTS.mkdir(exist_ok=True)
    for allocator, options in (("jemalloc", ["--jemalloc"]), ("default", [])):
        tables = []
        for (shape, dtype), cases in SHAPES.items():
            tables.append(table(shape, dtype, cases, [*common, *options]))
            print(tables[-1], flush=True)
        (RESULTS / f"cpu_losses_{allocator}.txt").write_text("\n".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
