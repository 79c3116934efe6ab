"""Each example's gradient is that of one big batch, with the real libraries."""

import importlib
import logging
import sys
from pathlib import Path

import pytest
import torch
from tests.parallel.ranks import on_ranks

EXAMPLES = str(Path(__file__).parents[1] / "examples")


def example(name):
    """The module; its folder is on the path, as it is for `python examples/….py`."""
    sys.path.insert(0, EXAMPLES)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(EXAMPLES)


def of_one_big_batch():
    return example("unequal").of_one_big_batch()


def test_the_problem_shows_the_mistake():
    """A mean of the means is not close, so that an example which took it would fail."""
    unequal = example("unequal")
    net = unequal.model()
    for x, y in unequal.batches():
        if (y >= 0).any():
            (torch.nn.functional.cross_entropy(net(x), y) / 3).backward()
    assert not torch.allclose(net.weight.grad, of_one_big_batch(), rtol=0.05)


def test_plain():
    torch.testing.assert_close(example("accumulation_plain").gradient(), of_one_big_batch())


def ddp():
    return example("accumulation_ddp").gradient()


def test_ddp():
    for gradient in on_ranks(2, ddp):
        torch.testing.assert_close(gradient, of_one_big_batch())


@pytest.mark.filterwarnings("ignore")  # of the libraries, about themselves
@pytest.mark.parametrize(
    ("library", "name"), [("lightning", "lightning"), ("accelerate", "accelerate"), ("transformers", "trainer")]
)
def test_library(library, name, tmp_path, monkeypatch):
    pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.testing.assert_close(example(f"accumulation_{name}").gradient(), of_one_big_batch())
