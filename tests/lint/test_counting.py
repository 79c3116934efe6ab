"""What counts: ignored targets, padding, weights, accumulation."""

import pytest
import torch
from tests.lint.samples import DTYPES, SIZES, alarms, classes, found, generator, labels, one_hot

import losscope as ls
from losscope import lint
from losscope.linting import History

every = pytest.mark.parametrize("dtype", DTYPES, ids=str)
sizes = pytest.mark.parametrize("n", SIZES)


@every
@sizes
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", torch.nn.CrossEntropyLoss()])
def test_nothing_counts(loss, n, dtype):
    z, y = classes(n)
    z = z.log_softmax(1).to(dtype)
    nothing = torch.full_like(y, -100)
    assert found(z, nothing, loss, "nothing-counts")
    nothing[0] = 3
    assert not found(z, nothing, loss, "nothing-counts")
    assert found(z[:0], y[:0], loss, "nothing-counts")


@every
def test_weights_that_are_zero_where_it_matters(dtype):
    z, y = classes(50)
    w = torch.ones(10)
    w[3] = 0
    assert found(z.to(dtype), torch.full_like(y, 3), ls.CrossEntropyLoss(w), "nothing-counts")
    assert not found(z.to(dtype), y, ls.CrossEntropyLoss(w), "nothing-counts")
    _, m = labels(50, 10)
    assert found(z.to(dtype), torch.full_like(m, -1), ls.BCEWithLogitsLoss(ignore_index=-1), "nothing-counts")
    assert found(z.to(dtype), m, ls.BCEWithLogitsLoss(torch.zeros(10)), "nothing-counts")


@every
@sizes
def test_weighted_mean(n, dtype):
    z, y = classes(n)
    loss = ls.CrossEntropyLoss(torch.arange(1.0, 11))
    result = lint(z.to(dtype), y, loss=loss)
    finding = next(f for f in result if f.rule == "weighted-mean")
    assert finding.severity == "info"
    assert finding.evidence["sum_of_weights"] == pytest.approx(float((y + 1).sum()))
    assert not found(z.to(dtype), y, ls.CrossEntropyLoss(torch.full((10,), 3.0)), "weighted-mean")
    assert not found(z.to(dtype), y, ls.CrossEntropyLoss(torch.arange(1.0, 11), reduction="sum"), "weighted-mean")


def test_the_weight_of_one_sample_cancels():
    z, y = classes(1)
    loss = ls.CrossEntropyLoss(torch.arange(1.0, 11))
    assert loss(z, y) == ls.CrossEntropyLoss()(z, y)
    assert "cancel" in next(f for f in lint(z, y, loss=loss) if f.rule == "weighted-mean").title


def sequences(n=40, length=30, h=50, pad=0, seed=0, left=False):
    """Random ids 1…h−1 of different lengths, padded to one length with ``pad``."""
    g = generator(seed)
    y = torch.randint(1, h, (n, length), generator=g)
    lengths = torch.randint(3, length, (n,), generator=g)
    is_pad = torch.arange(length) >= lengths[:, None]
    y[is_pad.flip(1) if left else is_pad] = pad
    return torch.randn(n, h, length, generator=g), y


@every
@pytest.mark.parametrize(("n", "left"), [(8, False), (8, True), (300, False)])
def test_padding_counted(n, left, dtype):
    z, y = sequences(n, left=left)
    z = z.to(dtype)
    assert found(z, y, "cross_entropy", "padding-counted")
    assert not found(z, y, ls.CrossEntropyLoss(ignore_index=0), "padding-counted")
    assert not found(z, y.where(y != 0, -100), "cross_entropy", "padding-counted")


def test_padding_counted_in_flat_targets():
    z, y = sequences(40)
    flat = z.movedim(1, -1).reshape(-1, 50)
    assert found(flat, y.flatten(), "cross_entropy", "padding-counted")
    assert not found(flat, y.flatten()[torch.randperm(y.numel())], "cross_entropy", "padding-counted")


def test_padding_counted_beside_ignored_positions():
    """As a causal language model's loss makes them: shifted, the last target of each sequence ignored, flat."""
    z, y = sequences(40)
    y[:, -1] = -100
    assert found(z, y, "cross_entropy", "padding-counted")
    assert found(z.movedim(1, -1).reshape(-1, 50), y.flatten(), "cross_entropy", "padding-counted")


def test_a_majority_is_no_padding():
    g = generator()
    z = torch.randn(40, 5, 30, generator=g)
    tags = torch.multinomial(torch.tensor([0.9, 0.04, 0.03, 0.02, 0.01]), 1200, True, generator=g).reshape(40, 30)
    step = (torch.arange(30) >= torch.randint(3, 30, (40, 1), generator=g)).long()
    for y in (tags, step):
        assert not found(z, y, "cross_entropy", "padding-counted")
    rows = z.movedim(1, -1).reshape(-1, 5)
    assert not found(rows, tags.flatten(), "cross_entropy", "padding-counted")
    assert not found(rows, tags.flatten().sort().values, "cross_entropy", "padding-counted")


@every
@sizes
def test_unequal_valid_counts(n, dtype):
    z, y = classes(n)
    history = History(divisors=(100, 160, 40))
    assert found(z.to(dtype), y, "cross_entropy", "unequal-valid-counts", history=history)
    assert found(z.to(dtype), one_hot(y, 10).to(dtype), "bce_with_logits", "unequal-valid-counts", history=history)
    for loss in (ls.CrossEntropyLoss(reduction="sum"), ls.CrossEntropyLoss(normalizer=300)):
        assert not found(z.to(dtype), y, loss, "unequal-valid-counts", history=history)
    for fine in (History((100, 100, 100)), History((100,)), History(), History((100, 40), normalizer=True), None):
        assert not found(z.to(dtype), y, "cross_entropy", "unequal-valid-counts", history=fine)


@every
def test_class_imbalance(dtype):
    g = generator()
    y = torch.multinomial(torch.tensor([0.9, 0.08, 0.02]), 1000, True, generator=g)
    z = torch.randn(1000, 3, generator=g).to(dtype)
    result = lint(z, y, loss="cross_entropy")
    assert "class-imbalance" in result.rules
    assert not found(z, torch.arange(1000) % 3, "cross_entropy", "class-imbalance")
    assert not found(z[:20], y[:20], "cross_entropy", "class-imbalance")


def test_ignored_samples_are_fine():
    z, y = classes(200)
    y[::2] = -100
    assert alarms(z, y, "cross_entropy") == []


def test_a_given_divisor_is_no_weighted_mean():
    z, y = classes(50)
    assert not found(z, y, ls.CrossEntropyLoss(torch.arange(1.0, 11), normalizer=50.0), "weighted-mean")


def test_padding_of_weight_zero_does_not_count():
    z, y = sequences()
    w = torch.ones(50)
    w[0] = 0
    assert not found(z, y, ls.CrossEntropyLoss(w), "padding-counted")


def test_a_class_that_never_occurs_among_many_targets():
    z, y = classes(900, 4)[0], torch.arange(900) % 3
    finding = next(f for f in lint(z, y, loss="cross_entropy") if f.rule == "class-imbalance")
    assert finding.evidence["absent"] == 1
    assert not found(z[:99], y[:99], "cross_entropy", "class-imbalance")
