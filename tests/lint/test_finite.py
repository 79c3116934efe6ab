"""NaN, infinities, masks and the ends of a dtype's range."""

import pytest
import torch
from tests.lint.samples import DTYPES, SIZES, alarms, classes, found, labels, one_hot

import losscope as ls
from losscope import lint

every = pytest.mark.parametrize("dtype", DTYPES, ids=str)
sizes = pytest.mark.parametrize("n", SIZES)


@every
@sizes
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_non_finite_output(bad, n, dtype):
    z, y = classes(n)
    z[3, 2] = bad
    assert found(z.to(dtype), y, "cross_entropy", "non-finite-output")
    z, m = labels(n)
    z[3, 2] = bad
    m[3, 2] = 0
    assert found(z.to(dtype), m, "bce_with_logits", "non-finite-output")
    assert found(z.to(dtype), m, "mse", "non-finite-output")


def test_where_it_stands_is_told():
    z, y = classes(50)
    z[7, 4] = torch.nan
    assert "(7, 4)" in next(iter(lint(z, y, loss="cross_entropy"))).sentence


@every
@sizes
def test_a_mask_is_no_mistake(n, dtype):
    z, y = classes(n)
    open_ = one_hot(y, 10).bool() | (torch.arange(10) % 2 == 0)
    for loss in ("cross_entropy", "nll_loss", torch.nn.CrossEntropyLoss()):
        masked = z.masked_fill(~open_, -torch.inf).log_softmax(1).to(dtype)
        assert alarms(masked, y, loss) == []
    assert alarms(z.masked_fill(~open_, -1e4).to(dtype), y, "cross_entropy") == []
    assert alarms(z.masked_fill(~open_, torch.finfo(torch.float16).min).to(dtype), y, "cross_entropy") == []


def test_a_masked_label_is_a_mask_for_losscope_and_nan_for_torch():
    z, m = labels(50)
    z[0, 0], m[0, 0] = -torch.inf, 0
    assert not found(z, m, ls.BCEWithLogitsLoss(), "non-finite-output")
    assert found(z, m, torch.nn.BCEWithLogitsLoss(), "non-finite-output")
    assert torch.nn.BCEWithLogitsLoss()(z, m).isnan()


def test_nan_in_ignored_samples():
    z, y = classes(50)
    z[5], y[5] = torch.nan, -100
    finding = next(iter(lint(z, y, loss="cross_entropy")))
    assert finding.severity == "warning"
    assert "ignored" in finding.sentence


@every
@sizes
def test_masked_target(n, dtype):
    z, y = classes(n)
    z[2, y[2]] = -torch.inf
    assert found(z.to(dtype), y, "cross_entropy", "masked-target")
    assert found(z.to(dtype), one_hot(y, 10).to(dtype), "cross_entropy", "masked-target")
    y[2] = -100
    assert not found(z.to(dtype), y, "cross_entropy", "masked-target")


def test_smoothing_over_masked_classes_is_infinite_in_torch_only():
    z, y = classes(50)
    z = z.masked_fill(~(one_hot(y, 10).bool() | (torch.arange(10) < 5)), -torch.inf)
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    assert theirs(z, y).isinf()
    assert found(z, y, theirs, "masked-target")
    assert alarms(z, y, ls.CrossEntropyLoss(label_smoothing=0.1)) == []


@every
@sizes
def test_fully_masked_row(n, dtype):
    z, y = classes(n)
    z[1] = -torch.inf
    assert found(z.to(dtype), y, "cross_entropy", "fully-masked-row")
    assert not found(z.to(dtype), y, "cross_entropy", "masked-target")
    y[1] = -100
    result = lint(z.to(dtype), y, loss="cross_entropy")
    assert "fully-masked-row" in result.rules
    assert result.ok


@sizes
def test_low_precision_overflow(n):
    z, y = classes(n)
    large = (z * 40_000 / z.abs().max()).half()
    assert found(large, y, "cross_entropy", "low-precision-overflow")
    assert not found(large.float(), y, "cross_entropy", "low-precision-overflow")
    assert not found(large.bfloat16(), y, "cross_entropy", "low-precision-overflow")
    assert not found((z * 20).half(), y, "cross_entropy", "low-precision-overflow")


def test_a_sum_that_does_not_fit_float16():
    z, _ = classes(12_000)
    y = torch.arange(12_000) % 10
    loss = ls.CrossEntropyLoss(reduction="sum")
    assert loss(z.half(), y).isinf()
    assert found(z.half(), y, loss, "low-precision-overflow")
    assert not found(z.half()[:1000], y[:1000], loss, "low-precision-overflow")
    assert not found(z.half(), y, "cross_entropy", "low-precision-overflow")


@every
@sizes
def test_saturated_output(n, dtype):
    z, m = labels(n)
    wrong = torch.rand(m.shape, generator=torch.Generator().manual_seed(1)) < 0.2
    p = (z * 200).sigmoid().to(dtype)
    flipped = m.where(~wrong, 1 - m).to(dtype)
    assert found(p, flipped, "bce", "saturated-output")
    assert "saturated-output" in alarms(p, flipped, "bce")
    assert alarms(z.sigmoid().to(dtype), m.to(dtype), "bce") == []
    assert not found(p, (p > 0.5).to(dtype), "bce", "saturated-output")


def test_saturated_output_has_no_gradient():
    z = torch.tensor([-200.0, 3.0], requires_grad=True)
    torch.nn.BCELoss()(z.sigmoid(), torch.tensor([1.0, 1.0])).backward()
    assert z.grad[0] == 0


def test_a_single_very_low_float16_is_no_mask():
    z, y = classes(50)
    z[3, 2] = -40_000
    assert found(z.half(), y, "cross_entropy", "low-precision-overflow")
    z[4, 2] = -40_000
    assert not found(z.half(), y, "cross_entropy", "low-precision-overflow")


def test_one_saturated_probability_is_worth_knowing_only():
    p, m = torch.full((10, 2), 0.5), torch.zeros(10, 2)
    severities = []
    for rows in (2, 3):
        p[:rows, 0] = 1
        severities += [f.severity for f in lint(p, m, loss="bce", select=["saturated-output"])]
    assert severities == ["info", "warning"]


def test_the_sum_of_a_part_stands_for_the_whole():
    z, y = classes(200_000)
    (finding,) = lint(z.half(), y, loss=ls.CrossEntropyLoss(reduction="sum"), select=["low-precision-overflow"])
    total = float(torch.nn.functional.cross_entropy(z, y, reduction="sum"))
    assert finding.evidence["total"] == pytest.approx(total, rel=0.02)
