"""The fused CPU losses beside torch eager, forward and backward through the public function.

    python benchmarks/cpu_losses.py              # under the default allocator, then under jemalloc

Writes one table per allocator to benchmarks/results/.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import losscope as ls
from harness import JEMALLOC, alternate, copy_bandwidth, machine, under_jemalloc

RESULTS = Path(__file__).parent / "results"
Case = tuple[str, Callable[[], object], Callable[[], object]]


def training(loss: Callable[..., Tensor], z: Tensor, *args: object, **options: object) -> Callable[[], None]:
    """Forward and backward, the gradient dropped before the next."""

    def step() -> None:
        z.grad = None
        loss(z, *args, **options).backward()

    return step


def evaluation(loss: Callable[..., Tensor], z: Tensor, *args: object) -> Callable[[], None]:
    def step() -> None:
        with torch.no_grad():
            loss(z, *args)

    return step


def focal(z: Tensor, y: Tensor) -> Tensor:
    """The composition one writes in torch."""
    s = F.log_softmax(z, 1).gather(1, y[:, None]).squeeze(1)
    return ((1 - s.exp()) ** 2 * -s).mean()


def categorical(n: int, h: int, dtype: torch.dtype = torch.float32) -> Iterator[Case]:
    z, y = torch.randn(n, h).to(dtype).requires_grad_(), torch.randint(0, h, (n,))
    name = f"({n}, {h}) {str(dtype).removeprefix('torch.')}"
    yield f"cross_entropy {name}", training(ls.cross_entropy, z, y), training(F.cross_entropy, z, y)
    if dtype != torch.float32 or n * h < 1 << 16:
        return
    yield f"no_grad {name}", evaluation(ls.cross_entropy, z, y), evaluation(F.cross_entropy, z, y)
    smoothed = {"label_smoothing": 0.1}
    yield f"smoothing {name}", training(ls.cross_entropy, z, y, **smoothed), training(F.cross_entropy, z, y, **smoothed)
    w = torch.rand(h) + 0.5
    yield f"weights {name}", training(ls.cross_entropy, z, y, w), training(F.cross_entropy, z, y, w)
    yield f"focal {name}", training(ls.cross_entropy, z, y, focal_gamma=2.0), training(focal, z, y)
    q = torch.softmax(torch.randn(n, h), 1)
    yield f"soft targets {name}", training(ls.cross_entropy, z, q), training(F.cross_entropy, z, q)


def binary(n: int, h: int) -> Iterator[Case]:
    z, m = torch.randn(n, h, requires_grad=True), torch.randint(0, 2, (n, h)).float()
    ours, torchs = ls.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits
    yield f"bce with logits ({n}, {h})", training(ours, z, m), training(torchs, z, m)


def cases() -> Iterator[Case]:
    for n, h in ((4096, 32000), (4096, 1000), (65536, 100), (65536, 10), (1024, 10), (64, 10)):
        yield from categorical(n, h)
    yield from categorical(4096, 32000, torch.bfloat16)
    for n, h in ((65536, 100), (65536, 10), (1024, 10)):
        yield from binary(n, h)


def table(allocator: str) -> str:
    """The table, in Markdown."""
    lines = [
        f"Allocator: {allocator}. Machine: {machine()}; copy {copy_bandwidth():.0f} GB/s.",
        "",
        "| forward and backward | losscope ms (fastest) | torch ms (fastest) | ratio of pairs | of the fastest |",
        "|---|---|---|---|---|",
    ]
    for name, ours, peer in cases():
        t = alternate(ours, peer, seconds=2.0)
        fastest = t.fastest_peer / t.fastest_ours
        lines.append(
            f"| {name} | {t.ours:.3f} ({t.fastest_ours:.3f}) | {t.peer:.3f} ({t.fastest_peer:.3f}) "
            f"| {t.ratio:.2f} | {fastest:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    allocator = "jemalloc" if "LD_PRELOAD" in os.environ else "default"
    text = table(allocator)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"cpu_losses_{allocator}.md").write_text(text)
    print(text)
    if allocator == "default" and Path(JEMALLOC).exists():
        under_jemalloc(*sys.argv)


if __name__ == "__main__":
    main()
