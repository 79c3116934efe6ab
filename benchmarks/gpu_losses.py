"""The losses on a GPU beside torch's and those of three other libraries, all in turn in one process.

    python benchmarks/gpu_losses.py [--seconds 0.5] [--only linear] [--minutes 9] [--tiny]

Needs a CUDA device (without one it ends with status 2), and takes under ten minutes on an H100: the last cases are left
out where the minutes are up, and it says which. What is measured is written after each case, to
benchmarks/results/gpu_losses.txt. Peers that are not installed are left out, with a line that says so:
``pip install liger-kernel cut-cross-entropy quack-kernels``.

Of each: milliseconds of the forward without a graph, and of forward and backward, as the median of runs that took turns
with the others', the second cache emptied before each; the milliseconds until a step is on its way to the device, which
tell whether a short one is the host's; the memory that a step takes at its peak beside its arguments;
and how near the step comes to what the device can do. For a loss of logits that is the bytes which have to be moved
(logits read once, gradient written once) a second, over those of a copy. For a linear loss it is the time of its
three products alone over that of the step.

``--tiny`` tests the script: small shapes, on the CPU too, whose figures say nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import losscope as ls

RESULTS = Path(__file__).parent / "results" / "gpu_losses.txt"
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
OURS = "losscope"

Loss = Callable[[], Tensor]


class Case(NamedTuple):
    """One loss at one shape.

    Attributes:
        name: what and how large.
        peers: name to a function that makes the loss; each has leaves of its own.
        leaves: name to the tensors whose gradients a step takes.
        floor: bytes that a step has to move, or 0 where products take the time.
    """

    name: str
    peers: dict[str, Loss]
    leaves: dict[str, list[Tensor]]
    floor: int


class Figures(NamedTuple):
    """Milliseconds of a forward, of a step and of the host in it, and MiB at the peak of a step."""

    forward: float
    step: float
    host: float
    peak: float


# -------------------------------------------------------------------------------------------------- timing


def milliseconds(function: Callable[[], object], flush: Tensor) -> float:
    """One run, after the second cache was overwritten."""
    flush.zero_()
    if not CUDA:
        start = time.perf_counter()
        function()
        return (time.perf_counter() - start) * 1e3
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def in_turn(functions: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The median milliseconds of each: one run of each after the other, for so long and at least 5 times."""
    flush = torch.empty(1 << (26 if CUDA else 10), dtype=torch.float32, device=DEVICE)  # 256 MiB
    times: dict[str, list[float]] = {name: [] for name in functions}
    end = time.perf_counter() + seconds
    while min(map(len, times.values()), default=5) < 5 or time.perf_counter() < end:
        for name, function in functions.items():
            times[name].append(milliseconds(function, flush))
    return {name: statistics.median(each) for name, each in times.items()}


def host(step: Callable[[], object]) -> float:
    """The median milliseconds until the call is back, the device being idle before it."""
    times = []
    for _ in range(7):
        if CUDA:
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def peak(step: Callable[[], object]) -> float:
    """MiB that a step takes at its peak beside what was there before."""
    if not CUDA:
        return float("nan")
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def copy_bandwidth() -> float:
    """GB/s of one read and one write, the best of 10 copies of 1 GiB."""
    source = torch.ones(1 << (28 if CUDA else 12), dtype=torch.float32, device=DEVICE)
    goal, flush = torch.empty_like(source), torch.empty(1, device=DEVICE)
    best = min(milliseconds(lambda: goal.copy_(source), flush) for _ in range(10))
    return 2 * source.numel() * 4 / best / 1e6


# --------------------------------------------------------------------------------------------------- peers


def installed(name: str, load: Callable[[], Callable[..., Tensor]], into: dict[str, Callable[..., Tensor]]) -> None:
    """A peer, or a line that says why it is left out."""
    try:
        into[name] = load()
    except Exception as error:  # of a library that is not there, or not for this device
        print(f"left out: {name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def cross_entropies() -> dict[str, Callable[..., Tensor]]:
    """(z, y) to the mean loss."""

    def liger() -> Callable[..., Tensor]:
        from liger_kernel.transformers import LigerCrossEntropyLoss

        return LigerCrossEntropyLoss()

    def quack() -> Callable[..., Tensor]:
        from quack.cross_entropy import cross_entropy

        return lambda z, y: cross_entropy(z, y, reduction="mean")

    def in_place() -> Callable[..., Tensor]:
        """Past the guard, which wants logits that were computed: here nobody uses them again."""
        from losscope.kernels import triton
        from losscope.kernels.options import CategoricalOptions

        return lambda z, y: triton.cross_entropy_inplace(z, y, None, CategoricalOptions())

    found: dict[str, Callable[..., Tensor]] = {OURS: ls.cross_entropy}
    installed("losscope, in place", in_place, found)
    found["torch eager"] = F.cross_entropy
    found["torch.compile"] = torch.compile(F.cross_entropy, dynamic=False)
    installed("liger-kernel", liger, found)
    installed("quack-kernels", quack, found)
    return found


def linear_losses() -> dict[str, Callable[..., Tensor]]:
    """(x, W, y) to the mean loss."""

    def liger(sums: torch.dtype | None) -> Callable[..., Tensor]:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        loss = LigerFusedLinearCrossEntropyLoss(accum_dtype=sums)
        return lambda x, w, y: loss(w, x, y)

    def cut(filter_eps: str | None) -> Callable[..., Tensor]:
        from cut_cross_entropy import linear_cross_entropy

        return partial(linear_cross_entropy, filter_eps=filter_eps)

    def quack() -> Callable[..., Tensor]:
        from quack.linear_cross_entropy import chunked_linear_cross_entropy

        return lambda x, w, y: chunked_linear_cross_entropy(x, w, y, reduction="mean")

    def full(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(x, w), y)

    def chunked() -> Callable[..., Tensor]:
        return partial(F.linear_cross_entropy, options=torch.nn.LinearCrossEntropyOptions())  # new in torch 2.13

    found: dict[str, Callable[..., Tensor]] = {
        OURS: ls.linear_cross_entropy,
        f"{OURS}, recompute": partial(ls.linear_cross_entropy, recompute=True),
        "torch eager": full,
        "torch.compile": torch.compile(full, dynamic=False),
    }
    installed("torch chunked", chunked, found)
    installed("liger-kernel", lambda: liger(None), found)
    installed("liger, float32 sums", lambda: liger(torch.float32), found)
    installed("cut-cross-entropy", lambda: cut("high"), found)
    installed("cut, nothing filtered", lambda: cut(None), found)
    installed("quack-kernels", quack, found)
    return found


# --------------------------------------------------------------------------------------------------- cases


def of_logits(n: int, h: int, dtype: torch.dtype) -> Case:
    """Cross-entropy of logits; each peer has its own, for some write over them."""
    g = torch.Generator(DEVICE).manual_seed(0)
    logits = torch.randn(n, h, generator=g, device=DEVICE, dtype=dtype)
    y = torch.randint(0, h, (n,), generator=g, device=DEVICE)
    peers, leaves = {}, {}
    for name, loss in cross_entropies().items():
        z = logits.clone().requires_grad_()
        peers[name], leaves[name] = (lambda loss=loss, z=z: loss(z, y)), [z]
    return Case(f"cross_entropy ({n}, {h})", peers, leaves, 2 * logits.numel() * logits.element_size())


def of_labels(n: int, h: int, dtype: torch.dtype) -> Case:
    """Binary cross-entropy with logits, whose targets are read too."""
    g = torch.Generator(DEVICE).manual_seed(0)
    z = torch.randn(n, h, generator=g, device=DEVICE, dtype=dtype).requires_grad_()
    t = torch.randint(0, 2, (n, h), generator=g, device=DEVICE).to(dtype)
    theirs = F.binary_cross_entropy_with_logits
    losses = {
        OURS: ls.binary_cross_entropy_with_logits,
        "torch eager": theirs,
        "torch.compile": torch.compile(theirs, dynamic=False),
    }
    peers: dict[str, Loss] = {name: (lambda loss=loss: loss(z, t)) for name, loss in losses.items()}
    title = f"binary_cross_entropy_with_logits ({n}, {h})"
    return Case(title, peers, {name: [z] for name in peers}, 3 * z.numel() * z.element_size())


def of_layer(n: int, d: int, h: int, dtype: torch.dtype) -> Case:
    """The linear loss, and its products alone."""
    g = torch.Generator(DEVICE).manual_seed(0)
    x = torch.randn(n, d, generator=g, device=DEVICE, dtype=dtype).requires_grad_()
    w = (torch.randn(h, d, generator=g, device=DEVICE, dtype=dtype) / d**0.5).requires_grad_()
    y = torch.randint(0, h, (n,), generator=g, device=DEVICE)
    peers: dict[str, Loss] = {name: (lambda loss=loss: loss(x, w, y)) for name, loss in linear_losses().items()}
    peers[PRODUCTS] = lambda: _Products.apply(x, w)
    return Case(f"linear N={n} D={d} H={h}", peers, {name: [x, w] for name in peers}, 0)


PRODUCTS = "three products alone"


class _Products(torch.autograd.Function):
    """z = x Wᵀ; backward dx = z W and dW = zᵀ x, as if z were its own gradient."""

    @staticmethod
    def forward(ctx, x, w):
        z = x @ w.T
        ctx.save_for_backward(x, w, z)
        return z[0, 0]

    @staticmethod
    def backward(ctx, _):
        x, w, z = ctx.saved_tensors
        return z @ w, z.T @ x


def cases(tiny: bool, dtype: torch.dtype) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Name to what makes the case, which takes memory."""
    logits = [(32, 50)] if tiny else [(8192, 32000), (4096, 128256), (16384, 50257)]
    labels = [(16, 20)] if tiny else [(65536, 1000)]
    layers = [(32, 8, 50)] if tiny else [(8192, 4096, 128256), (8192, 2304, 256000), (8192, 768, 50257)]
    for layer in layers[:1]:
        yield f"linear {layer}", lambda layer=layer: of_layer(*layer, dtype)
    for shape in logits:
        yield f"cross_entropy {shape}", lambda shape=shape: of_logits(*shape, dtype)
    for layer in layers[1:]:
        yield f"linear {layer}", lambda layer=layer: of_layer(*layer, dtype)
    for shape in labels:
        yield f"binary {shape}", lambda shape=shape: of_labels(*shape, dtype)
    if not tiny:
        yield "linear (8192, 4096, 32000)", lambda: of_layer(8192, 4096, 32000, dtype)


# ----------------------------------------------------------------------------------------------- measuring


def step_of(loss: Loss, leaves: list[Tensor]) -> Callable[[], None]:
    """Forward and backward; the gradients are dropped."""

    def step() -> None:
        torch.autograd.grad(loss(), leaves)

    return step


def forward_of(loss: Loss) -> Callable[[], None]:
    """The forward without a graph."""

    def forward() -> None:
        with torch.no_grad():
            loss()

    return forward


def measured(case: Case, seconds: float) -> dict[str, Figures]:
    """Every peer that runs, and whose loss is the eager one's."""
    expected, running = None, {}
    for name, loss in sorted(case.peers.items(), key=lambda item: item[0] != "torch eager"):
        try:
            value = float(loss().detach())
            forward_of(loss)()
            step_of(loss, case.leaves[name])()
        except Exception as error:  # out of memory, or not for this device
            print(f"left out of {case.name}: {name}: {type(error).__name__}: {str(error)[:120]}".splitlines()[0])
            continue
        expected = value if name == "torch eager" else expected
        if name != PRODUCTS and expected is not None and abs(value - expected) > 0.02 * abs(expected):
            print(f"{case.name}: the loss of {name} is {value:.5g}, that of torch eager {expected:.5g}")
        running[name] = loss
    running = {name: running[name] for name in case.peers if name in running}
    steps = {name: step_of(loss, case.leaves[name]) for name, loss in running.items()}
    peaks = {name: peak(step) for name, step in steps.items()}
    hosts = {name: host(step) for name, step in steps.items()}
    forward = in_turn({name: forward_of(loss) for name, loss in running.items()}, seconds)
    both = in_turn(steps, seconds)
    return {name: Figures(forward[name], both[name], hosts[name], peaks[name]) for name in running}


def table(case: Case, figures: dict[str, Figures], bandwidth: float) -> Iterator[str]:
    """A line for each."""
    for name, (forward, step, called, memory) in figures.items():
        if case.floor:
            rate = case.floor / step / 1e6
            near = f"{rate:8.0f} GB/s {rate / bandwidth:6.2f} of a copy"
        else:
            near = f"{figures[PRODUCTS].step / step:6.2f} of the products" if PRODUCTS in figures else ""
        ratio = step / figures[OURS].step if OURS in figures else float("nan")
        line = f"{case.name:46}{name:22}{forward:10.3f}{step:10.3f}{called:10.3f}{ratio:9.2f}{memory:12.1f}  {near}"
        yield line.rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each loss and direction, all peers together")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no further case is begun")
    parser.add_argument("--tiny", action="store_true", help="small shapes, on the CPU too: tests the script")
    arguments = parser.parse_args()
    if not (CUDA or arguments.tiny):
        print("no CUDA device: nothing is measured")
        return 2
    start, bandwidth = time.perf_counter(), copy_bandwidth()
    device = torch.cuda.get_device_name() if CUDA else "CPU: figures that say nothing"
    lines = [f"{device}, torch {torch.__version__}, {arguments.dtype}, copies at {bandwidth:.0f} GB/s", ""]
    lines += [f"{'loss':46}{'':22}{'forward ms':>10}{'step ms':>10}{'host ms':>10}{'/ ours':>9}{'peak MiB':>12}"]
    for name, make in cases(arguments.tiny, getattr(torch, arguments.dtype)):
        if arguments.only not in name:
            continue
        if time.perf_counter() - start > 60 * arguments.minutes:
            lines.append(f"left out, the time is up: {name}")
            continue
        case = make()
        lines += table(case, measured(case, arguments.seconds), bandwidth)
        del case
        torch.compiler.reset()
        if CUDA:
            torch.cuda.empty_cache()
        if CUDA and not (arguments.tiny or arguments.only):
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(*lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
