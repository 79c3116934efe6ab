"""Figures: the numbers they are drawn from, against scikit-learn, scipy and closed forms; and their words."""

import json
import math

import numpy as np
import plotly.graph_objects as go
import pytest
import scipy.special
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import losscope as ls
from losscope import figures
from losscope.figures.style import PALETTE

FORMULAS = {
    "sigmoid_link": figures.sigmoid_link,
    "softmax_link": figures.softmax_link,
    "softmax_map": figures.softmax_map,
    "loss_of_logit": figures.loss_of_logit,
    "focal": figures.focal,
    "smoothing": figures.smoothing,
    "squared_error_on_probability": figures.squared_error_on_probability,
    "gradients": figures.gradients,
    "log_against_linear": figures.log_against_linear,
    "log_softmax_three_ways": figures.log_softmax_three_ways,
    "steps_of_sample": lambda: figures.steps_of_sample(torch.tensor([1.0, -2.0, 3.0]), 0),
    "target_grid": lambda: figures.target_grid(torch.tensor([2, 0]), 3),
}
NAMES = ("cat", "<b>dog</b>", "owl", "fox")


@pytest.fixture(scope="module")
def categorical():
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(400, 4, generator=generator)
    y = torch.where(
        torch.rand(400, generator=generator) < 0.7, z.argmax(1), torch.randint(4, (400,), generator=generator)
    )
    return z, y


@pytest.fixture(scope="module")
def labels():
    generator = torch.Generator().manual_seed(1)
    z = 1.5 * torch.randn(500, 3, generator=generator)
    return z, (torch.rand(500, 3, generator=generator) < z.sigmoid() * 0.6).float()


def every_figure(categorical, labels) -> dict[str, go.Figure]:
    values = torch.linspace(0.1, 4, 60)
    summaries = {
        "categorical": ls.summarize("cross_entropy", *categorical, labels=NAMES),
        "binary": ls.summarize("bce_with_logits", *labels),
        "values": ls.summarize("mse", values, values + torch.sin(5 * values)),
    }
    drawn = {f"{kind} {k}": f for kind, s in summaries.items() for k, f in figures.for_summary(s).items()}
    return drawn | {name: make() for name, make in FORMULAS.items()}


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(t for t in figure.data if t.name is not None and t.name.startswith(name))


def test_which_figures_a_summary_has(categorical, labels):
    every = {"LossDistributionDisplay", "WorstDisplay"}
    names = every | {"ReliabilityDisplay", "ClassLossDisplay", "ClassDistributionDisplay"}
    only = {"ConfidenceDisplay", "TemperatureDisplay", "ConfusionDisplay"}
    assert set(figures.for_summary(ls.summarize("cross_entropy", *categorical))) == names | only
    assert set(figures.for_summary(ls.summarize("bce_with_logits", *labels))) == names | {
        "ThresholdDisplay",
        "LabelThresholdDisplay",
    }
    one = figures.for_summary(ls.summarize("bce_with_logits", labels[0][:, :1], labels[1][:, :1]))
    assert "LabelThresholdDisplay" not in one
    values = torch.linspace(0, 1, 9)
    assert set(figures.for_summary(ls.summarize("mse", values, values**2))) == every | {"ResidualDisplay"}


def test_every_figure_has_a_title_axes_words_and_numbers(categorical, labels):
    for name, figure in every_figure(categorical, labels).items():
        layout = figure.layout
        assert layout.title.text, name
        assert len(layout.meta["description"]) > 40, name
        columns, rows = layout.meta["table"]["columns"], layout.meta["table"]["rows"]
        assert rows, name
        assert {len(row) for row in rows} == {len(columns)}, name
        json.dumps(rows)
        titled = layout.xaxis.title.text or len(layout.annotations)  # panels have their titles as annotations
        assert titled, name
        assert layout.paper_bgcolor == "rgba(0,0,0,0)", name


def test_lines_are_told_apart_without_colour_and_only_by_safe_colours():
    for name, make in FORMULAS.items():
        lines = [t.line for t in make().data if t.type == "scatter"]
        assert len({line.dash for line in lines}) == len(lines), name
        assert {line.color for line in lines} <= {*PALETTE, "#7a7f87"}, name


def test_names_never_become_markup(categorical, labels):
    drawn = every_figure(categorical, labels)
    texts = json.dumps([f.to_plotly_json()["layout"].get("yaxis", {}) for f in drawn.values()], default=str)
    assert "&lt;b&gt;dog" in texts
    assert "<b>dog" not in texts


def test_reliability_against_its_definition(categorical):
    z, y = categorical
    display = figures.ReliabilityDisplay.from_predictions(z, y)
    confidence, decision = torch.softmax(z.double(), 1).max(1)
    which = np.minimum((confidence.numpy() * 15).astype(int), 14)
    right = (decision == y).numpy()
    for b in np.unique(which):
        assert display.accuracy[b] == pytest.approx(right[which == b].mean())
        assert display.confidence[b] == pytest.approx(confidence.numpy()[which == b].mean())
    ece = sum(abs(right[which == b].sum() - confidence.numpy()[which == b].sum()) for b in np.unique(which)) / len(y)
    assert display.ece == pytest.approx(ece)
    assert display.ece_null[0] < display.ece_null[1] < display.ece_null[2]
    points = trace(display.plot(), "this model")
    np.testing.assert_allclose(points.y, display.accuracy[display.count > 0])


def test_a_display_is_the_same_from_predictions_and_from_a_summary(categorical):
    z, y = categorical
    one = figures.LossDistributionDisplay.from_predictions(z, y)
    other = figures.LossDistributionDisplay.from_summary(ls.summarize("cross_entropy", z, y))
    assert one.plot() == other.plot()


def test_distribution_counts_every_sample_once(categorical):
    z, y = categorical
    display = figures.LossDistributionDisplay.from_predictions(z, y)
    losses = torch.nn.functional.cross_entropy(z.double(), y, reduction="none").numpy()
    assert display.counts.sum() + display.below + display.above == len(y)
    expected, _ = np.histogram(losses, display.edges)
    np.testing.assert_array_equal(display.counts, expected)
    assert display.chance == math.log(4)
    assert display.mean == pytest.approx(losses.mean())


def test_distribution_counts_what_is_infinite():
    z = torch.tensor([[0.0, -torch.inf], [1.0, 2.0]])
    display = figures.LossDistributionDisplay.from_predictions(z, torch.tensor([1, 1]))
    assert display.above == 1
    assert "2 samples" in display.describe()


def test_how_many_are_worse_than_a_guess_is_exact():
    generator = torch.Generator().manual_seed(7)
    z, y = 0.1 * torch.randn(500, 10, generator=generator), torch.randint(10, (500,), generator=generator)
    worse = torch.nn.functional.cross_entropy(z.double(), y, reduction="none") > math.log(10)
    display = figures.LossDistributionDisplay.from_predictions(z, y)
    assert display.worse_than_chance == pytest.approx((float(worse.double().mean()),) * 2)
    assert f"{worse.double().mean():.1%} of the samples are worse" in display.describe()
    m = (z < 0).float()
    binary = figures.LossDistributionDisplay.from_predictions(z, m, loss="bce_with_logits")
    assert binary.worse_than_chance == (1, 1)
    for guess in (
        figures.LossDistributionDisplay.from_predictions(torch.full((9, h), 3.7), y[:9] % h) for h in (1, 3, 7)
    ):
        assert guess.worse == (0, 0)


def test_how_many_are_worse_than_the_mean_has_bounds_where_only_bins_are_known():
    t = torch.linspace(1, 5, 400)
    display = figures.LossDistributionDisplay.from_predictions(t + torch.linspace(0, 3, 400), t, loss="mse")
    truth = int((torch.linspace(0, 3, 400) ** 2 > t.var(correction=0)).sum())
    low, high = display.worse
    assert 0 < low <= truth <= high < 400
    assert f"At least {low / 400:.1%} and at most {high / 400:.1%} of the samples" in display.describe()


def test_confusion_against_scikit_learn(categorical):
    z, y = categorical
    display = figures.ConfusionDisplay.from_predictions(z, y, class_names=NAMES)
    expected = confusion_matrix(y, z.argmax(1))
    np.testing.assert_array_equal(display.matrix, expected)
    off = expected - np.diag(np.diag(expected))
    assert display.pairs[0][2] == off.max()
    assert [row[1:] for row in display.plot().layout.meta["table"]["rows"]] == expected.tolist()


def test_confusion_of_many_classes_shows_the_pairs():
    generator = torch.Generator().manual_seed(4)
    z, y = torch.randn(300, 60, generator=generator), torch.randint(60, (300,), generator=generator)
    display = figures.ConfusionDisplay.from_predictions(z, y)
    assert display.matrix is None
    assert display.plot().data[0].type == "bar"
    assert len(display.pairs) <= 20


def test_classes_in_the_order_of_their_loss(categorical):
    z, y = categorical
    display = figures.ClassLossDisplay.from_predictions(z, y, class_names=NAMES)
    losses = torch.nn.functional.cross_entropy(z.double(), y, reduction="none")
    expected = {name: float(losses[y == h].mean()) for h, name in enumerate(NAMES)}
    assert display.names == sorted(NAMES, key=expected.get, reverse=True)
    np.testing.assert_allclose(display.mean_loss, [expected[name] for name in display.names])


@pytest.mark.parametrize("class_limit", [256, 2])
def test_the_mean_loss_of_a_label_is_over_all_samples_that_count(labels, class_limit):
    z, m = labels
    ignoring = ls.BCEWithLogitsLoss(ignore_index=-1)
    display = figures.ClassLossDisplay.from_summary(ls.summarize(ignoring, z, m, class_limit=class_limit))
    assert display.count.tolist() == [500] * 3
    assert "over 500 samples" in display.describe()
    assert [row[2] for row in display.plot().layout.meta["table"]["rows"]] == [500] * 3
    held = m.clone()
    held[:40] = -1
    display = figures.ClassLossDisplay.from_summary(ls.summarize(ignoring, z, held, class_limit=class_limit))
    assert display.plot().data[0].text[0] == ("n = 460" if class_limit > 2 else "n = –")


def test_confidence_of_right_and_wrong(categorical):
    z, y = categorical
    display = figures.ConfidenceDisplay.from_predictions(z, y)
    confidence, decision = torch.softmax(z.double(), 1).max(1)
    wrong = confidence[decision != y].numpy()
    np.testing.assert_array_equal(display.wrong, np.histogram(wrong, display.edges)[0])
    assert display.sure_and_wrong == (wrong >= 0.9).sum()


def test_temperature_is_the_smallest_loss(categorical):
    z, y = categorical
    display = figures.TemperatureDisplay.from_predictions(z, y)
    losses = [float(torch.nn.functional.cross_entropy(z.double() / t, y)) for t in display.grid]
    np.testing.assert_allclose(display.nll, losses)
    assert display.nll_after <= min(losses) + 1e-6


def test_a_best_temperature_at_the_end_of_the_grid_may_be_beyond():
    z, y = 100 * torch.eye(4).repeat(10, 1), torch.arange(40) * 7 // 4 % 4
    display = figures.TemperatureDisplay.from_predictions(z, y)
    assert display.best == 8
    assert "at T = 8 or beyond" in display.describe()
    assert trace(display.plot(), "best T = 8 or beyond")


def test_thresholds_against_scikit_learn(labels):
    z, m = labels
    display = figures.ThresholdDisplay.from_predictions(z, m, loss="bce_with_logits")
    at = 30
    decided = torch.sigmoid(z.double()) >= display.thresholds[at]
    precision, recall, f1, _ = precision_recall_fscore_support(m.flatten(), decided.flatten(), average="binary")
    assert (display.precision[at], display.recall[at], display.f1[at]) == pytest.approx((precision, recall, f1))
    assert np.nanmax(display.f1) == display.f1[np.argmin(abs(display.thresholds - display.best))]


def test_thresholds_of_each_label_against_scikit_learn(labels):
    z, m = labels
    display = figures.LabelThresholdDisplay.from_predictions(z, m, loss="bce_with_logits", class_names="abc")
    for k, name in enumerate(display.names):
        decided = torch.sigmoid(z[:, "abc".index(name)].double()) >= display.best[k]
        expected = precision_recall_fscore_support(m[:, "abc".index(name)], decided, average="binary")[:3]
        assert display.at(display.best)[k] == pytest.approx(expected)
        assert expected[2] == pytest.approx(np.nanmax(display.f1[k]))
    assert [row[0] for row in display.plot().layout.meta["table"]["rows"]] == display.names


def test_quantiles_in_each_class_against_numpy(categorical):
    z, y = categorical
    display = figures.ClassDistributionDisplay.from_predictions(z, y, class_names=NAMES)
    losses = torch.nn.functional.cross_entropy(z.double(), y, reduction="none")
    for name, found in zip(display.names, display.quantiles, strict=True):
        of_class = losses[y == NAMES.index(name)].numpy()
        inside = np.quantile(of_class, [0.05, 0.25, 0.5, 0.75, 0.95], method="inverted_cdf")
        np.testing.assert_allclose(found, inside, rtol=2**0.25 - 1)  # bins are a quarter of an octave
    assert list(display.quantiles[:, 2]) == sorted(display.quantiles[:, 2], reverse=True)


def test_a_class_without_a_loss_is_below_and_not_above_the_first_bin():
    y = torch.arange(60) % 3
    z = 200.0 * torch.nn.functional.one_hot(y)
    perfect = figures.ClassDistributionDisplay.from_predictions(z, y)
    assert "at least half of the samples have an ℓ below 9.5e−7 nats" in perfect.describe()
    assert perfect.plot().layout.meta["table"]["rows"][0][1] == "<9.5e−7"
    z[y == 0] = torch.randn(20, 3, generator=torch.Generator().manual_seed(9))
    assert "an ℓ above" in figures.ClassDistributionDisplay.from_predictions(z, y).describe()


def test_where_a_guess_costs_nothing_it_has_no_line(recwarn):
    drawn = figures.for_summary(ls.summarize("cross_entropy", torch.zeros(5, 1), torch.zeros(5).long()))
    assert len(drawn["ClassDistributionDisplay"].layout.shapes) == 0
    assert [one for one in recwarn if one.category is RuntimeWarning] == []


def test_worst_samples(categorical):
    z, y = categorical
    display = figures.WorstDisplay.from_predictions(z, y, class_names=NAMES)
    losses = torch.nn.functional.cross_entropy(z.double(), y, reduction="none")
    order = losses.argsort(descending=True)[: len(display.names)]
    assert display.names == [str(int(i)) for i in order]
    assert display.targets == [NAMES[y[i]] for i in order]
    np.testing.assert_allclose(display.loss, losses[order])
    masked = figures.WorstDisplay.from_predictions(torch.tensor([[0.0, -torch.inf], [1.0, 2.0]]), torch.tensor([1, 1]))
    assert masked.plot().layout.meta["table"]["rows"][0][1] == "∞"
    assert np.isfinite(masked.plot().data[0].x).all()


def test_reliability_before_and_after_temperature():
    generator = torch.Generator().manual_seed(6)
    z = torch.randn(4000, 4, generator=generator)
    y = torch.multinomial(z.softmax(1), 1, generator=generator).squeeze(1)
    display = figures.ReliabilityDisplay.from_predictions(3 * z, y)
    assert display.after.ece < display.ece
    rescaled = figures.ReliabilityDisplay.from_predictions(3 * z / display.after.temperature, y)
    full = rescaled.count > 100
    np.testing.assert_allclose(display.after.accuracy[full], rescaled.accuracy[full], atol=0.06)
    assert trace(display.plot(), "at T =").y.size == 15


def test_residuals(labels):
    t = torch.linspace(1, 5, 40)
    display = figures.ResidualDisplay.from_predictions(t + 0.25, t, loss="mse")
    assert display.counts.sum() == 40
    assert display.bias == pytest.approx(0.25, rel=1e-5)
    assert "above the target" in display.describe()


def test_ticks_of_residuals_are_where_they_say():
    t = torch.linspace(1, 5, 400)
    display = figures.ResidualDisplay.from_predictions(t + torch.linspace(-60, 80, 400), t, loss="mse")
    axis = display.plot().layout.xaxis
    assert "0" in axis.ticktext
    for place, said in zip(axis.tickvals, axis.ticktext, strict=True):
        value = float(said.replace("−", "-").replace(",", ""))
        assert value == pytest.approx(display.edges[int(place + 0.5)], rel=0.01)


def test_an_axis_of_counts_begins_at_zero_where_nothing_is_counted(labels):
    z, y = 9.0 * torch.eye(3).repeat(5, 1), torch.arange(15) % 3
    drawn = figures.for_summary(ls.summarize("cross_entropy", z, y))
    assert drawn["ConfidenceDisplay"].layout.yaxis2.rangemode == "tozero"
    z, m = labels
    assert "LabelThresholdDisplay" not in figures.for_summary(ls.summarize("bce_with_logits", z, 0 * m))


def test_points_at_the_ends_of_a_reliability_diagram_are_whole():
    z, y = torch.tensor([[30.0, 0.0], [0.0, 30.0]]), torch.tensor([1, 0])
    display = figures.ReliabilityDisplay.from_predictions(z, y)
    low, high = display.plot().layout.yaxis.range
    assert low < 0.0 == display.accuracy[-1]
    assert high > 1
    assert "NaN" in figures.ReliabilityDisplay.from_predictions(z * torch.nan, y).describe()


def test_a_summary_without_these_numbers_is_refused(labels):
    with pytest.raises(ls.InputError, match="CategoricalSummary"):
        figures.ConfusionDisplay.from_predictions(*labels, loss="bce_with_logits")
    masked = ls.summarize("cross_entropy", torch.tensor([[0.0, -torch.inf]]), torch.tensor([1]))
    with pytest.raises(ls.InputError, match="temperature"):
        figures.TemperatureDisplay.from_summary(masked)


def test_links_against_scipy():
    sigmoid = figures.sigmoid_link().data[0]
    np.testing.assert_allclose(sigmoid.y, scipy.special.expit(sigmoid.x))
    moving = figures.softmax_link((0.0, 1.0))
    total = sum(np.asarray(t.y) for t in moving.data)
    np.testing.assert_allclose(total, 1)
    x = np.asarray(moving.data[0].x)
    z = np.stack([x, np.zeros_like(x), np.ones_like(x)], 1)
    np.testing.assert_allclose(moving.data[0].y, scipy.special.softmax(z, axis=1)[:, 0])


@pytest.mark.parametrize("y", [0, 1])
def test_the_map_is_the_softmax_of_its_axes(y):
    heat, contour, _ = figures.softmax_map(y).data
    grid = np.stack(np.meshgrid(heat.x, heat.y), -1)
    expected = scipy.special.softmax(grid, axis=-1)[..., y]
    np.testing.assert_allclose(heat.z, expected)
    np.testing.assert_allclose(contour.z, -np.log(expected), atol=1e-12)


def test_losses_over_z_against_closed_forms():
    true, false = figures.loss_of_logit().data
    np.testing.assert_allclose(true.y, np.logaddexp(0, -np.asarray(true.x)))
    np.testing.assert_allclose(false.y, np.logaddexp(0, np.asarray(false.x)))
    focal = trace(figures.focal((2.0,)), "γ = 2")
    x = np.asarray(focal.x)
    np.testing.assert_allclose(focal.y, scipy.special.expit(-x) ** 2 * np.logaddexp(0, -x))
    smooth = trace(figures.smoothing((0.2,)), "ε = 0.2")
    x = np.asarray(smooth.x)
    np.testing.assert_allclose(smooth.y, 0.9 * np.logaddexp(0, -x) + 0.1 * np.logaddexp(0, x))
    linear = figures.log_against_linear().data[0]
    np.testing.assert_allclose(linear.y, -np.log(np.asarray(linear.x)), atol=1e-12)


def test_gradients_against_closed_forms_and_differences():
    figure = figures.gradients()
    x = np.asarray(figure.data[0].x)
    np.testing.assert_allclose(figure.data[0].y, scipy.special.expit(x) - 1, atol=1e-12)
    squared = trace(figure, "squared")
    p = scipy.special.expit(x)
    np.testing.assert_allclose(squared.y, -2 * (1 - p) ** 2 * p, atol=1e-12)
    focal_loss, focal = trace(figures.focal((2.0,)), "γ = 2"), trace(figure, "focal")
    inner = np.interp(np.asarray(focal_loss.x)[60:-60], x, focal.y)
    np.testing.assert_allclose(np.gradient(focal_loss.y, focal_loss.x)[60:-60], inner, atol=2e-3)


def test_the_curves_of_a_true_output_beside_others_against_closed_forms():
    others, gamma, epsilon = (2.5, -0.5), 2.0, 0.3
    figure = figures.gradients(gamma, epsilon, others, reach=12.0)
    x = np.asarray(figure.data[0].x)
    assert (x[0], x[-1]) == (-12, 12)
    z = np.stack([x, *(np.full_like(x, value) for value in others)], 1)
    p, s = scipy.special.softmax(z, axis=1)[:, 0], scipy.special.log_softmax(z, axis=1)
    np.testing.assert_allclose(trace(figures.focal((gamma,), others, 12.0), "γ = 2").y, -((1 - p) ** 2) * s[:, 0])
    q = np.array([1 - epsilon + epsilon / 3, epsilon / 3, epsilon / 3])
    np.testing.assert_allclose(trace(figures.smoothing((epsilon,), others, 12.0), "ε = 0.3").y, -(q * s).sum(1))
    np.testing.assert_allclose(figure.data[0].y, p - 1, atol=1e-12)
    np.testing.assert_allclose(trace(figure, "smoothing").y, p - q[0], atol=1e-12)
    focal = (1 - p) ** 2 * (2 * p * s[:, 0] - (1 - p))
    np.testing.assert_allclose(trace(figure, "focal").y, focal, atol=1e-12)


@pytest.mark.parametrize(("y", "options"), [(2, {}), (0, {"gamma": 2.0}), (1, {"epsilon": 0.3})])
def test_a_map_beside_others_is_the_loss_of_its_axes(y, options):
    heat, contour = figures.softmax_map(y, 6.0, (0.5,), **options).data
    z = np.stack([*np.meshgrid(heat.x, heat.y), np.full((len(heat.y), len(heat.x)), 0.5)], -1)
    p, s = scipy.special.softmax(z, axis=-1), scipy.special.log_softmax(z, axis=-1)
    q = (1 - options.get("epsilon", 0)) * np.eye(3)[y] + options.get("epsilon", 0) / 3
    np.testing.assert_allclose(heat.z, p[..., y])
    np.testing.assert_allclose(contour.z, (q * (1 - p) ** options.get("gamma", 0) * -s).sum(-1), atol=1e-12)


@pytest.mark.parametrize("options", [{"gamma": 2.0}, {"epsilon": 0.2}])
def test_binary_losses_with_options_against_closed_forms(options):
    gamma, epsilon = options.get("gamma", 0.0), options.get("epsilon", 0.0)
    true, false = figures.loss_of_logit(**options).data
    x = np.asarray(true.x)
    p, right, wrong = scipy.special.expit(x), np.logaddexp(0, -x), np.logaddexp(0, x)
    expected = (1 - epsilon / 2) * (1 - p) ** gamma * right + epsilon / 2 * wrong
    np.testing.assert_allclose(true.y, expected, atol=1e-12)
    np.testing.assert_allclose(false.y, expected[::-1], atol=1e-12)
    entropy, squared = figures.squared_error_on_probability(**options).data
    np.testing.assert_allclose(entropy.y, expected, atol=1e-12)
    np.testing.assert_allclose(squared.y, (1 - epsilon / 2 - p) ** 2, atol=1e-12)


@pytest.mark.parametrize(("dtype", "held", "broken"), [(torch.float64, 705, 711), (torch.float16, 10.9, 11.2)])
def test_every_type_of_number_has_its_own_end(dtype, held, broken):
    third, *naive = figures.log_softmax_three_ways(dtype, 1.7 * held).data
    x = np.asarray(third.x, dtype=float)
    np.testing.assert_allclose(third.y, -np.logaddexp(0, x), rtol=2e-3, atol=1e-3)
    for way in naive:
        ends = np.isnan(np.asarray(way.y, dtype=float))
        assert ends[x > broken].all()
        assert not ends[x < held].any()


def test_only_the_third_log_softmax_survives():
    third, second, first = figures.log_softmax_three_ways().data
    x = np.asarray(third.x, dtype=float)
    np.testing.assert_allclose(third.y, -np.logaddexp(0, x), rtol=1e-6, atol=1e-7)
    for naive in (second, first):
        ends = np.isnan(np.asarray(naive.y, dtype=float))
        assert ends[x > 89].all()
        assert not ends[x < 80].any()


def test_steps_of_a_sample():
    z = torch.tensor([1.0, -2.0, 3.0])
    bars = figures.steps_of_sample(z, 1, class_names=["a", "b", "c"]).data
    expected = scipy.special.softmax(z.double().numpy())
    np.testing.assert_allclose(bars[2].y, expected)
    np.testing.assert_allclose(bars[3].y, -np.log(expected))
    assert bars[3].marker.color[1] == PALETTE[1]


def test_steps_of_a_sample_with_options():
    z = torch.tensor([1.0, -2.0, 3.0])
    p = scipy.special.softmax(z.double().numpy())
    focal = figures.steps_of_sample(z, 1, gamma=2.0).data[3].y
    np.testing.assert_allclose(focal, -((1 - p) ** 2) * np.log(p))
    every, part = figures.steps_of_sample(z, 1, epsilon=0.3).data[3:]
    np.testing.assert_allclose(every.y, -np.log(p))
    np.testing.assert_allclose(part.y, -np.array([0.1, 0.8, 0.1]) * np.log(p))
    loss = torch.nn.functional.cross_entropy(z.double(), torch.tensor(1), label_smoothing=0.3)
    assert part.y.sum() == pytest.approx(loss.item())


def test_steps_of_a_sample_of_many_classes_show_the_truth_and_the_largest():
    z = torch.arange(1000.0)
    rows = figures.steps_of_sample(z, 3).layout.meta["table"]["rows"]
    assert [row[0] for row in rows] == ["3", *(str(h) for h in range(989, 1000))]


def test_grids_show_any_target():
    soft = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert "soft" in figures.target_grid(soft).layout.title.text
    multi = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert "multi-hot" in figures.target_grid(multi).layout.title.text
    assert "20 × 30 of 50 × 40" in figures.target_grid(torch.ones(50, 40)).layout.meta["description"]
    with pytest.raises(ls.InputError, match="num_classes"):
        figures.target_grid(torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("scale", "sure", "makes"), [(3.0, "surer than", "less sure"), (0.3, "less sure than", "surer")]
)
def test_the_words_say_to_which_side_a_model_is_off(scale, sure, makes):
    generator = torch.Generator().manual_seed(6)
    z = torch.randn(4000, 4, generator=generator)
    y = torch.multinomial(z.softmax(1), 1, generator=generator).squeeze(1)
    said = figures.ReliabilityDisplay.from_predictions(scale * z, y).describe()
    assert f"on average the model is {sure} it is right" in said
    assert f"makes every decision {makes}," in figures.TemperatureDisplay.from_predictions(scale * z, y).describe()


def test_a_calibrated_model_is_off_by_no_more_than_chance():
    for seed in range(9):  # of such models half have an ECE above the mean of the null band
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(2000, 4, generator=generator)
        y = torch.multinomial(z.softmax(1), 1, generator=generator).squeeze(1)
        display = figures.ReliabilityDisplay.from_predictions(z, y)
        assert ("no more than chance" in display.describe()) == (display.ece <= display.ece_null[2])


def test_what_is_infinite_is_worse_than_a_guess():
    z = torch.tensor([[0.0, -torch.inf], [1.0, 2.0]])
    assert figures.LossDistributionDisplay.from_predictions(z, torch.tensor([1, 1])).worse_than_chance == (0.5, 0.5)


def test_names_never_become_markup_where_the_mouse_is(categorical):
    summary = ls.summarize("cross_entropy", *categorical, labels=NAMES)
    for name, figure in figures.for_summary(summary).items():
        assert "<b>dog" not in json.dumps([t.to_plotly_json() for t in figure.data], default=str), name
