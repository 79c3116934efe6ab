"""The cost model against what torch's own profiler counts, and against what a process really holds."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

import losscope as ls
from losscope.cli.app import app
from losscope.cost import Problem, chunked, eager, fused, plan, vocabulary_parallel

SIZES = Problem(tokens=1024, hidden=128, classes=32000)

HELD = """
import sys, torch, torch.distributed as dist, torch.nn.functional as F, losscope as ls
if "numba" in sys.argv[1]:
    kernel = ls.kernels.use("eager"); kernel.__enter__()
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
losses = {
    "eager": lambda x, w, y: F.cross_entropy(F.linear(x, w), y),
    "fused": lambda x, w, y: ls.cross_entropy(F.linear(x, w), y),
    "chunked": ls.linear_cross_entropy,
    "chunked without numba": ls.linear_cross_entropy,
    "vocabulary_parallel": lambda x, w, y: ls.linear_cross_entropy(x, w, y, group=dist.group.WORLD),
}
def step(n, h):
    x, w = torch.randn(n, 128, requires_grad=True), torch.randn(h, 128, requires_grad=True)
    y = torch.randint(0, h, (n,))
    return [x, w], lambda: losses[sys.argv[1]](x, w, y)
leaves, loss = step(512, 20000)
torch.autograd.grad(loss(), leaves)  # what is compiled or loaded once is not counted
leaves, loss = step(1024, 32000)
open("/proc/self/clear_refs", "w").write("5")
field = lambda name: 1024 * int(next(l for l in open("/proc/self/status") if l.startswith(name)).split()[1])
before = field("VmRSS")
gradients = torch.autograd.grad(loss(), leaves)
print(field("VmHWM") - before - sum(g.numel() * 4 for g in gradients))
"""


def held(strategy):
    done = subprocess.run([sys.executable, "-c", HELD, strategy], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("strategy", [eager, fused, vocabulary_parallel])
def test_a_strategy_holds_what_the_model_says(strategy):
    assert held(strategy.__name__) == pytest.approx(strategy(SIZES).held, rel=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("strategy", ["chunked", "chunked without numba"])
def test_chunked_does_not_hold_more_than_the_model_says(strategy):
    """In one of three processes: what an allocator happens to map beside it only ever adds. The logits are 131 MB."""
    assert any(held(strategy) < chunked(SIZES).held + 2**23 for _ in range(3))


def test_operations_are_those_that_torch_counts():
    p = Problem(tokens=8, hidden=4, classes=16)
    x, w = torch.randn(8, 4, requires_grad=True), torch.randn(16, 4, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(F.linear(x, w), torch.zeros(8, dtype=torch.long)).backward()
    assert {cost.operations for cost in plan(p)} == {counter.get_total_flops()}


def test_ranks_share_the_operations_and_send_no_logits():
    one, four = (vocabulary_parallel(Problem(1024, 128, 32000, ranks)) for ranks in (1, 4))
    assert four.operations == one.operations / 4
    assert one.sent == 0
    assert four.sent < SIZES.logits / 50


def test_the_command_prints_the_same_numbers():
    result = CliRunner().invoke(app, ["plan", "--tokens", "1024", "--hidden", "128", "--classes", "32000", "--json"])
    costs = json.loads(result.stdout)["costs"]
    assert [c["held"] for c in costs] == [c.held for c in plan(SIZES)]


def test_sizes_must_be_positive():
    with pytest.raises(ls.InputError, match="tokens"):
        Problem(0, 1, 1)


def test_the_counts_of_each_strategy_by_hand():
    """Chunks of 2816 rows, whose float32 logits of 1000 classes are just below 11 MiB: four of them."""
    p = Problem(tokens=10_000, hidden=8, classes=1000, ranks=3, bytes_per_number=2)
    logits, weight, chunk, shard = 2 * 10_000 * 1000, 8 * 1000, 2816 * 1000, 4 * 10_000 * 334
    assert (eager(p).moved, eager(p).held) == (9 * logits, 3 * logits)
    assert (fused(p).moved, fused(p).held) == (5 * logits, 2 * logits)
    assert chunked(p).moved == 5 * 4 * 10_000 * 1000 + 4 * weight * (2 * 2 + 2 * 4)
    assert chunked(p).held == 4 * chunk + 2 * chunk + 4 * weight
    shared = vocabulary_parallel(p)
    assert (shared.moved, shared.held) == (19 * shard, 3 * shard)
    assert shared.sent == 2 * 10_000 * (3 * 4 + 8 * 2) * 2 // 3


def test_the_command_takes_every_size():
    sizes = {"--tokens": 64, "--hidden": 8, "--classes": 1000, "--ranks": 4, "--bytes": 2}
    result = CliRunner().invoke(app, ["plan", "--json", *(str(x) for pair in sizes.items() for x in pair)])
    assert json.loads(result.stdout)["costs"] == [asdict(cost) for cost in plan(Problem(*sizes.values()))]
