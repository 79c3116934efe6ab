"""Every function against torch's at three shapes, forward and with its backward: nothing may take 1.1 times as long.

    python benchmarks/core_losses.py [--seconds 1] [--kernels auto eager] [--only cross_entropy]

Writes benchmarks/results/core_losses.txt when it ran everything. "auto" is what a call gets; "eager" is what serves it
where the fused kernels cannot.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

import losscope as ls
from harness import alternate, machine

RESULTS = Path(__file__).parent / "results" / "core_losses.txt"

SHAPES = ((64, 1000), (65536, 10), (4096, 32000))


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


def line(name: str, shape: tuple[int, int], kernel: str, seconds: float) -> str:
    """Forward and backward of one function at one shape."""
    ours, theirs, leaf = cases(*shape)[name]
    with contextlib.nullcontext() if kernel == "auto" else ls.kernels.use(kernel):
        text = f"{name:34}{shape!s:15}{kernel:8}"
        for wrap in (without, lambda f: with_backward(f, leaf)):
            timing = alternate(wrap(ours), wrap(theirs), seconds)
            text += f"{timing.ours:10.3f}{timing.peer:10.3f}{1 / timing.ratio:8.2f}   "
    return text.rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each pair")
    parser.add_argument("--kernels", nargs="+", default=["auto"], choices=["auto", *ls.kernels.KERNELS])
    parser.add_argument("--only", default="", help="functions whose name holds this")
    arguments = parser.parse_args()
    columns = f"{'ours':>10}{'torch':>10}{'ratio':>8}   "
    lines = [f"Milliseconds forward, then forward and backward, float32, ratio = ours / torch. {machine()}", ""]
    lines.append(f"{'function':34}{'shape':15}{'kernel':8}{columns * 2}".rstrip())
    print(*lines, sep="\n", flush=True)
    for shape in SHAPES:
        for name in (name for name in cases(2, 2) if arguments.only in name):
            for kernel in arguments.kernels:
                lines.append(line(name, shape, kernel, arguments.seconds))
                print(lines[-1], flush=True)
    if not arguments.only:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
