"""Targets that are not what the loss takes: each found, named as the right rule, with a remedy that works."""

import pytest
import torch
from tests.lint.samples import DTYPES, SIZES, alarms, classes, found, labels, one_hot

import losscope as ls
from losscope import lint

every = pytest.mark.parametrize("dtype", DTYPES, ids=str)
sizes = pytest.mark.parametrize("n", SIZES)


def remedy(z, y, loss, rule):
    return next(f.remedy for f in lint(z, y, loss=loss) if f.rule == rule)


def errors(z, y, loss):
    return [f.rule for f in lint(z, y, loss=loss) if f.severity == "error"]


@every
@sizes
@pytest.mark.parametrize("loss", ["cross_entropy", torch.nn.CrossEntropyLoss(), "nll_loss"])
def test_labels_from_one(loss, n, dtype):
    z, y = classes(n, 4)
    y[:4] = torch.arange(4)
    z = z.log_softmax(1).to(dtype)
    assert remedy(z, y + 1, loss, "target-out-of-range").startswith("y = y - 1")
    assert not found(z, y, loss, "target-out-of-range")


@sizes
@pytest.mark.parametrize("void", [255, -1, 99])
def test_a_mark_for_samples_that_do_not_count(void, n):
    z, y = classes(n)
    y[::3] = void
    assert f"ignore_index={void}" in remedy(z, y, "cross_entropy", "target-out-of-range")
    assert not found(z, y, ls.CrossEntropyLoss(ignore_index=void), "target-out-of-range")


def test_signs_as_indices_and_too_few_outputs():
    z, _ = classes(20, 2)
    assert "// 2" in remedy(z, torch.tensor([-1, 1] * 10), "cross_entropy", "target-out-of-range")
    assert "5 outputs" in remedy(z, torch.arange(20) % 5, "cross_entropy", "target-out-of-range")


def test_out_of_range_in_images():
    z, y = classes(3, 4, 5, 6)
    y[:, 0] = 255
    assert found(z, y, "cross_entropy", "target-out-of-range")


@every
@sizes
def test_dtype_of_indices(n, dtype):
    z, y = classes(n)
    for wrong in (y.to(dtype), y.float(), y == 3):
        assert "long" in remedy(z.to(dtype), wrong, "cross_entropy", "target-dtype")
    assert "to(z.dtype)" in remedy(z.to(dtype), one_hot(y, 10).long(), "cross_entropy", "target-dtype")
    assert "argmax" in remedy(z.log_softmax(1).to(dtype), one_hot(y, 10), "nll_loss", "target-dtype")
    for right in (y, y.int(), y.to(torch.uint8), one_hot(y, 10).to(dtype)):
        assert not found(z.to(dtype), right, "cross_entropy", "target-dtype")


@every
@sizes
@pytest.mark.parametrize("loss", ["bce", "bce_with_logits"])
def test_dtype_of_labels(loss, n, dtype):
    z, m = labels(n)
    z = (z.sigmoid() if loss == "bce" else z).to(dtype)
    for wrong in (m.long(), m.bool()):
        assert "to(z.dtype)" in remedy(z, wrong, loss, "target-dtype")
    assert not found(z, m, loss, "target-dtype")


@every
@sizes
def test_shape(n, dtype):
    z, y = classes(n)
    z = z.to(dtype)
    assert "squeeze(1)" in remedy(z, y[:, None], "cross_entropy", "target-shape")
    assert "batches equal" in remedy(z, y[:-1], "cross_entropy", "target-shape")
    assert not found(z, y, "cross_entropy", "target-shape")
    _, m = labels(n, 4)
    assert found(z, m.to(dtype), "bce_with_logits", "target-shape")


def test_the_other_rules_go_on_where_the_target_is_plain():
    z, y = classes(100)
    rules = lint(z.softmax(1), y[:, None].float(), loss="cross_entropy").rules
    assert {"target-shape", "target-dtype", "softmax-before-cross-entropy"} <= set(rules)


@every
@sizes
def test_multi_hot_target_for_cross_entropy(n, dtype):
    z, m = labels(n, 6)
    m[0] = 1
    for target in (m.to(dtype), m.long()):
        assert "BCEWithLogitsLoss" in remedy(z.to(dtype), target, "cross_entropy", "multi-hot-target-for-cross-entropy")
    y = z.argmax(1)
    assert not found(z, one_hot(y, 6), "cross_entropy", "multi-hot-target-for-cross-entropy")


@every
@sizes
def test_target_not_a_distribution(n, dtype):
    z, y = classes(n)
    q = (0.9 * one_hot(y, 10) + 0.01).to(dtype)
    assert not found(z.to(dtype), q, "cross_entropy", "target-not-a-distribution")
    assert not found(z.to(dtype), z.softmax(1).to(dtype), "cross_entropy", "target-not-a-distribution")
    for wrong in (2 * q, z.to(dtype), z.sigmoid().to(dtype)):
        assert found(z.to(dtype), wrong, "cross_entropy", "target-not-a-distribution")


def test_rows_without_a_class_are_worth_knowing_only():
    z, y = classes(50)
    q = one_hot(y, 10)
    q[::5] = 0
    result = lint(z, q, loss="cross_entropy")
    assert "target-not-a-distribution" in result.rules
    assert result.ok


@every
@sizes
@pytest.mark.parametrize("loss", ["bce", "bce_with_logits"])
def test_target_outside_unit_interval(loss, n, dtype):
    z, m = labels(n)
    z = (z.sigmoid() if loss == "bce" else z).to(dtype)
    signs = (2 * m - 1).to(dtype)
    assert "/ 2" in remedy(z, signs, loss, "target-outside-unit-interval")
    assert found(z, 255 * m.to(dtype), loss, "target-outside-unit-interval")
    assert not found(z, m.to(dtype), loss, "target-outside-unit-interval")


def test_an_ignored_label_may_be_anything():
    z, m = labels(50)
    m[m == 0] = -1
    assert not found(z, m, ls.BCEWithLogitsLoss(ignore_index=-1), "target-outside-unit-interval")


@every
@sizes
@pytest.mark.parametrize("loss", ["bce_with_logits", "mse", torch.nn.MSELoss(), torch.nn.BCEWithLogitsLoss()])
def test_broadcast_target(loss, n, dtype):
    z, m = labels(n, 1)
    z, m = z.to(dtype), m.to(dtype)
    assert found(z, m.squeeze(1), loss, "broadcast-target")
    assert found(z.squeeze(1), m, loss, "broadcast-target")
    assert not found(z, m, loss, "broadcast-target")
    fix = remedy(z, m.squeeze(1), loss, "broadcast-target")
    names = {"y": m.squeeze(1)}
    exec(fix, names)
    assert names["y"].shape == z.shape


@every
@sizes
def test_weight_length(n, dtype):
    z, y = classes(n)
    assert found(z.to(dtype), y, ls.CrossEntropyLoss(torch.ones(9)), "weight-length")
    assert found(z.log_softmax(1).to(dtype), y, torch.nn.NLLLoss(torch.ones(11)), "weight-length")
    assert not found(z.to(dtype), y, ls.CrossEntropyLoss(torch.ones(10)), "weight-length")
    z, m = labels(n, 6)
    assert found(z.to(dtype), m, torch.nn.BCEWithLogitsLoss(pos_weight=torch.ones(5)), "weight-length")
    assert not found(z.to(dtype), m, torch.nn.BCEWithLogitsLoss(pos_weight=torch.ones(6)), "weight-length")


@pytest.mark.parametrize(
    ("loss", "make"),
    [
        ("cross_entropy", lambda z, y: (z, y[:, None])),
        ("cross_entropy", lambda z, y: (z, y.float())),
        ("cross_entropy", lambda z, y: (z, y[:-1])),
        ("cross_entropy", lambda z, y: (z, y + 1)),
        ("cross_entropy", lambda z, y: (z, one_hot(y, 10).long())),
        ("cross_entropy", lambda z, y: (z.long(), y)),
        ("cross_entropy", lambda z, y: (z.argmax(1), y)),
        ("cross_entropy", lambda z, y: (z[:, 0], y)),
        ("nll_loss", lambda z, y: (z, one_hot(y, 10))),
        ("bce_with_logits", lambda z, y: (z, y)),
        ("bce_with_logits", lambda z, y: (z, one_hot(y, 10).long())),
        ("bce_with_logits", lambda z, y: (z, one_hot(y, 10) * 2 - 1)),
        ("bce", lambda z, y: (z, one_hot(y, 10))),
        ("mse", lambda z, y: (z, y.float())),
        ("msle", lambda z, y: (z, z)),
        (ls.CrossEntropyLoss(focal_gamma=2), lambda z, y: (z, one_hot(y, 10))),
        (ls.CrossEntropyLoss(ignore_index=3), lambda z, y: (z, one_hot(y, 10))),
        ("cross_entropy", lambda z, y: (z[:0], y[:0])),
        ("cross_entropy", lambda z, y: (z + 0j, y)),
        ("cross_entropy", lambda z, y: (z.sum(), y)),
    ],
)
def test_what_makes_the_loss_raise_is_a_finding(loss, make):
    z, y = make(*classes(50))
    assert errors(z, y, loss)


def test_a_reason_that_no_rule_knows_is_told_in_the_loss_own_words():
    z, y = classes(50)
    finding = next(iter(lint(z, one_hot(y, 10), loss=ls.CrossEntropyLoss(focal_gamma=2))))
    assert finding.rule == "loss-raises"
    assert "focal_gamma" in finding.sentence


def test_healthy_targets_of_every_form():
    z, y = classes(300)
    for target in (y, y.int(), one_hot(y, 10), z.softmax(1), 0.9 * one_hot(y, 10) + 0.01):
        assert alarms(z, target, "cross_entropy") == []


def test_labels_up_to_h_and_from_zero_are_too_few_outputs():
    z, _ = classes(50)
    (finding,) = lint(z, torch.arange(50) % 11, loss="cross_entropy", select=["target-out-of-range"])
    assert finding.remedy.startswith("give the last layer 11 outputs")


def test_pos_weight_length():
    z, m = labels(50)
    assert found(z, m, ls.BCEWithLogitsLoss(pos_weight=torch.ones(5)), "weight-length")


@pytest.mark.parametrize("shape", [(64, 6), (64, 1), (6,), (1, 6)], ids=str)
def test_a_weight_of_each_sample_is_no_mistake(shape):
    z, m, weight = torch.randn(64, 6), (torch.rand(64, 6) > 0.5).float(), torch.rand(shape)
    for loss in (torch.nn.BCEWithLogitsLoss(weight), torch.nn.BCEWithLogitsLoss(pos_weight=weight)):
        assert not found(z, m, loss, "loss-raises")
    assert not found(z.sigmoid(), m, torch.nn.BCELoss(weight), "loss-raises")
    assert not found(z[:, 0], m[:, 0], torch.nn.BCEWithLogitsLoss(torch.rand(64)), "loss-raises")
    assert found(z, m, torch.nn.BCEWithLogitsLoss(torch.rand(5)), "weight-length") or found(
        z, m, torch.nn.BCEWithLogitsLoss(torch.rand(5)), "loss-raises"
    )


def test_an_unbatched_soft_target_has_all_its_classes():
    assert not found(
        torch.randn(10), torch.rand(10).softmax(0), torch.nn.CrossEntropyLoss(torch.rand(10)), "loss-raises"
    )


def test_float_targets_that_hold_infinity_are_a_finding_and_no_crash():
    z, y = classes(64)
    y = y.float()
    y[0] = torch.inf
    assert lint(z, y, loss="cross_entropy").rules


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint64])
def test_unsigned_indices_out_of_range(dtype):
    z, y = classes(64)
    y[3] = 77
    assert found(z, y.to(dtype), "cross_entropy", "target-out-of-range")
