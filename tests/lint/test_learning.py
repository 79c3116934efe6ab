"""The first loss, constant outputs, one class for everything."""

import math

import pytest
import torch
from tests.lint.samples import DTYPES, SIZES, alarms, classes, found, generator, labels, untrained

from losscope import lint

every = pytest.mark.parametrize("dtype", DTYPES, ids=str)
sizes = pytest.mark.parametrize("n", SIZES)


@every
@sizes
@pytest.mark.parametrize("h", [2, 10, 1000])
def test_initial_loss_of_outputs_that_start_too_large(h, n, dtype):
    z, y = untrained(n, h, sigma=15.0)
    assert found(z.to(dtype), y, "cross_entropy", "initial-loss", step=0)
    for step in (None, 1, 100):
        assert not found(z.to(dtype), y, "cross_entropy", "initial-loss", step=step)
    z, y = untrained(n, h)
    assert alarms(z.to(dtype), y, "cross_entropy", step=0) == []


def test_initial_loss_says_what_chance_is():
    z, y = untrained(2000, 10, sigma=4.0)
    finding = next(f for f in lint(z, y, loss="cross_entropy", step=0) if f.rule == "initial-loss")
    assert finding.evidence["chance"] == pytest.approx(math.log(10))
    assert finding.evidence["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(z, y)))


@every
def test_initial_loss_of_outputs_that_know_the_labels(dtype):
    z, y = classes(300)
    assert found(z.to(dtype), y, "cross_entropy", "initial-loss", step=0)
    z, m = labels(300)
    assert found(z.to(dtype), m.to(dtype), "bce_with_logits", "initial-loss", step=0)


@every
def test_initial_loss_of_labels(dtype):
    g = generator()
    m = torch.bernoulli(torch.full((500, 6), 0.3), generator=g).to(dtype)
    large, small = 20 * torch.randn(500, 6, generator=g), 0.3 * torch.randn(500, 6, generator=g)
    assert found(large.to(dtype), m, "bce_with_logits", "initial-loss", step=0)
    assert not found(small.to(dtype), m, "bce_with_logits", "initial-loss", step=0)
    # A bias that starts at the logit of the labels' share is good practice.
    assert not found(small.to(dtype) + math.log(0.3 / 0.7), m, "bce_with_logits", "initial-loss", step=0)


@every
@sizes
def test_constant_output(n, dtype):
    g = generator()
    z, y = torch.randn(1, 10, generator=g).expand(n, 10).to(dtype), torch.arange(n) % 10
    assert found(z, y, "cross_entropy", "constant-output")
    assert found(z.log_softmax(1), y, "nll_loss", "constant-output")
    m = torch.stack((y % 2, y % 3 == 0), 1).to(dtype)
    assert found(z[:, :2], m, "bce_with_logits", "constant-output")
    assert found(z[:, :1], y[:, None].to(dtype), "mse", "constant-output")
    assert not found(z, y, "cross_entropy", "constant-output", step=0)
    assert not found(z + 1e-2 * torch.randn(n, 10, generator=g).to(dtype), y, "cross_entropy", "constant-output")


def test_constant_up_to_what_softmax_does_not_see():
    z = torch.randn(50, 1, generator=generator()) + torch.arange(3)
    assert found(z, torch.arange(50) % 3, "cross_entropy", "constant-output")


def test_a_last_layer_of_zeros_may_not_have_begun():
    y = torch.arange(50) % 3
    zero = torch.zeros(50, 3)
    assert lint(zero, y, loss="cross_entropy").ok
    assert "constant-output" in alarms(zero, y, "cross_entropy", step=100)


def test_one_class_of_targets_says_nothing_about_constant_outputs():
    assert not found(torch.ones(50, 3), torch.zeros(50).long(), "cross_entropy", "constant-output")


def imbalanced(n, share=0.9, seed=0):
    return (torch.rand(n, generator=generator(seed)) > share).long()


@every
@pytest.mark.parametrize("n", [200, 2000])
def test_majority_collapse(n, dtype):
    y = imbalanced(n)
    z = torch.tensor([2.2, 0.0]) + 0.02 * torch.randn(n, 2, generator=generator(1))
    assert found(z.to(dtype), y, "cross_entropy", "majority-collapse")
    assert found((z[:, 1:] - z[:, :1]).to(dtype), y[:, None].to(dtype), "bce_with_logits", "majority-collapse")


@every
@pytest.mark.parametrize("n", [20, 2000])
def test_one_class_for_balanced_targets(n, dtype):
    z = torch.tensor([9.0, 0.0, 0.0]) + torch.randn(n, 3, generator=generator())
    y = torch.arange(n) % 3
    assert found(z.to(dtype), y, "cross_entropy", "majority-collapse")
    assert not found(z.to(dtype), y, "cross_entropy", "majority-collapse", step=0)


@pytest.mark.parametrize("seed", range(20))
def test_a_half_trained_model_of_imbalanced_classes_has_not_collapsed(seed):
    y = imbalanced(1000, seed=seed)
    z = torch.tensor([2.2, 0.0]) + 0.3 * torch.randn(1000, 2, generator=generator(seed))
    z[:, 1] += 0.4 * y
    assert (z.argmax(1) == 0).float().mean() > 0.98
    assert not found(z, y, "cross_entropy", "majority-collapse")


@pytest.mark.parametrize("seed", range(20))
def test_an_untrained_model_has_not_collapsed(seed):
    z, _ = untrained(500, 2, seed=seed)
    for share in (0.5, 0.9):
        assert not found(z, imbalanced(500, share, seed), "cross_entropy", "majority-collapse")
