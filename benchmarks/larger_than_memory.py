"""``losscope report`` on files larger than the memory it may take: its peak, and how long it ran.

    python benchmarks/larger_than_memory.py long FOLDER    # 10,000,000 × 10, parquet, 0.5 GB
    python benchmarks/larger_than_memory.py wide FOLDER    # 200,000 × 32,000, float16 by memory map, 12.8 GB

The files are made in batches, and removed at the end.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

# The command, and at its end the most memory that it had in use.
REPORT = """
import atexit, sys
from losscope.cli import main

def tell():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(f"peak of memory {int(line.split()[1]) / 1024:,.0f} MiB", file=sys.stderr)

atexit.register(tell)
main()
"""


def batches(rows: int, classes: int, at_once: int, lead: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Raw outputs of which one leads, and is the target four times of five."""
    g = torch.Generator().manual_seed(0)
    for _ in range(0, rows, at_once):
        z, best = torch.randn(at_once, classes, generator=g), torch.randint(classes, (at_once,), generator=g)
        z[torch.arange(at_once), best] += lead
        other = torch.randint(classes, (at_once,), generator=g)
        yield z, torch.where(torch.rand(at_once, generator=g) < 0.8, best, other)


def write_long(folder: Path, rows: int = 10_000_000) -> list[Path]:
    path, classes, at_once = folder / "long.parquet", 10, 250_000
    schema = pa.schema([("z", pa.list_(pa.float32(), classes)), ("y", pa.int64())])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for z, y in batches(rows, classes, at_once, 4):
            lists = pa.FixedSizeListArray.from_arrays(z.flatten().numpy(), classes)
            writer.write_table(pa.table({"z": lists, "y": y.numpy()}, schema=schema), row_group_size=at_once)
    return [path]


def write_wide(folder: Path) -> list[Path]:
    paths, rows, classes, at_once = [folder / "wide.npy", folder / "wide_y.npy"], 200_000, 32_000, 1000
    targets = []
    with open(paths[0], "wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (rows, classes)}
        np.lib.format.write_array_header_1_0(file, header)
        for z, y in batches(rows, classes, at_once, 14):
            file.write(z.half().numpy().tobytes())
            targets.append(y)
    np.save(paths[1], torch.cat(targets).numpy())
    return paths


def report(files: list[Path], page: Path) -> str:
    """Make the page in a process of its own: what the files hold, its peak of memory, and how long it ran."""
    targets = ["--targets-file", files[1]] if len(files) > 1 else []
    began = time.perf_counter()
    command = [sys.executable, "-c", REPORT, "report", files[0], *targets, "--out", page]
    done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    size = sum(f.stat().st_size for f in files) / 2**20
    return f"files {size:,.0f} MiB, {done.stderr.strip()}, {time.perf_counter() - began:,.0f} s"


def main() -> None:
    """Print the figures."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    files = {"long": write_long, "wide": write_wide}[kind](folder)
    page = folder / "report.html"
    print(f"{kind}: {report(files, page)}")
    for file in [*files, page, page.with_suffix(".json")]:
        file.unlink()


if __name__ == "__main__":
    main()
