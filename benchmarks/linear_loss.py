"""The last linear layer and its loss beside what torch offers, on a CPU: time, memory held, error.

    python benchmarks/linear_loss.py [--seconds 1] [--shape 2048 512 32000] [--only peers]

Forward and backward, to the input and the weight, in float32 and in bfloat16. A larger shape: --shape 4096 1024 50000
(minutes). Writes benchmarks/results/linear_loss.txt when it ran everything at the shape above.

Memory is measured in a process for each: the most that it held beyond the gradients, after a first call that loads and
compiles what there is and whose memory went back to the system. The error is that of dx and dW against float64,
relative to the largest entry.

filter_eps is measured on outputs as peaked as a language model's: a bias of Zipf's ln(1/rank) over classes in random
order, plus Gaussian logits, of which the targets are drawn.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import losscope as ls
from harness import alternate, machine
from losscope.kernels.chunked import rows_of_a_chunk

RESULTS = Path(__file__).parent / "results" / "linear_loss.txt"
SHAPE = (2048, 512, 32000)
DTYPES = ("float32", "bfloat16")
EPS = (2.0**-14, 2.0**-12, 2.0**-10)
SPREAD = 3.5  # standard deviation of the Gaussian logits, in nats

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def eager(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """Torch's two operators, as most training loops have them."""
    return F.cross_entropy(F.linear(x, w), y)


def chunked(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """Torch's own linear loss in chunks, which its options choose."""
    return F.linear_cross_entropy(x, w, y, options=torch.nn.LinearCrossEntropyOptions())


LOSSES: dict[str, Callable[[], Loss]] = {
    "losscope": lambda: ls.linear_cross_entropy,
    "losscope, recompute": lambda: partial(ls.linear_cross_entropy, recompute=True),
    "torch eager": lambda: eager,
    "torch.compile": lambda: torch.compile(eager),
    "torch chunked": lambda: chunked,
}


class Problem(NamedTuple):
    """Input and weight, which want gradients, and targets."""

    x: Tensor
    w: Tensor
    y: Tensor

    def gradients(self, loss: Loss) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(self.x, self.w, self.y), (self.x, self.w))


def problem(n: int, d: int, h: int, dtype: torch.dtype) -> Problem:
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(n, d, generator=g), torch.randn(h, d, generator=g) / d**0.5
    y = torch.randint(0, h, (n,), generator=g)
    return Problem(x.to(dtype).requires_grad_(), w.to(dtype).requires_grad_(), y)


def held(name: str, shape: tuple[int, ...], dtype: str) -> float:
    """MB that a process of its own held at once beyond the gradients."""
    command = [sys.executable, __file__, "--held", name, "--dtype", dtype, "--shape", *map(str, shape)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def print_held(name: str, shape: tuple[int, ...], dtype: str) -> None:
    loss = LOSSES[name]()
    p = problem(*shape, getattr(torch, dtype))
    p.gradients(loss)  # loads and compiles what there is, oneDNN's kernels for these sizes among it
    ctypes.CDLL(None).malloc_trim(0)  # else what the first calls gave back would be there to be taken again
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    gradients = p.gradients(loss)
    print((_status("VmHWM") - before - sum(g.nbytes for g in gradients)) / 1e6)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def peers(shape: tuple[int, ...], seconds: float, dtype: str) -> list[str]:
    """Ours beside each of the others, in turn."""
    p = problem(*shape, getattr(torch, dtype))
    logits = shape[0] * shape[2] * p.x.element_size() / 1e6
    exact = Problem(p.x.double(), p.w.double(), p.y).gradients(eager)
    lines = [
        f"{dtype}, N, D, H = {shape}: {logits:.0f} MB of logits",
        f"{'':20}{'ms':>10}{'losscope ms':>14}{'ratio':>8}{'held MB':>10}{'of logits':>11}{'error dx':>11}{'dW':>10}",
    ]
    for name, make in LOSSES.items():
        loss = make()
        errors = [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(p.gradients(loss), exact, strict=True)]
        memory = held(name, shape, dtype)
        times = " " * 32
        if name != "losscope":
            t = alternate(lambda: p.gradients(ls.linear_cross_entropy), lambda loss=loss: p.gradients(loss), seconds)
            times = f"{t.peer:10.0f}{t.ours:14.0f}{1 / t.ratio:8.2f}"
        lines.append(f"{name:20}{times}{memory:10.1f}{memory / logits:11.1%}{errors[0]:11.1e}{errors[1]:10.1e}")
        print(lines[-1], flush=True)
    return lines


def filtered(shape: tuple[int, ...], seconds: float) -> list[str]:
    """What filter_eps leaves out, saves and costs."""
    n, d, h = shape
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(n, d, generator=g), SPREAD * torch.randn(h, d, generator=g) / d**0.5
    b = -torch.arange(1.0, h + 1).log()[torch.randperm(h, generator=g)]
    s = F.linear(x, w, b).log_softmax(1)
    y = torch.multinomial(s.exp(), 1, generator=g).squeeze(1)
    entropy, likely = -(s.exp() * s).sum(1).mean().item(), s.exp()
    del s
    p = Problem(x.requires_grad_(), w.requires_grad_(), y)

    def with_eps(eps: float | None) -> Loss:
        return lambda x, w, y: ls.linear_cross_entropy(x, w, y, linear_bias=b, filter_eps=eps)

    exact = p.gradients(with_eps(None))
    lines = [
        f"filter_eps in float32 at N, D, H = {shape}, entropy {entropy:.2f} nats",
        f"{'eps':>10}{'left out':>10}{'ms':>8}{'exact ms':>10}{'ratio':>8}{'|error| / |dx|':>16}{'|error| / |dW|':>16}",
    ]
    for eps in EPS:
        out = 1 - sum(map(len, _kept(likely, y, eps))) / (h * -(-n // rows_of_a_chunk(4 * h)))
        pairs = zip(p.gradients(with_eps(eps)), exact, strict=True)
        errors = [((a - b).norm() / b.norm()).item() for a, b in pairs]
        t = alternate(lambda eps=eps: p.gradients(with_eps(eps)), lambda: p.gradients(with_eps(None)), seconds)
        lines.append(
            f"{eps:10.2e}{out:10.1%}{t.ours:8.0f}{t.peer:10.0f}{1 / t.ratio:8.2f}{errors[0]:16.1e}{errors[1]:16.1e}"
        )
        print(lines[-1], flush=True)
    return lines


def _kept(likely: Tensor, y: Tensor, eps: float) -> list[Tensor]:
    """The classes of each chunk that the rule keeps, from the probabilities; all where it would keep more than half."""
    rows = rows_of_a_chunk(4 * likely.shape[1])
    chunks = zip(likely.split(rows), y.split(rows), strict=True)
    kept = [torch.cat(((q.amax(0) > eps).nonzero().squeeze(1), target)).unique() for q, target in chunks]
    every = torch.arange(likely.shape[1])
    return [some if 2 * len(some) <= len(every) else every for some in kept]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each pair; at least 5 runs of both")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("N", "D", "H"))
    parser.add_argument("--only", choices=["peers", "filter"])
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help=argparse.SUPPRESS)
    parser.add_argument("--held", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shape = tuple(arguments.shape)
    if arguments.held:
        return print_held(arguments.held, shape, arguments.dtype)
    lines = [f"Forward and backward, ratio = losscope / the other. {machine()}"]
    print(lines[0], flush=True)
    if arguments.only != "filter":
        for dtype in DTYPES:
            lines += ["", *peers(shape, arguments.seconds, dtype)]
    if arguments.only != "peers":
        lines += ["", *filtered(shape, arguments.seconds)]
    if arguments.only is None and shape == SHAPE:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
