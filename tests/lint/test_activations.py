"""Softmax and sigmoid too many or too few, and decisions: found in every dtype, and near misses are not."""

import math

import pytest
import torch
from tests.lint.samples import DTYPES, SIZES, alarms, classes, found, generator, labels, untrained

from losscope import lint

every = pytest.mark.parametrize("dtype", DTYPES, ids=str)
sizes = pytest.mark.parametrize("n", SIZES)
stages = pytest.mark.parametrize("make", [classes, untrained], ids=["trained", "untrained"])


@every
@sizes
@stages
@pytest.mark.parametrize("h", [2, 10, 1000])
def test_softmax_before_cross_entropy(make, n, h, dtype):
    z, y = make(n, h)
    assert found(z.softmax(1).to(dtype), y, "cross_entropy", "softmax-before-cross-entropy")
    assert found(z.to(dtype).softmax(1), y, "cross_entropy", "softmax-before-cross-entropy")


def test_softmax_computed_in_low_precision_and_saved_as_float32():
    z, y = classes(100)
    assert found(z.bfloat16().softmax(1).float(), y, "cross_entropy", "softmax-before-cross-entropy")


def test_softmax_says_where_the_loss_is_trapped():
    z, y = classes(500, 10)
    p = z.softmax(1)
    finding = next(iter(lint(p, y, loss="cross_entropy")))
    low, high = finding.evidence["lowest_loss"], finding.evidence["highest_loss"]
    each = torch.nn.functional.cross_entropy(p, y, reduction="none")
    assert low <= float(each.min())
    assert float(each.max()) <= high
    assert high - low == pytest.approx(1)
    assert low == pytest.approx(math.log(1 + 9 / math.e))


@pytest.mark.parametrize("shape", [(12,), (6, 5)])
def test_softmax_in_sequences_and_images(shape):
    z, y = classes(9, 5, *shape)
    assert found(z.softmax(1), y, "cross_entropy", "softmax-before-cross-entropy")
    assert alarms(z, y, "cross_entropy") == []


def test_rows_that_nearly_sum_to_one_are_no_softmax():
    z, y = classes(50, 4)
    p = z.softmax(1)
    assert not found(p * 1.001, y, "cross_entropy", "softmax-before-cross-entropy")
    assert not found(p - 0.01, y, "cross_entropy", "softmax-before-cross-entropy")


def test_equal_rows_are_one_piece_of_evidence():
    row = torch.tensor([[0.25, 0.75]], dtype=torch.bfloat16)
    y = torch.arange(50) % 2
    assert not found(row.expand(50, 2), y, "cross_entropy", "softmax-before-cross-entropy")


@every
@sizes
@stages
def test_log_softmax_before_cross_entropy_is_harmless(make, n, dtype):
    z, y = make(n)
    s = z.log_softmax(1).to(dtype)
    result = lint(s, y, loss="cross_entropy")
    assert "log-softmax-before-cross-entropy" in result.rules
    assert result.ok
    assert not found(z.to(dtype), y, "cross_entropy", "log-softmax-before-cross-entropy")


@every
@sizes
@stages
@pytest.mark.parametrize("h", [2, 10])
def test_not_log_probabilities(make, n, h, dtype):
    z, y = make(n, h)
    for wrong in (z, z.softmax(1), torch.nn.functional.logsigmoid(z)):
        assert found(wrong.to(dtype), y, "nll_loss", "not-log-probabilities")
    assert alarms(z.log_softmax(1).to(dtype), y, "nll_loss") == []


def test_a_mixture_of_models_is_still_log_probabilities():
    (a, y), (b, _) = classes(200, seed=1), classes(200, seed=2)
    mixture = ((a.softmax(1) + b.softmax(1)) / 2).clamp(min=1e-6).log()
    assert not found(mixture, y, "nll_loss", "not-log-probabilities")


@every
@sizes
def test_probabilities_out_of_range(n, dtype):
    z, m = labels(n)
    assert found(z.to(dtype), m.to(dtype), "bce", "probabilities-out-of-range")
    assert not found(z.sigmoid().to(dtype), m.to(dtype), "bce", "probabilities-out-of-range")


@every
@sizes
@stages
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_softmax_over_the_samples(make, loss, n, dtype):
    z, y = make(n)
    assert found(z.softmax(0).to(dtype), y, "cross_entropy", "softmax-over-wrong-dim")
    assert found(z.log_softmax(0).to(dtype), y, loss, "softmax-over-wrong-dim")
    assert not found(z.softmax(1).to(dtype), y, "cross_entropy", "softmax-over-wrong-dim")


def test_softmax_over_the_samples_of_each_batch():
    z, y = classes(512)
    assert found(torch.cat([b.softmax(0) for b in z.split(64)]), y, "cross_entropy", "softmax-over-wrong-dim")


@every
def test_softmax_over_the_positions(dtype):
    z, y = classes(20, 5, 12)
    assert found(z.softmax(-1).to(dtype), y, "cross_entropy", "softmax-over-wrong-dim")


@every
@sizes
def test_single_output_softmax(n, dtype):
    z, m = labels(n, 1)
    assert found(z.to(dtype), torch.zeros(n).long(), "cross_entropy", "single-output-softmax")
    assert found(z.softmax(1).to(dtype), m.to(dtype), "bce", "single-output-softmax")
    assert not found(z.sigmoid().to(dtype), m.to(dtype), "bce", "single-output-softmax")


@every
@pytest.mark.parametrize(("n", "h", "offset"), [(60, 1, 0), (2000, 1, 0), (2000, 1, -4), (8, 6, 0), (60, 6, -5)])
def test_sigmoid_before_bce_with_logits(n, h, offset, dtype):
    z, m = labels(n, h, strength=6, offset=offset)
    assert found(z.sigmoid().to(dtype), m.to(dtype), "bce_with_logits", "sigmoid-before-bce-with-logits")
    assert alarms(z.to(dtype), m.to(dtype), "bce_with_logits") == []


@every
def test_sigmoid_of_an_untrained_model_with_many_rare_labels(dtype):
    g = generator()
    z, m = 0.3 * torch.randn(50, 20, generator=g), torch.bernoulli(torch.full((50, 20), 0.1), generator=g)
    assert found(z.sigmoid().to(dtype), m.to(dtype), "bce_with_logits", "sigmoid-before-bce-with-logits")


def test_small_logits_above_zero_are_no_probabilities():
    g = generator()
    m = torch.bernoulli(torch.full((500, 1), 0.8), generator=g)
    for middle, spread in ((0.5, 0.1), (0.05, 0.01), (0.9, 0.02), (0.3, 0.0)):
        z = middle + spread * torch.randn(500, 1, generator=g).clamp(-3, 3)
        assert not found(z, m, "bce_with_logits", "sigmoid-before-bce-with-logits")


@every
@sizes
def test_decision_not_output(n, dtype):
    z, y = classes(n)
    m = (y > 4).to(dtype)
    decided = z.argmax(1)
    assert found(decided.to(dtype), y, "cross_entropy", "decision-not-output")
    assert found(decided, y, "cross_entropy", "decision-not-output")
    assert found(torch.nn.functional.one_hot(decided, 10).to(dtype), y, "cross_entropy", "decision-not-output")
    assert found((decided > 4).to(dtype), m, "bce_with_logits", "decision-not-output")
    assert found((decided > 4).to(dtype), m, "bce", "decision-not-output")
    assert found(decided.to(dtype), y.to(dtype), "mse", "decision-not-output")


def test_outputs_that_happen_to_be_whole_are_no_decisions():
    z = torch.tensor([[2.0, -1, 0], [0, 3, 1], [1, 0, 0], [-2, 0, 1]] * 3)
    assert not found(z, z.argmax(1), "cross_entropy", "decision-not-output")
    zero = torch.zeros(20, 3)
    assert alarms(zero, torch.arange(20) % 3, "cross_entropy") == []


def test_a_saturated_softmax_is_a_suspicion_only():
    z, y = classes(50)
    result = lint(
        torch.nn.functional.one_hot(z.argmax(1), 10).float(),
        y,
        loss="cross_entropy",
        select=["softmax-before-cross-entropy"],
    )
    assert [f.severity for f in result] == ["warning"]


def test_ones_that_are_all_right_are_no_softmax_over_one_output():
    assert not found(torch.ones(20), torch.ones(20), "bce", "single-output-softmax")


def test_saturated_and_right_probabilities_are_worth_knowing_only():
    _, m = labels(50)
    (finding,) = lint(m, m, loss="bce", select=["decision-not-output"])
    assert finding.severity == "info"


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 200), (torch.bfloat16, 500), (torch.float16, 5000)])
def test_values_too_large_for_fractions_are_no_decisions(dtype, size):
    z = size * (1 + 0.1 * torch.randn(64, generator=generator()))
    assert not found(z.to(dtype), z + 1, "mse", "decision-not-output")
    assert found(z.round(), z + 1, "mse", "decision-not-output")
