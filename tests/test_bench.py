"""The benchmark compares the same losses, and the command says what it measured."""

import json
from collections import Counter
from itertools import pairwise

import pytest
import torch
from typer.testing import CliRunner

from losscope import bench
from losscope.cli.app import app
from losscope.errors import InputError


def run(*arguments):
    return CliRunner().invoke(app, ["bench", "--no-compile", "--no-optax", "--seconds", "0", *arguments])


@pytest.mark.parametrize("name", bench.CASES)
def test_both_sides_are_the_same_loss(name):
    torch.manual_seed(0)
    case = bench.CASES[name](torch.randn(30, 7, dtype=torch.float64))
    ours, torchs = (one.loss(case.z, *one.arguments) for one in (case.ours, case.torchs))
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("name", bench.CASES)
def test_and_optax_has_the_same(name):
    jax = pytest.importorskip("jax", reason="jax and optax are of the extra `bench`, not of `dev`")
    optax = pytest.importorskip("optax", reason="jax and optax are of the extra `bench`, not of `dev`")
    torch.manual_seed(0)
    case = bench.CASES[name](torch.randn(30, 7))
    z, *arguments = (jax.numpy.asarray(x.numpy()) for x in (case.z, *case.torchs.arguments))
    theirs = case.optax(optax, jax.numpy, z, tuple(arguments))
    torch.testing.assert_close(torch.tensor(float(theirs)), case.torchs.loss(case.z, *case.torchs.arguments))


def test_the_bytes_that_have_to_move():
    z = torch.zeros(4, 5)
    assert bench.CASES["cross_entropy"](z).bytes == 2 * 80  # z in, its gradient out
    assert bench.CASES["no_grad"](z).bytes == 80
    assert bench.CASES["soft"](z).bytes == 3 * 80


def test_functions_take_turns(monkeypatch):
    """Every round has each of them once, each follows every other as often, and a time stays with its function."""
    monkeypatch.setattr("losscope.bench.timing.milliseconds", lambda function: function())
    monkeypatch.setattr("losscope.bench.timing.FEWEST", 240)
    called = []
    functions = [lambda number=number: called.append(number) or float(number) for number in range(3)]
    rounds = bench.in_turn(functions, seconds=0)
    assert rounds == [(0, 1, 2)] * 240
    made = list(zip(*[iter(called)] * 3, strict=True))
    assert len(made) == 241  # the first doesn't count
    assert all(sorted(order) == [0, 1, 2] for order in made)
    follows = Counter(pair for order in made for pair in pairwise(order))
    assert len(follows) == 6
    assert min(follows.values()) > 240 * 2 / 6 / 2


def test_memory_is_that_of_the_call():
    """Sixteen million logits: torch holds their logarithms and their gradient, 128 MB."""
    case = bench.CASES["cross_entropy"](torch.zeros(16, 1_000_000))
    _, torchs = bench.measure(case, 0, compiled=False, optax=False)
    assert torchs.name == "torch"
    assert torchs.peak is None or 100e6 < torchs.peak < 200e6


def test_the_table_and_the_numbers():
    told = run("--shape", "40x8", "--case", "cross_entropy", "--case", "soft")
    assert told.exit_code == 0
    assert "cross_entropy" in told.stdout
    assert "40×8" in told.stdout
    found = json.loads(run("--shape", "40x8", "--case", "soft", "--json").stdout)
    assert [(row["case"], row["name"]) for row in found["rows"]] == [("soft", "losscope"), ("soft", "torch")]
    assert found["rows"][0]["ratio"] == 1
    assert found["copy_gb_per_s"] > 0


@pytest.mark.parametrize(
    "arguments", [("--shape", "40"), ("--shape", "0x3"), ("--case", "fast"), ("--dtype", "int8")], ids=" ".join
)
def test_what_it_does_not_know(arguments):
    told = run(*arguments)
    assert isinstance(told.exception, InputError)


def test_without_jemalloc_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("losscope.bench.jemalloc", lambda: None)
    told = run("--shape", "4x4", "--jemalloc")
    assert isinstance(told.exception, InputError)
    assert "libjemalloc2" in str(told.exception)
