"""The tutorial's chapters: numbers against torch and the formulas; figures and numbers against every control."""

import importlib
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("marimo")

import marimo as mo
from tests.learn import formulas

from losscope.learn import page as learn_page
from losscope.learn.chapters import CHAPTERS, choosing
from losscope.learn.controls import controls

# Where a chapter is looked at beside its beginning: what stands there, or what it says, depends on these.
PLACES = {
    "batches": [{"dim": "0: over the samples, which is wrong"}],
    "targets": [{"form": "one-hot t"}, {"form": "soft q"}, {"form": "multi-hot m"}],
    "stability": [{"precision": name} for name in ("float64", "float16", "bfloat16")],
    "cross-entropy": [{"γ": 2.0, "w₂": 3.0}, {"ε": 0.2, "T": 0.2, "ignored": ["sample 0"]}],
    "multi-label": [{"γ": 2.0}, {"ε": 0.2}],
    "choosing": [{"target": name} for name in choosing.CHOICES],
}
# To where a control goes that has names for values.
NAMED = {
    "m": ["label 2"],
    "dim": "0: over the samples, which is wrong",
    "form": "soft q",
    "labels": ["dog"],
    "precision": "float64",
    "ignored": ["sample 1"],
    "target": "any subset of H labels",
    "rule": "softmax-over-wrong-dim",
}
FOCAL, SMOOTHING = (
    "Focal loss: samples that are right already count less",
    "Label smoothing: being too sure costs again",
)
# What a control leaves as it is, of which the page says why.
STAYS = {"γ": {SMOOTHING}, "ε": {FOCAL}}


CONTROLS = controls().elements


def values(**changed):
    return {**{name: control.value for name, control in CONTROLS.items()}, **changed}


def views(chapter, **changed):
    return CHAPTERS[chapter].views(values(**changed))


def numbers(chapter, **changed):
    return {name: number for view in views(chapter, **changed) for name, number in view.numbers.items()}


def places(chapter):
    return [{}, *PLACES.get(chapter, [])]


def moved(name, at):
    """Other values of a control."""
    control, now = CONTROLS[name], at[name]
    if isinstance(control, mo.ui.slider):
        return [value for value in (control.start, now + control.step) if value != now]
    return [not now] if isinstance(control, mo.ui.switch) else [NAMED[name]] * (NAMED[name] != now)


def same(value, expected, what=None):
    value, expected = (torch.as_tensor(x).double() for x in (value, expected))
    said = what and (lambda difference: f"{what}: {difference}")
    torch.testing.assert_close(value, expected, equal_nan=True, rtol=1e-5, atol=1e-6, msg=said)


@pytest.fixture
def seen(monkeypatch):
    """The views of a chapter, each with its figures in their order."""

    def of(chapter, **changed):
        figures = {}

        def noted(figure):
            place = f"<figure>{len(figures)}</figure>"
            figures[place] = figure
            return mo.Html(place)

        with monkeypatch.context() as patch:
            patch.setattr(learn_page, "picture", noted)
            shown = views(chapter, **changed)
        return [(view, [figures[place] for place in figures if place in view.body.text]) for view in shown]

    return of


@pytest.fixture
def drawn(seen):
    return lambda chapter, **changed: [figure for _, figures in seen(chapter, **changed) for figure in figures]


# ------------------------------------------------------------------------------------------------ the notebook


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_notebook_runs_from_top_to_bottom_at_every_chapter(name):
    tutorial = importlib.import_module("losscope.learn.tutorial")
    outputs, defined = tutorial.app.run(defs={"name": name})
    assert CHAPTERS[name].TITLE in "".join(output.text for output in outputs if hasattr(output, "text"))
    computed = {symbol: value for view in defined["views"] for symbol, value in view.numbers.items()}
    expected = numbers(name)
    assert computed.keys() == expected.keys()
    for symbol, value in expected.items():
        same(computed[symbol], value)


def test_every_control_stands_in_some_chapter():
    shown = {
        name
        for chapter in CHAPTERS
        for at in places(chapter)
        for view in views(chapter, **at)
        for name in view.controls
    }
    assert shown == CONTROLS.keys()


# ------------------------------------------------------------------------- its numbers, against torch's formulas


@pytest.mark.parametrize(("chapter", "at"), [(chapter, at) for chapter in CHAPTERS for at in places(chapter)])
def test_numbers_and_figures_follow_every_control(chapter, at, seen):
    for part, (view, figures) in enumerate(seen(chapter, **at)):
        for control, value in (
            (name, value) for name in view.controls for value in moved(name, values(**at))[: 1 if at else 2]
        ):
            now = {**at, control: value}
            after, redrawn = seen(chapter, **now)[part]
            right = formulas.CHAPTERS[chapter](values(**now))
            for name, number in after.numbers.items():
                same(number, right[name], (now, name))
            assert any(learn_page.said(after.numbers[n]) != learn_page.said(was) for n, was in view.numbers.items()), (
                now
            )
            for old, new in zip(figures, redrawn, strict=False):
                title = new.layout.title.text
                assert (old == new) == (title in STAYS.get(control, ())), (now, title)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_number_is_left_out_of_the_formulas(chapter):
    for at in places(chapter):
        assert numbers(chapter, **at).keys() == formulas.CHAPTERS[chapter](values(**at)).keys()


def test_two_of_three_log_softmaxes_break_and_their_lines_end_there(drawn):
    for precision, breaks in (("float16", 12), ("float32", 89), ("bfloat16", 89), ("float64", 710)):
        held, broken = (numbers("stability", z=z, precision=precision) for z in (breaks - 2, breaks))
        for way in ("1. ln(softmax z)", "2. z − ln Σ e^z"):
            assert held[way].isfinite().all()
            assert not broken[way].isfinite().any()
        assert broken["3. ls.log_softmax(z)"].isfinite().all()
        x, y = points(drawn("stability", precision=precision)[0], "ln(softmax z)")
        assert breaks - 2 < x[y.isnan()].min() < 1.02 * breaks


def test_options_that_exclude_one_another_are_refused_in_words():
    for chapter in ("cross-entropy", "multi-label"):
        assert "refuses this" in views(chapter, γ=2.0, ε=0.1)[0].body.text
        plain = formulas.CHAPTERS[chapter](values())
        for name, value in numbers(chapter, γ=2.0, ε=0.1).items():
            same(value, plain[name])


def test_every_code_that_the_decision_table_ends_in_is_the_loss_it_says():
    for target, on in itertools.product(choosing.CHOICES, itertools.product((False, True), repeat=3)):
        given = {"target": target, **dict(zip(choosing.EXTRAS, on, strict=True))}
        expected = formulas.choosing(given)
        for name, value in numbers("choosing", **given).items():
            same(value, expected[name])


# --------------------------------------------------------------------------- its points, where the controls are


def points(figure, name):
    trace = next(trace for trace in figure.data if trace.name is not None and trace.name.startswith(name))
    return torch.from_numpy(np.array([trace.x, trace.y], dtype=float))


def between(curve, x):
    """The height of a curve between its points."""
    return np.interp(float(x), *curve.numpy())


def titled(figures, title):
    return next(figure for figure in figures if figure.layout.title.text.startswith(title))


@pytest.mark.parametrize("at", [{}, {"y": 1}, {"z₀": -3.0, "T": 0.2}, {"γ": 2.0, "y": 2}, {"ε": 0.3}])
def test_the_points_of_the_cross_entropy_are_its_numbers(at, drawn):
    v, figures = values(**at), drawn("cross-entropy", **at)
    z, y, (gamma, epsilon) = formulas.outputs(v) / v["T"], torch.tensor(v["y"]), formulas.options(v)
    curves = {(FOCAL, f"γ = {gamma:g}"): (gamma, 0.0), (SMOOTHING, f"ε = {epsilon:g}"): (0.0, epsilon)}
    for (title, curve), options in curves.items():
        here = [z[y], formulas.categorical(z, y, *options)]
        same(points(titled(figures, title), "you, at").squeeze(1), here)
        assert between(points(titled(figures, title), curve), z[y]) == pytest.approx(float(here[1]), abs=1e-3)
    gradient = formulas.slope(lambda z: formulas.categorical(z, y, gamma, epsilon), z)[y]
    slopes = titled(figures, "The gradient")
    same(points(slopes, "your loss").squeeze(1), [z[y], gradient])
    curve = f"focal, γ = {gamma:g}" if gamma else f"smoothing, ε = {epsilon:g}"
    assert between(points(slopes, curve), z[y]) == pytest.approx(float(gradient), abs=1e-3)
    surface = titled(figures, "Two outputs as a map")
    same(points(surface, "z₀/T"), z[:2].unsqueeze(1))
    contour = next(trace for trace in surface.data if trace.type == "contour")
    corner = torch.tensor([contour.x[-1], contour.y[0], z[2]], dtype=torch.float64)
    same(contour.z[0][-1], formulas.categorical(corner, y, gamma, epsilon))


def test_every_point_lies_on_a_curve_and_within_its_axes(drawn):
    for chapter, at in itertools.product(("links", "cross-entropy", "multi-label"), ({}, {"T": 0.2}, {"z₀": -5.0})):
        for figure in drawn(chapter, **at):
            lines = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines"]
            marks = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers"]
            for x, y in ((x, y) for mark in marks for x, y in zip(mark.x, mark.y, strict=True)):
                assert (
                    not figure.layout.yaxis.range or figure.layout.yaxis.range[0] <= y <= figure.layout.yaxis.range[1]
                )
                near = [(line, min(range(len(line.x)), key=lambda k: abs(line.x[k] - x))) for line in lines]
                step = max((line.x[1] - line.x[0] for line in lines), default=0)
                assert not lines or min(abs(line.y[k] - y) for line, k in near) <= step, (
                    chapter,
                    figure.layout.title.text,
                )


def test_the_squared_error_follows_outputs_and_labels(drawn):
    for at in ({}, {"z₀": -3.0, "m": ["label 1", "label 2"]}, {"γ": 2.0}, {"ε": 0.3}):
        v = values(**at)
        z, (gamma, epsilon) = formulas.outputs(v), formulas.options(v)
        m = torch.tensor([float(f"label {h}" in v["m"]) for h in range(3)], dtype=torch.float64)
        figure = titled(drawn("multi-label", **at), "Why not the squared error")
        smoothed = (1 - epsilon) * m + epsilon / 2
        same(points(figure, "your labels: squared error")[1], (smoothed - torch.sigmoid(z)) ** 2)
        same(points(figure, "your labels: cross-entropy")[1], formulas.binary(z, m, gamma, epsilon))


def test_the_points_of_a_ratio_are_the_errors(drawn):
    v = values(ratio=0.5)
    (figure,) = drawn("regression", ratio=0.5)
    expected = formulas.regression(v)
    y = torch.cat([expected["squared log error (nats²)"][:1], expected["squared error"]])
    same(points(figure, "here"), torch.stack([torch.full((3,), 0.5, dtype=torch.float64), y]))


def test_the_parts_of_a_mean_add_up_to_it(drawn):
    at = {"w₀": 2.5, "w₁": 0.5, "ignored": ["sample 2"], "ε": 0.1}
    both = titled(drawn("cross-entropy", **at), "What each sample gives").data
    expected = formulas.cross_entropy(values(**at))
    same(sum(both[0].y), expected["L_mean (nats)"])
    same(sum(both[1].y), expected["L_mean where all count alike"])
    assert both[0].y[2] == 0


def test_where_nothing_counts_the_mean_is_no_number():
    shown = numbers("cross-entropy", ignored=[f"sample {i}" for i in range(4)])
    assert shown["L_mean (nats)"].isnan()
    assert F.cross_entropy(torch.zeros(1, 3), torch.tensor([-100])).isnan()
