"""Summary against scikit-learn, torchmetrics, torch and direct simulation; and the same digits in every order."""

import copy
import io
import itertools
import json
import math
import pickle
import socket
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import sklearn.calibration
import sklearn.metrics as sk
import torch
import torch.multiprocessing as mp
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.summary_ranks import classifier, measure
from torch.nn import functional as F
from torchmetrics.classification import MulticlassCalibrationError

import losscope as ls
from losscope.summary import BinarySummary, CategoricalSummary, RegressionSummary, Summary, summarize
from losscope.summary import confusion as confusion_table
from losscope.summary import exact as exact_sums


def tagger(n=400, labels=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    m = (torch.rand(n, labels, generator=g) < torch.linspace(0.1, 0.6, labels)).float()
    return torch.randn(n, labels, generator=g) + 2 * m - 1, m


def same(a, b):
    """Equal to the last digit."""
    return a.to_dict() == b.to_dict()


# ---------------------------------------------------------------------------------------- against scikit-learn


def test_loss_accuracy_and_top_k_are_scikit_learns():
    z, y = classifier()
    r, p = summarize("cross_entropy", z, y, top_k=(1, 2, 5)), z.double().softmax(1).numpy()
    assert r.nll == pytest.approx(sk.log_loss(y, p, labels=range(7)), rel=1e-12)
    assert r.accuracy == sk.accuracy_score(y, p.argmax(1))
    for k in (2, 5):
        assert r.top_k[k] == sk.top_k_accuracy_score(y, p, k=k, labels=range(7))
    assert r.top_k[1] == r.accuracy
    assert r.chance == math.log(7)
    assert r.entropy == pytest.approx(-(p * np.log(p)).sum(1).mean(), rel=1e-12)
    assert r.confidence == pytest.approx(p.max(1).mean(), rel=1e-12)


def test_equal_outputs_are_ranked_in_the_order_of_their_classes():
    z = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).expand(3, 4)
    r = summarize("cross_entropy", z, torch.tensor([0, 1, 2]), top_k=(1, 2, 3, 9))
    assert r.top_k == {1: 1 / 3, 2: 2 / 3, 3: 1}
    assert r.accuracy == 1 / 3


def test_class_measures_are_scikit_learns():
    z, y = classifier(classes=5)
    z[:, 3] -= 50  # a class that is never decided for
    r, d = summarize("cross_entropy", z, y), z.argmax(1)
    precision, recall, f1, support = sk.precision_recall_fscore_support(y, d, labels=range(5), zero_division=np.nan)
    np.testing.assert_allclose(r.classes.precision, precision)
    np.testing.assert_allclose(r.classes.recall, recall)
    np.testing.assert_allclose(r.classes.f1, f1)
    np.testing.assert_array_equal(r.classes.support, support)
    np.testing.assert_array_equal(r.classes.predicted, np.bincount(d, minlength=5))
    np.testing.assert_array_equal(r.confusion, sk.confusion_matrix(y, d, labels=range(5)))
    assert math.isnan(r.classes.precision[3])
    assert r.classes.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(y, d))
    assert r.classes.macro_f1 == pytest.approx(sk.f1_score(y, d, average="macro", zero_division=0))
    each = F.cross_entropy(z.double(), y, reduction="none")
    for h in range(5):
        assert float(r.classes.mean_loss[h]) == pytest.approx(float(each[y == h].mean()), rel=1e-12)


def test_top_confusions_are_the_largest_of_the_matrix():
    z, y = classifier(n=2000)
    r = summarize("cross_entropy", z, y)
    mistakes = r.confusion.clone().fill_diagonal_(0)
    assert [c.count for c in r.top_confusions] == sorted(mistakes[mistakes > 0].tolist(), reverse=True)
    assert all(int(mistakes[c.target, c.decision]) == c.count for c in r.top_confusions)


def test_the_reliability_of_labels_is_scikit_learns():
    z, m = tagger()
    c = summarize("bce_with_logits", z, m).calibration
    true, said = sklearn.calibration.calibration_curve(m.ravel(), z.double().sigmoid().ravel(), n_bins=15)
    filled = c.count > 0
    np.testing.assert_allclose(c.accuracy[filled], true)
    np.testing.assert_allclose(c.confidence[filled], said)


def test_label_measures_are_scikit_learns():
    z, m = tagger()
    r = summarize("bce_with_logits", z, m)
    assert isinstance(r, BinarySummary)
    precision, recall, f1, support = sk.precision_recall_fscore_support(m.int(), (z > 0).int())
    np.testing.assert_allclose(r.classes.precision, precision)
    np.testing.assert_allclose(r.classes.recall, recall)
    np.testing.assert_allclose(r.classes.f1, f1)
    np.testing.assert_array_equal(r.classes.support, support)
    p = z.double().sigmoid()
    assert r.nll == pytest.approx(np.mean([sk.log_loss(m[:, h], p[:, h]) for h in range(4)]), rel=1e-9)
    each = F.binary_cross_entropy_with_logits(z.double(), m.double(), reduction="none")
    np.testing.assert_allclose(r.classes.mean_loss, each.mean(0))
    assert r.accuracy == pytest.approx(((z > 0) == (m > 0)).double().mean().item())
    assert (r.chance, r.num_samples, r.num_labels) == (math.log(2), 1600, 4)


def test_threshold_curves_are_counts_at_each_threshold():
    z, m = tagger()
    r, p = summarize("bce_with_logits", z, m), z.double().sigmoid()
    for curve, q, t in ((r.thresholds, p, m), (r.pooled_thresholds, p.reshape(-1, 1), m.reshape(-1, 1))):
        decided = q[..., None] >= curve.thresholds
        assert torch.equal(curve.predicted, decided.sum(0))
        assert torch.equal(curve.true_positive, (decided & (t[..., None] > 0)).sum(0))
    best = [max(sk.f1_score(m[:, h], p[:, h] >= t) for t in r.thresholds.thresholds[:-1]) for h in range(4)]
    np.testing.assert_allclose(r.thresholds.f1.nan_to_num(0).amax(1), best)
    at_best = [sk.f1_score(m[:, h], p[:, h] >= t) for h, t in enumerate(r.thresholds.best)]
    np.testing.assert_allclose(at_best, best)


def test_regression_is_scikit_learns():
    g = torch.Generator().manual_seed(0)
    t = torch.randn(300, 3, generator=g)
    z = t + 0.3 * torch.randn(300, 3, generator=g) + 0.1
    r = summarize("mse", z, t)
    assert isinstance(r, RegressionSummary)
    z, t = z.double().numpy(), t.double().numpy()
    assert r.loss == pytest.approx(sk.mean_squared_error(t, z), rel=1e-12)
    assert r.mae == pytest.approx(sk.mean_absolute_error(t, z), rel=1e-12)
    assert r.r2 == pytest.approx(sk.r2_score(t.ravel(), z.ravel()), rel=1e-12)
    assert r.bias == pytest.approx((z - t).mean(), rel=1e-9)
    assert r.chance == pytest.approx(t.var(), rel=1e-12)
    np.testing.assert_allclose(r.outputs.r2, sk.r2_score(t, z, multioutput="raw_values"))
    np.testing.assert_allclose(r.outputs.bias, (z - t).mean(0))
    assert int(r.residual_histogram.counts.sum()) == int(r.loss_histogram.counts.sum()) == 900


def test_r2_of_a_small_spread_around_a_large_value_does_not_cancel():
    t = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64) + 2.0**40
    assert summarize("mse", t + 0.5, t).r2 == pytest.approx(1 - 4 * 0.25 / 5, rel=1e-9)


def test_logarithmic_residuals():
    y = torch.tensor([0.5, 2.0, 1e6])
    z = y.log() + torch.tensor([0.1, -0.1, 0.3])
    r = summarize("msle", z, y)
    assert (r.unit, r.bias) == ("nats", pytest.approx(0.1, abs=1e-6))
    assert r.loss == pytest.approx(float(ls.mean_squared_log_error(z.double(), y.double())))
    assert r.worst[0].decision == pytest.approx(1e6 * math.exp(0.3), rel=1e-6)


# ------------------------------------------------------------------------------- the loss is the loss's own


def weight(h=5):
    return torch.linspace(0.2, 2, h)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight": weight()},
        {"label_smoothing": 0.2},
        {"weight": weight(), "label_smoothing": 0.1, "z_loss": 0.01},
        {"label_smoothing": 1.0},
        {"focal_gamma": 2.0, "weight": weight()},
        {"focal_gamma": 1.5, "z_loss": 1e-3},
        {"softcap": 3.0},
        {"softcap": 3.0, "label_smoothing": 0.1, "z_loss": 1e-3, "weight": weight()},
        {"ignore_index": 2, "weight": weight()},
        {"normalizer": 37.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_is_the_one_the_loss_computes(options, masked):
    z, y = classifier(n=60, classes=5, dtype=torch.float64)
    if masked:
        z[torch.arange(60), (y + 1) % 5] = -torch.inf
    options = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    loss = ls.CrossEntropyLoss(**options)
    r = summarize(loss, z, y)
    assert r.loss == pytest.approx(float(loss(z, y)), rel=1e-12)
    loss.normalizer = None
    loss.reduction = "sum"
    assert r.loss_sum == pytest.approx(float(loss(z, y)), rel=1e-12)
    counted = y != loss.ignore_index
    x = z if loss.softcap is None else 3 * torch.tanh(z / 3)
    x = x.masked_fill(z.isneginf(), -torch.inf)
    assert r.nll == pytest.approx(float(F.cross_entropy(x[counted], y[counted])), rel=1e-12)
    assert r.num_counted == int(counted.sum())
    assert r.num_ignored == int((~counted).sum())


@pytest.mark.parametrize(
    "options", [{}, {"weight": weight()}, {"label_smoothing": 0.1, "z_loss": 0.1, "weight": weight()}], ids=str
)
def test_soft_targets(options):
    z, _ = classifier(n=50, classes=5, dtype=torch.float64)
    q = torch.randn(50, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).softmax(1)
    q[:10] = F.one_hot(q[:10].argmax(1), 5).double()
    z[0, (q[0].argmax() + 1) % 5] = -torch.inf  # a mask where the target has nothing
    loss = ls.CrossEntropyLoss(**{k: v.double() if isinstance(v, torch.Tensor) else v for k, v in options.items()})
    r = summarize(loss, z, q)
    assert r.loss == pytest.approx(float(loss(z, q)), rel=1e-12)
    assert r.nll == pytest.approx(float(ls.cross_entropy(z, q)), rel=1e-12)
    assert r.accuracy == (z.argmax(1) == q.argmax(1)).double().mean().item()
    assert torch.equal(r.classes.support, q.argmax(1).bincount(minlength=5))


def test_one_hot_and_index_targets_give_the_same():
    z, y = classifier(n=40)
    assert same(summarize("cross_entropy", z, y), summarize("cross_entropy", z, F.one_hot(y, 7).float()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_measured_as_the_values_it_holds(dtype):
    z, y = classifier(dtype=dtype)
    assert same(summarize("cross_entropy", z, y), summarize("cross_entropy", z.double(), y))


def test_further_dimensions_are_samples():
    g = torch.Generator().manual_seed(0)
    z, y = torch.randn(6, 5, 3, 2, generator=g), torch.randint(5, (6, 3, 2), generator=g)
    y[0, 1, 1] = -100
    r = summarize("cross_entropy", z, y, worst=50)
    flat = summarize("cross_entropy", z.movedim(1, -1).reshape(-1, 5), y.reshape(-1), worst=50)
    assert r.loss == flat.loss == pytest.approx(float(F.cross_entropy(z.double(), y)), rel=1e-12)
    assert torch.equal(r.confusion, flat.confusion)
    assert (r.num_samples, r.num_counted) == (36, 35)
    each = F.cross_entropy(z, y, reduction="none")
    assert all(s.loss == pytest.approx(float(each[s.index, *s.position]), abs=1e-5) for s in r.worst)
    assert len({(s.index, *s.position) for s in r.worst}) == 35


def test_many_further_dimensions_keep_three_subscripts():
    z, y = torch.randn(2, 3, 2, 2, 2, 2), torch.zeros(2, 2, 2, 2, 2, dtype=torch.long)
    r = summarize("cross_entropy", z, y, worst=40)
    assert {s.position for s in r.worst} == {(a, b, c) for a in range(2) for b in range(2) for c in range(4)}


def test_an_unbatched_sample_is_a_batch_of_one():
    z, y = classifier(n=1)
    assert same(summarize("cross_entropy", z, y), summarize("cross_entropy", z[0], y[0]))
    assert summarize("bce_with_logits", torch.tensor(0.0), torch.tensor(1.0)).nll == pytest.approx(math.log(2))
    assert summarize("mse", torch.tensor(1.0), torch.tensor(3.0)).loss == 4


def test_log_probabilities_are_taken_as_they_are():
    z, y = classifier(dtype=torch.float64)
    s = z.log_softmax(1)
    r, other = summarize(ls.NLLLoss(weight=torch.arange(1.0, 8)), s, y), summarize("cross_entropy", z, y)
    assert r.loss == pytest.approx(float(F.nll_loss(s, y, torch.arange(1.0, 8, dtype=torch.float64))), rel=1e-12)
    for name in ("nll", "entropy", "confidence", "accuracy"):
        assert getattr(r, name) == pytest.approx(getattr(other, name), rel=1e-9)


def test_the_linear_loss_is_measured_from_its_input():
    torch.manual_seed(0)
    loss = ls.LinearCrossEntropyLoss(4, 6, bias=True)
    x, y = torch.randn(30, 4), torch.randint(6, (30,))
    r, other = summarize(loss, x, y), summarize("cross_entropy", loss.logits(x).detach(), y)
    assert r.loss == pytest.approx(float(loss(x, y).detach()), rel=1e-6)
    assert torch.equal(r.confusion, other.confusion)
    with pytest.raises(ls.InputError, match="linear layer"):
        summarize(loss, torch.randn(30, 5), y)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pos_weight": torch.tensor([1.0, 2.0, 3.0, 0.5])},
        {"weight": torch.tensor([1.0, 0.5, 2.0, 1.0]), "label_smoothing": 0.2},
        {"focal_gamma": 2.0, "pos_weight": torch.tensor(3.0)},
        {"ignore_index": -1.0},
        {"weight": torch.rand(400, 1, generator=torch.Generator().manual_seed(0))},
    ],
    ids=str,
)
def test_the_binary_loss_is_the_one_the_loss_computes(options):
    z, m = tagger()
    if "ignore_index" in options:
        m[::3, 1] = -1
    loss = ls.BCEWithLogitsLoss(**options)
    r = summarize(loss, z, m)
    assert r.loss == pytest.approx(float(loss.double()(z.double(), m.double())), rel=1e-7)
    assert r.num_ignored == int((m < 0).sum())
    counted = m >= 0
    plain = F.binary_cross_entropy_with_logits(z.double()[counted], m.double()[counted])
    assert r.nll == pytest.approx(float(plain), rel=1e-12)


def test_probabilities_as_outputs():
    z, m = tagger()
    p = z.sigmoid()
    p[0, 0], m[0, 0] = 0.0, 1.0  # torch holds the logarithm at −100
    r = summarize("bce", p, m)
    assert r.loss == pytest.approx(float(F.binary_cross_entropy(p.double(), m.double())), rel=1e-9)
    assert r.worst[0].loss == 100
    np.testing.assert_array_equal(r.classes.predicted, (p > 0.5).sum(0))


def test_labels_at_every_position():
    z, m = torch.randn(3, 2, 4), torch.ones(3, 2, 4)
    r = summarize("bce_with_logits", z, m, worst=30)
    assert r.num_labels == 2
    each = F.binary_cross_entropy_with_logits(z, m, reduction="none")
    assert len(r.worst) == 24
    assert all(s.loss == pytest.approx(float(each[s.index, *s.position]), abs=1e-5) for s in r.worst)
    flat = summarize("bce_with_logits", z[:, 0, 0], m[:, 0, 0], worst=1)
    assert (flat.num_labels, flat.worst[0].position) == (1, ())


# ----------------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("n", [50, 3000])
def test_ece_is_torchmetrics(n):
    z, y = classifier(n=n)
    theirs = MulticlassCalibrationError(num_classes=7, n_bins=15)(z.double().softmax(1).float(), y)
    c = summarize("cross_entropy", z, y).calibration
    assert c.ece == pytest.approx(float(theirs), abs=1e-6)
    assert int(c.count.sum()) == n
    assert c.mce == pytest.approx((c.accuracy - c.confidence).abs().nan_to_num(0).max().item())


def calibrated(n, seed):
    g = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(n, 10, generator=g)
    return z, torch.multinomial(z.softmax(1), 1, generator=g).squeeze(1)


@pytest.mark.parametrize(("n", "ece"), [(100, 0.115), (500, 0.052), (10_000, 0.013)])
def test_the_null_band_is_what_calibrated_models_show(n, ece):
    z, _ = calibrated(n, 0)
    p = z.double().softmax(1)
    g = torch.Generator().manual_seed(1)
    draws = torch.multinomial(p, 200, replacement=True, generator=g).T
    confidence, decision = p.max(1)
    bins = (confidence * 15).long()
    gaps = torch.zeros(200, 15, dtype=torch.float64)
    gaps.index_add_(1, bins, (draws == decision).double() - confidence)
    simulated = gaps.abs().sum(1) / n

    null = summarize("cross_entropy", z, draws[0]).calibration.null
    assert null.mean == pytest.approx(float(simulated.mean()), rel=0.06)
    assert null.low == pytest.approx(float(simulated.quantile(0.05)), rel=0.12)
    assert null.high == pytest.approx(float(simulated.quantile(0.95)), rel=0.12)
    assert null.mean == pytest.approx(ece, rel=0.15)
    right = (draws == decision).double()
    inside = [
        ((right[:, bins == b].mean(1) >= null.bin_low[b]) & (right[:, bins == b].mean(1) <= null.bin_high[b]))
        .double()
        .mean()
        .item()
        for b in bins.unique().tolist()
    ]
    assert 0.82 < np.mean(inside) <= 1  # 90 %, and the ends of a discrete band


def test_the_p_value_tells_calibrated_from_overconfident():
    z, y = calibrated(2000, 0)
    values = [summarize("cross_entropy", *calibrated(300, s)).calibration.null.p_value for s in range(40)]
    assert 0.3 < np.mean(values) < 0.7  # uniform on [0, 1]
    assert summarize("cross_entropy", 3 * z, y).calibration.null.p_value == 0


@pytest.mark.parametrize("truth", [0.4, 1.0, 1.9, 5.0])
def test_the_temperature_is_the_minimum(truth):
    g = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(5000, 10, generator=g, dtype=torch.float64)
    y = torch.multinomial((z / truth).softmax(1), 1, generator=g).squeeze(1)
    r = summarize("cross_entropy", z, y)
    t = r.temperature
    best = scipy.optimize.minimize_scalar(lambda u: F.cross_entropy(z / u, y).item(), bounds=(0.1, 9), method="bounded")
    assert t.temperature == pytest.approx(best.x, rel=2e-3)
    assert t.nll == pytest.approx(best.fun, abs=1e-5)
    assert (t.nll_before, t.ece_before) == (pytest.approx(r.nll, rel=1e-12), pytest.approx(r.calibration.ece, rel=1e-9))
    after = summarize("cross_entropy", z / t.temperature, y)
    assert t.ece == pytest.approx(after.calibration.ece, abs=0.004)
    torch.testing.assert_close(t.bin_count, after.calibration.count.double(), rtol=0.1, atol=25)
    well_filled = t.bin_count > 200
    for mine, theirs in ((t.bin_accuracy, "accuracy"), (t.bin_confidence, "confidence")):
        expected = getattr(after.calibration, theirs)
        torch.testing.assert_close(mine[well_filled], expected[well_filled], rtol=0, atol=0.03)
    gaps = (t.bin_count * (t.bin_accuracy - t.bin_confidence)).nan_to_num().abs().sum() / len(y)
    assert float(gaps) == pytest.approx(t.ece)
    k = 20
    at = summarize("cross_entropy", z / t.grid[k], y)
    assert float(t.grid_nll[k]) == pytest.approx(at.nll, rel=1e-9)
    assert float(t.grid_ece[k]) == pytest.approx(at.calibration.ece, rel=1e-6)
    assert not t.at_edge


def test_a_perfect_model_has_its_temperature_at_the_edge():
    y = torch.arange(5)
    t = summarize("cross_entropy", F.one_hot(y).float(), y).temperature
    assert t.at_edge
    assert t.temperature == 0.125


def test_no_temperature_where_a_loss_is_infinite():
    z = torch.tensor([[0.0, -torch.inf], [1.0, 0.0]])
    r = summarize("cross_entropy", z, torch.tensor([1, 0]))
    assert r.temperature is None
    assert r.loss == r.nll == math.inf
    assert r.num_infinite == 1
    assert float(r.classes.mean_loss[1]) == math.inf
    assert r.worst[0].loss == math.inf
    assert math.isfinite(r.calibration.ece)


# --------------------------------------------------------------------------------- the same digits in every order


def cut(n, at):
    return [slice(a, b) for a, b in itertools.pairwise([0, *sorted(at), n])]


def parts_of(loss, z, y, order, pieces):
    for piece in pieces:
        part = Summary(loss, worst=5)
        part.update(z[order[piece]], y[order[piece]], index=order[piece])
        yield part


@given(data=st.data(), kind=st.sampled_from(["cross_entropy", "many classes", "bce_with_logits", "mse"]))
@settings(max_examples=40)
def test_any_split_in_any_order_gives_the_same_digits(data, kind):
    n = data.draw(st.integers(1, 40))
    g = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    scale = data.draw(st.sampled_from([1e-3, 1.0, 30.0, 1e4]))
    h = 300 if kind == "many classes" else 5
    z, y = scale * torch.randn(n, h, generator=g), torch.randint(5, (n,), generator=g)
    loss = {"many classes": "cross_entropy"}.get(kind, kind)
    if kind == "bce_with_logits":
        y = (torch.rand(n, h, generator=g) < 0.5).float()
    if kind == "mse":
        y = torch.randn(n, h, generator=g)
    whole = Summary(loss, worst=5)
    whole.update(z, y)
    order = torch.randperm(n, generator=g)
    pieces = cut(n, data.draw(st.lists(st.integers(0, n), max_size=4)))
    parts = list(parts_of(loss, z, y, order, pieces))
    merged = Summary(loss, worst=5)
    for i in data.draw(st.permutations(range(len(parts)))):
        merged.merge(parts[i])
    assert same(merged.compute(), whole.compute())


@pytest.mark.parametrize("rows", [1, 3, 64, 1000])
def test_the_batch_size_does_not_matter(rows):
    z, y = classifier(n=200)
    assert same(summarize("cross_entropy", z, y, batch_rows=rows), summarize("cross_entropy", z, y))


def test_the_number_of_threads_does_not_matter():
    z, y = classifier(n=30_000, classes=40)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = summarize("cross_entropy", z, y)
        torch.set_num_threads(3)
        assert same(summarize("cross_entropy", z, y), one)
    finally:
        torch.set_num_threads(before)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_two_ranks_give_the_same_digits_as_one(tmp_path):
    uneven, one_is_empty = [(0, 120), (120, 301)], [(0, 301), (301, 301)]
    mp.spawn(measure, args=(2, free_port(), [uneven, one_is_empty], str(tmp_path)), nprocs=2)
    whole = summarize("cross_entropy", *classifier(n=301)).to_dict()
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        for (result, seen), shares in zip(found, (uneven, one_is_empty), strict=True):
            assert result == whole
            assert seen == shares[rank][1] - shares[rank][0]  # its own state came back


# ------------------------------------------------------------------------------------------------ exact sums


@given(st.lists(st.floats(-1e30, 1e30), max_size=60))
def test_sums_are_exact(values):
    total = np.zeros(exact_sums.FULL.digits, np.int64)
    for x in values:
        exact_sums.add(total, exact_sums.FULL.low, x)
    exact_sums.carry(total)
    assert exact_sums.mean(total, 1, exact_sums.FULL) == math.fsum(values)
    exactly = sum((Fraction(x) for x in values), Fraction(0))
    assert exact_sums.mean(total, 3, exact_sums.FULL) == float(exactly / 3)


@given(st.lists(st.floats(0, 1e6), max_size=60))
def test_sums_in_nats_are_exact_to_their_lowest_bit(values):
    total = np.zeros(exact_sums.NATS.digits, np.int64)
    for x in values:
        exact_sums.add(total, exact_sums.NATS.low, x)
    exact_sums.carry(total)
    kept = sum(math.floor(Fraction(x) * 2**96) for x in values)
    assert exact_sums.mean(total, 1) == float(Fraction(kept, 2**96))
    assert all(0 <= digit < 2**32 for digit in total)


@pytest.mark.parametrize("x", [5e-324, 1.7976931348623157e308, -1e300, 0.0, -0.0])
def test_every_float_is_added_exactly(x):
    total = np.zeros(exact_sums.FULL.digits, np.int64)
    exact_sums.add(total, exact_sums.FULL.low, x)
    assert exact_sums.mean(total, 1, exact_sums.FULL) == x


def test_extreme_logits_stay_finite():
    z = torch.tensor([[3e38, -3e38]], dtype=torch.float32)
    r = summarize("cross_entropy", z, torch.tensor([1]))
    assert r.loss == pytest.approx(6e38, rel=1e-6)


# ------------------------------------------------------------------------------------- the worst, the confusions


def test_the_worst_are_the_largest_with_ties_in_order():
    z = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 3.0], [0.0, 1.0], [5.0, 0.0]])
    r = summarize("cross_entropy", z, torch.zeros(5, dtype=torch.long), worst=3, batch_rows=2)
    assert [s.index for s in r.worst] == [2, 0, 1]
    first = r.worst[0]
    assert (first.target, first.decision, first.position) == (0, 1, ())
    assert first.loss == pytest.approx(math.log(1 + math.exp(3)))
    assert first.target_probability == pytest.approx(math.exp(-first.loss))
    assert first.decision_probability == pytest.approx(1 - math.exp(-first.loss))


def test_nan_and_infinity_are_the_worst():
    z = torch.tensor([[0.0, 1.0], [math.nan, 0.0], [-math.inf, 0.0], [0.0, 9.0]])
    r = summarize("cross_entropy", z, torch.zeros(4, dtype=torch.long), worst=3)
    assert [s.index for s in r.worst] == [1, 2, 3]
    assert (r.num_nan, r.num_infinite) == (1, 1)
    assert math.isnan(r.loss)
    json.dumps(r.to_dict(), allow_nan=False)


def test_samples_are_numbered_as_given():
    z, y = classifier(n=4)
    summary = Summary("cross_entropy")
    summary.update(z[:2], y[:2], index=torch.tensor([70, 90]))
    summary.update(z[2:], y[2:], index=1000)
    assert {s.index for s in summary.compute().worst} == {70, 90, 1000, 1001}
    with pytest.raises(ls.InputError, match="index"):
        summary.update(z, y, index=torch.tensor([1]))


def test_none_are_kept_when_none_are_asked_for():
    assert summarize("cross_entropy", *classifier(), worst=0).worst == ()


def test_many_classes_keep_their_mistakes_in_a_table():
    g = torch.Generator().manual_seed(0)
    z, y = torch.randn(3000, 300, generator=g), torch.randint(300, (3000,), generator=g)
    y[:200] = (z[:200].argmax(1) + 1) % 300
    few = summarize("cross_entropy", z, y, class_limit=300)
    many = summarize("cross_entropy", z, y, class_limit=200, batch_rows=77)
    assert many.confusion is None
    assert many.classes.loss_histogram is None
    assert many.confusions_missed == 0
    assert [(c.target, c.decision, c.count) for c in many.top_confusions] == [
        (c.target, c.decision, c.count) for c in few.top_confusions
    ][:200]
    assert (many.nll, many.accuracy, many.calibration.ece) == (few.nll, few.accuracy, few.calibration.ece)
    assert torch.equal(many.classes.support, few.classes.support)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=300), st.integers(1, 12), st.integers(1, 40))
def test_a_full_table_says_how_much_may_be_missing(mistakes, size, step):
    tables = []
    for i in range(0, len(mistakes), step):
        table = confusion_table.empty(size)
        confusion_table.add(table.numpy(), np.array(mistakes[i : i + step]))
        tables.append(table)
    found, missed = confusion_table.of_table(confusion_table.merge(torch.stack(tables)).numpy(), 31, size)
    truth = np.bincount(mistakes, minlength=31)
    counts = {c.decision: c.count for c in found}
    assert all(counts.get(k, 0) <= truth[k] <= counts.get(k, 0) + missed for k in range(31))
    if len(set(mistakes)) <= size:
        assert missed == 0
    assert missed <= len(mistakes) / (size + 1)


def test_memory_does_not_grow_with_the_samples():
    summary = Summary("cross_entropy")

    def size():
        return sum(state.numel() * state.element_size() for state in summary.metric_state.values())

    summary.update(*classifier(n=10))
    before = size()
    for seed in range(5):
        summary.update(*classifier(n=2000, seed=seed))
    assert size() == before


def test_many_classes_take_little_memory():
    summary = Summary("cross_entropy")
    summary.update(torch.zeros(1, 32_000), torch.tensor([5]))
    assert sum(state.numel() * state.element_size() for state in summary.metric_state.values()) < 8 << 20
    assert len(json.dumps(summary.compute().to_dict())) < 4 << 20


def test_histograms_hold_every_finite_loss():
    z, y = classifier(n=1000)
    r, each = summarize("cross_entropy", z, y), F.cross_entropy(z.double(), y, reduction="none").numpy()
    inner, _ = np.histogram(each, r.loss_histogram.edges.numpy())
    counts = r.loss_histogram.counts
    np.testing.assert_array_equal(counts[1:-1], inner)
    assert int(counts[0]) == (each < 2.0**-20).sum()
    assert torch.equal(r.classes.loss_histogram.counts.sum(0), counts)
    assert torch.equal(r.classes.loss_histogram.counts.sum(1), r.classes.support)
    sure = r.confidence_histogram
    assert int(sure.right.sum()) == round(r.accuracy * 1000)
    assert torch.equal(sure.wrong_by_class.sum(0), sure.wrong)
    correct = z.argmax(1) == y
    theirs = torch.histc(z.double().softmax(1).amax(1)[correct], 30, 0, 1)
    np.testing.assert_array_equal(sure.right, theirs)


# ----------------------------------------------------------------------------------------- as a torchmetrics.Metric


def test_forward_gives_the_batch_and_keeps_the_whole():
    z, y = classifier(n=90)
    summary = Summary("cross_entropy")
    for i in range(0, 90, 30):
        batch = summary(z[i : i + 30], y[i : i + 30])
        assert batch.nll == summarize("cross_entropy", z[i : i + 30], y[i : i + 30]).nll
    assert same(summary.compute(), summarize("cross_entropy", z, y))
    summary.to("cpu")


def test_reset_forgets_even_the_number_of_classes():
    summary = Summary("cross_entropy")
    summary.update(*classifier(classes=3))
    with pytest.raises(ls.InputError, match="3 classes, as before"):
        summary.update(*classifier(classes=4))
    summary.reset()
    summary.update(*classifier(classes=4))
    assert same(summary.compute(), summarize("cross_entropy", *classifier(classes=4)))


def test_in_a_collection_beside_others():
    z, y = classifier(n=100)
    metrics = torchmetrics.MetricCollection(
        {"summary": Summary("cross_entropy"), "accuracy": torchmetrics.Accuracy("multiclass", num_classes=7)}
    )
    metrics(z[:50], y[:50])
    metrics.update(z[50:], y[50:])
    found = metrics.compute()
    assert same(found["summary"], summarize("cross_entropy", z, y))
    micro = torchmetrics.functional.accuracy(z, y, "multiclass", num_classes=7)
    assert found["summary"].accuracy == pytest.approx(float(micro))


def test_state_dict_pickle_and_copy_keep_everything():
    z, y = classifier(n=100)
    summary = Summary(ls.CrossEntropyLoss(weight=torch.arange(1.0, 8)))
    summary.persistent(True)
    summary.update(z[:60], y[:60])
    loaded = Summary(ls.CrossEntropyLoss(weight=torch.ones(7)))
    loaded.persistent(True)
    file = io.BytesIO()
    torch.save(summary.state_dict(), file)
    file.seek(0)
    loaded.load_state_dict(torch.load(file))
    loaded._update_count = 1
    others = [loaded, pickle.loads(pickle.dumps(summary)), copy.deepcopy(summary), summary.clone(), summary]
    for one in others:
        one.update(z[60:], y[60:])
    whole = summarize(summary.loss, z, y)
    assert all(same(one.compute(), whole) for one in others)
    assert same(pickle.loads(pickle.dumps(whole)), whole)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_with_nan_anywhere_is_no_hit_and_no_largest(place):
    z = torch.tensor([[0.5, 1.0, 0.0]])
    z[0, place] = math.nan
    found = summarize("cross_entropy", z, torch.tensor([(place + 1) % 3]), top_k=(1, 2))
    assert found.accuracy == 0
    assert found.top_k == {1: 0, 2: 0}


def test_losses_with_other_weights_do_not_merge():
    z, y = torch.eye(3), torch.arange(3)
    first, second, third = (Summary(ls.CrossEntropyLoss(torch.tensor([w, 1.0, 1.0]))) for w in (1.0, 9.0, 1.0))
    for summary in (first, second, third):
        summary.update(z, y)
    first.merge(third)
    with pytest.raises(ls.InputError, match="same arguments"):
        first.merge(second)


def test_merging_what_does_not_fit_is_an_error():
    summary = Summary("cross_entropy")
    summary.update(*classifier())
    for other in (Summary("nll"), Summary(ls.CrossEntropyLoss(label_smoothing=0.1)), "a string"):
        with pytest.raises(ls.InputError, match=r"Summary\.merge"):
            summary.merge(other)
    for empty in (Summary("cross_entropy"), Summary("cross_entropy").merge(Summary("cross_entropy"))):
        assert same(summary.merge(empty).compute(), summarize("cross_entropy", *classifier()))
    other = Summary("cross_entropy")
    other.update(*classifier(classes=3))
    with pytest.raises(ls.InputError, match="7 classes, as before"):
        summary.merge(other)


# -------------------------------------------------------------------------------------------- the result, the edges


def test_everything_ignored_is_nan_and_none():
    z, _ = classifier(n=5)
    r = summarize("cross_entropy", z, torch.full((5,), -100))
    assert (r.num_samples, r.num_counted, r.num_ignored) == (5, 0, 5)
    assert all(math.isnan(x) for x in (r.loss, r.nll, r.accuracy, r.calibration.ece, r.calibration.null.mean))
    assert r.temperature is None
    assert r.to_dict()["loss"] is None
    assert "5 ignored" in str(r)


def test_no_samples():
    r = summarize("cross_entropy", torch.empty(0, 3), torch.empty(0, dtype=torch.long), batch_rows=4)
    assert r.num_samples == 0
    assert summarize("bce_with_logits", torch.empty(0, 3), torch.empty(0, 3)).num_samples == 0
    assert math.isnan(summarize("mse", torch.empty(0), torch.empty(0)).r2)


def test_ignored_samples_may_hold_anything():
    z, y = classifier(n=20)
    z[3], y[3] = math.nan, -100
    keep = torch.arange(20) != 3
    r, other = summarize("cross_entropy", z, y), summarize("cross_entropy", z[keep], y[keep])
    assert (r.loss, r.num_nan, r.accuracy) == (other.loss, 0, other.accuracy)


@pytest.mark.parametrize(
    ("loss", "z", "y"),
    [
        ("cross_entropy", torch.zeros(3, 2), torch.tensor([0, 1, 2])),
        ("cross_entropy", torch.zeros(3, 2), torch.tensor([0, 1])),
        ("cross_entropy", torch.zeros(3, 2), torch.tensor([0.0, 1.0, 1.0])),
        ("cross_entropy", torch.tensor(1.0), torch.tensor(0)),
        ("cross_entropy", [[1.0]], torch.tensor([0])),
        (ls.CrossEntropyLoss(weight=torch.ones(3)), torch.zeros(3, 2), torch.tensor([0, 1, 1])),
        (ls.CrossEntropyLoss(focal_gamma=1.0), torch.zeros(3, 2), torch.full((3, 2), 0.5)),
        ("bce_with_logits", torch.zeros(3, 2), torch.zeros(3)),
        ("bce_with_logits", torch.zeros(3), torch.tensor([0.0, 2.0, 1.0])),
        ("bce", torch.tensor([1.5]), torch.tensor([1.0])),
        ("mse", torch.zeros(3, 1), torch.zeros(3)),
        ("msle", torch.zeros(2), torch.tensor([1.0, 0.0])),
        (torch.nn.L1Loss(), torch.zeros(2), torch.zeros(2)),
    ],
)
@pytest.mark.parametrize("batch_rows", [None, 1])
def test_bad_input_is_an_error_and_changes_nothing(loss, z, y, batch_rows):
    with pytest.raises(ls.InputError, match="expected"):
        summarize(loss, z, y, batch_rows=batch_rows)


@pytest.mark.parametrize("options", [{"worst": -1}, {"top_k": (0,)}, {"class_limit": 1.5}, {"batch_rows": 0}])
def test_bad_options(options):
    with pytest.raises(ls.InputError, match="whole number"):
        summarize("cross_entropy", *classifier(), **options)


def test_a_failed_update_changes_nothing():
    summary = Summary("cross_entropy")
    summary.update(*classifier())
    with pytest.raises(ls.InputError):
        summary.update(torch.zeros(2, 7), torch.tensor([0, 9]))
    assert same(summary.compute(), summarize("cross_entropy", *classifier()))


def test_nothing_to_compute_is_an_error():
    summary = Summary("cross_entropy")
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(ls.InputError, match="update"):
        summary.compute()


@pytest.mark.parametrize("kind", ["cross_entropy", "bce_with_logits", "mse"])
def test_the_result_is_ready_for_json_and_for_a_terminal(kind):
    z, y = tagger() if kind != "cross_entropy" else classifier()
    r = summarize(kind, z, y)
    again = json.loads(json.dumps(r.to_dict(), allow_nan=False))
    assert again == r.to_dict()
    assert (again["kind"], again["loss"]) == (type(r).__name__, r.loss)
    console = Console(file=io.StringIO(), width=80)
    console.print(r)
    assert "L_mean" in console.file.getvalue()
    assert f"{r.loss:.6g}" in str(r)


def test_names_of_classes_are_text_and_not_markup():
    z, y = classifier(classes=2)
    r = summarize("cross_entropy", z, y, labels=("[bold]cat[/bold]", "<b>dog</b>"))
    assert "[bold]cat[/bold]" in str(r)
    assert r.to_dict()["classes"]["labels"] == ["[bold]cat[/bold]", "<b>dog</b>"]
    with pytest.raises(ls.InputError, match="2 names, one for each output; got 3"):
        summarize("cross_entropy", z, y, labels=("a", "b", "c"))


def test_results_are_frozen():
    r = summarize("cross_entropy", *classifier())
    assert isinstance(r, CategoricalSummary)
    with pytest.raises(AttributeError):
        r.loss = 0.0


def test_outputs_that_require_grad_keep_their_graph_out():
    z, y = classifier(n=10)
    assert same(summarize("cross_entropy", z.requires_grad_(), y), summarize("cross_entropy", z.detach(), y))


def test_torch_losses_are_taken_for_ours():
    z, y = classifier()
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    assert summarize(theirs, z.double(), y).loss == pytest.approx(float(theirs(z.double(), y)), rel=1e-12)


def test_no_temperature_where_a_loss_is_nan():
    z = torch.tensor([[math.nan, 0.0], [1.0, 0.0]])
    assert summarize("cross_entropy", z, torch.tensor([1, 0])).temperature is None


def test_merging_after_a_result_gives_a_new_one():
    z, y = classifier(n=100)
    first, second = Summary("cross_entropy"), Summary("cross_entropy")
    first.update(z[:60], y[:60], index=0)
    second.update(z[60:], y[60:], index=60)
    first.compute()
    assert same(first.merge(second).compute(), summarize("cross_entropy", z, y))


def test_the_rows_that_do_not_fit_are_named(tmp_path):
    np.savez(tmp_path / "far.npz", outputs=np.zeros((6, 2), np.float32), targets=np.array([0, 1, 0, 1, 2, 0]))
    with pytest.raises(ls.InputError, match=r"^rows 4 to 5: "):
        summarize("cross_entropy", tmp_path / "far.npz", batch_rows=2)


@pytest.mark.parametrize("name", ["outputs", "targets"])
def test_tensors_need_no_names(name):
    with pytest.raises(ls.InputError, match=f"no {name} beside tensors"):
        summarize("cross_entropy", *classifier(), **{name: "z"})


def test_a_class_that_does_not_occur_has_no_recall():
    z = torch.eye(3)
    c = summarize("cross_entropy", z, torch.tensor([0, 1, 1])).classes
    assert math.isnan(c.recall[2])
    assert c.balanced_accuracy == 0.75


def test_a_temperature_at_the_edge_is_said():
    y = torch.arange(5)
    assert "T = 0.125 or beyond" in str(summarize("cross_entropy", F.one_hot(y).float(), y))
    assert "T = 8.000 or beyond" in str(summarize("cross_entropy", -F.one_hot(y).float(), y))


def skip_a_row_with_nan_has_its_truth_last():
    z = torch.tensor([[math.nan, 0.0, 1.0]])
    assert summarize("cross_entropy", z, torch.tensor([1]), top_k=(1, 2)).top_k == {1: 0, 2: 0}


def test_what_weighs_nothing_may_be_masked():
    z, y = torch.tensor([[0.0, -math.inf], [1.0, 0.0]]), torch.tensor([1, 0])
    assert summarize(ls.CrossEntropyLoss(torch.tensor([1.0, 0.0])), z, y).loss == pytest.approx(
        math.log1p(math.exp(-1))
    )
    all_uniform = summarize(ls.CrossEntropyLoss(label_smoothing=1.0), z, y)
    assert all_uniform.loss == pytest.approx((math.log1p(math.exp(-1)) + 0.5) / 2)
