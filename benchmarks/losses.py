"""Every function against torch's at three shapes, forward and with its backward: nothing may take 1.1 times as long.

    python benchmarks/losses.py [--seconds 1] [--only cross_entropy]

The limit of a loss over logits is memory: at least one read of them forward, and one write of their gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F

import losscope as ls
from harness import allocator, alternate, machine, markdown, median, times_faster

SHAPES = ((65536, 10), (4096, 32000), (64, 1000))


def cases(n: int, h: int) -> dict[str, tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor], torch.Tensor]]:
    """Name to (ours, torch's, the leaf whose gradient is wanted)."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(n, h, generator=g).requires_grad_()
    p = torch.rand(n, h, generator=g).requires_grad_()
    y = torch.randint(0, h, (n,), generator=g)
    m = torch.randint(0, 2, (n, h), generator=g).float()
    s = torch.log_softmax(z.detach(), 1).requires_grad_()
    d = min(h, 64)
    x, w = torch.randn(n, d, generator=g).requires_grad_(), torch.randn(h, d, generator=g) / 8
    value = torch.rand(n, h, generator=g) + 0.5
    return {
        "cross_entropy": (lambda: ls.cross_entropy(z, y), lambda: F.cross_entropy(z, y), z),
        "nll_loss": (lambda: ls.nll_loss(s, y), lambda: F.nll_loss(s, y), s),
        "binary_cross_entropy_with_logits": (
            lambda: ls.binary_cross_entropy_with_logits(z, m),
            lambda: F.binary_cross_entropy_with_logits(z, m),
            z,
        ),
        "binary_cross_entropy": (lambda: ls.binary_cross_entropy(p, m), lambda: F.binary_cross_entropy(p, m), p),
        "mse_loss": (lambda: ls.mse_loss(z, m), lambda: F.mse_loss(z, m), z),
        "mean_squared_log_error": (
            lambda: ls.mean_squared_log_error(z, value),
            lambda: F.mse_loss(z, value.log()),
            z,
        ),
        "linear_cross_entropy": (
            lambda: ls.linear_cross_entropy(x, w, y),
            lambda: F.linear_cross_entropy(x, w, y),
            x,
        ),
        "sigmoid": (lambda: ls.sigmoid(z), lambda: torch.sigmoid(z), z),
        "log_sigmoid": (lambda: ls.log_sigmoid(z), lambda: F.logsigmoid(z), z),
        "softmax": (lambda: ls.softmax(z, 1), lambda: torch.softmax(z, 1), z),
        "log_softmax": (lambda: ls.log_softmax(z, 1), lambda: torch.log_softmax(z, 1), z),
        "logsumexp": (lambda: ls.logsumexp(z, 1), lambda: torch.logsumexp(z, 1), z),
    }


def with_backward(function: Callable[[], torch.Tensor], leaf: torch.Tensor) -> Callable[[], object]:
    """The gradient too, for an upstream of 1."""
    return lambda: torch.autograd.grad(function().sum(), leaf)


def without(function: Callable[[], torch.Tensor]) -> Callable[[], object]:
    """Forward alone, no graph."""

    def run() -> object:
        with torch.no_grad():
            return function()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each line")
    parser.add_argument("--only", default="", help="functions whose name holds this")
    arguments = parser.parse_args()
    rows = []
    for n, h in SHAPES:
        for name, (ours, theirs, leaf) in cases(n, h).items():
            if arguments.only not in name:
                continue
            for pass_, a, b in (
                ("forward", without(ours), without(theirs)),
                ("forward + backward", with_backward(ours, leaf), with_backward(theirs, leaf)),
            ):
                taken = alternate({"ours": a, "torch": b}, arguments.seconds)
                ratio, low, high = times_faster(taken, "torch", "ours")
                milliseconds = [f"{1000 * median(taken[k]):.3f}" for k in ("ours", "torch")]
                rows.append([name, f"({n}, {h})", pass_, *milliseconds, f"{ratio:.2f}", f"{low:.2f} … {high:.2f}"])
                print(*rows[-1], flush=True)
    header = ("function", "shape", "pass", "ours, ms", "torch, ms", "ours / torch", "quartiles")
    print(f"\n{machine()}, {allocator()}, float32\n\n{markdown(header, rows)}")


if __name__ == "__main__":
    main()
