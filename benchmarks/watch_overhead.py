"""What ``ls.watch`` adds to one training step: between its checks, at a check, and with the plain loss beside it.

    python benchmarks/watch_overhead.py

Medians of alternated rounds in one process, on one thread.
"""

import statistics
import time

import torch
from torch import nn

import losscope as ls

ROUNDS, CALLS = 60, 200


def per_call(step, calls: int) -> float:
    """Microseconds of one call."""
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) / calls * 1e6


def training_step(loss: nn.Module, n: int, h: int):
    """Forward, loss and backward of a small network."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, h))
    x, y = torch.randn(n, 64), torch.randint(h, (n,))

    def step() -> None:
        model.zero_grad()
        loss(model(x), y).backward()

    return step


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{'':24}{'plain step':>12}{'between checks':>18}{'every 100th':>16}{'each call checked':>20}")
    for n, h in ((32, 10), (128, 100), (256, 1000)):
        plain = training_step(nn.CrossEntropyLoss(), n, h)
        between = training_step(ls.watch(nn.CrossEntropyLoss(), every=10**9), n, h)
        hundredth = training_step(ls.watch(nn.CrossEntropyLoss(), every=100), n, h)
        checked = training_step(ls.watch(nn.CrossEntropyLoss(), every=1), n, h)
        for step in (plain, between, hundredth, checked):
            per_call(step, 20)  # the first calls are checked by every watch
        calls = max(20, CALLS * 32 * 10 // (n * h))
        times = [[per_call(s, calls) for s in (plain, between)] for _ in range(ROUNDS)]
        base = statistics.median(p for p, _ in times)
        added = statistics.median(b - p for p, b in times)
        extra = statistics.median(per_call(hundredth, 200) - per_call(plain, 200) for _ in range(8))
        check = statistics.median(per_call(checked, 10) for _ in range(8)) - base
        print(f"N={n:<5} H={h:<14}{base:>10.1f} µs{added:>+15.1f} µs{extra:>+13.1f} µs{check:>+17.0f} µs")


if __name__ == "__main__":
    main()
