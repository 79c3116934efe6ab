"""The class dimension in the wrong place, and labels shifted by one position."""

import pytest
import torch
from tests.lint.samples import DTYPES, alarms, classes, found, generator, untrained

import losscope as ls
from losscope import lint

every = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@every
@pytest.mark.parametrize(("n", "shape"), [(8, (12,)), (200, (12,)), (8, (6, 7)), (50, (6, 7))])
def test_class_dim_last_that_raises(n, shape, dtype):
    z, y = classes(n, 5, *shape)
    last = z.movedim(1, -1).to(dtype)
    assert found(last, y, "cross_entropy", "class-dim-last")
    assert not found(last, y, "cross_entropy", "target-shape")
    assert alarms(z.to(dtype), y, "cross_entropy") == []


@every
@pytest.mark.parametrize("n", [8, 300])
def test_class_dim_last_in_silence(n, dtype):
    z, y = classes(n, 10, 10)
    assert found(z.transpose(1, 2).to(dtype), y, "cross_entropy", "class-dim-last")
    assert alarms(z.to(dtype), y, "cross_entropy") == []
    assert found(z.transpose(1, 2).log_softmax(-1).to(dtype), y, "nll_loss", "class-dim-last")


@pytest.mark.parametrize("seed", range(20))
def test_equal_dimensions_of_an_untrained_model(seed):
    z, _ = untrained(40 * 10, 10, sigma=1.0, seed=seed)
    y = torch.multinomial(torch.rand(10, generator=generator(seed)), 400, True).reshape(40, 10)
    assert alarms(z.reshape(40, 10, 10), y, "cross_entropy") == []
    assert alarms(z.reshape(40, 10, 10).transpose(1, 2), y, "cross_entropy") == []


@every
@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("n", "length"), [(8, 16), (100, 40)])
def test_shifted_labels(n, length, by, dtype):
    z, y = classes(n, 10, length)
    finding = [f for f in lint(z.to(dtype), y.roll(by, 1), loss="cross_entropy") if f.rule == "shifted-labels"]
    assert len(finding) == 1
    assert finding[0].evidence["shift"] == by
    assert not found(z.to(dtype), y, "cross_entropy", "shifted-labels")
    assert not found(z.to(dtype), y.roll(5, 1), "cross_entropy", "shifted-labels")


def test_shifted_labels_in_flat_targets():
    z, y = classes(300)
    assert found(z, y.roll(1), "cross_entropy", "shifted-labels")
    y = y.roll(1)
    y[::7] = -100
    assert found(z, y, "cross_entropy", "shifted-labels")


def test_labels_that_change_slowly_are_not_shifted():
    g = generator()
    y = torch.randint(5, (300,), generator=g).repeat_interleave(4)
    z = 4 * torch.nn.functional.one_hot(y, 5) + torch.randn(1200, 5, generator=g)
    assert not found(z, y, "cross_entropy", "shifted-labels")
    assert not found(z, y.sort().values, "cross_entropy", "shifted-labels")


def test_an_untrained_model_with_tied_embeddings_repeats_its_input():
    """Its logits are highest at the token it was given, the label one position before."""
    g = generator()
    tokens = torch.randint(1000, (8, 65), generator=g)
    e = 0.02 * torch.randn(1000, 256, generator=g)
    h = torch.nn.functional.layer_norm(e[tokens[:, :-1]] + 0.01 * torch.randn(8, 64, 256, generator=g), (256,))
    z = (h @ e.T).movedim(-1, 1)
    y = tokens[:, 1:]
    assert (z.argmax(1) == tokens[:, :-1]).float().mean() > 0.9
    assert alarms(z, y, "cross_entropy") == []
    assert alarms(z.movedim(1, -1).reshape(-1, 1000), y.flatten(), "cross_entropy") == []


def test_a_spoilt_sequence_of_soft_targets_says_nothing():
    z, y = classes(8, 10, 16)
    q = torch.nn.functional.one_hot(y, 10).movedim(-1, 1).float()
    assert alarms(z, q, ls.CrossEntropyLoss()) == []


@pytest.mark.parametrize(("by", "remedy"), [(1, "loss(z[:, :, :-1], y[:, 1:])"), (-1, "shift the labels once")])
def test_the_remedy_of_shifted_labels_is_to_their_side(by, remedy):
    z, y = classes(40, 10, 30)
    finding = next(f for f in lint(z, y.roll(by, 1), loss="cross_entropy") if f.rule == "shifted-labels")
    assert finding.remedy.startswith(remedy)
