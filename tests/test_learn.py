"""The tutorial: the notebook top to bottom, its numbers against torch, its mistakes against the linter, its page."""

import importlib
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

import losscope as ls

pytest.importorskip("marimo")

from losscope.cli import main
from losscope.learn import page as learn_page
from losscope.learn.chapters import CHAPTERS, choosing
from losscope.learn.mistakes import MISTAKES
from losscope.learn.page import said
from losscope.learn.serving import listen
from losscope.linting import RULES

Z = torch.tensor([1.0, 2.5, -0.5], dtype=torch.float64)


def numbers(chapter, **changed):
    values = {**CHAPTERS[chapter].controls().value, **changed}
    return CHAPTERS[chapter].view(values).numbers


def same(value, expected):
    torch.testing.assert_close(torch.as_tensor(value).double(), torch.as_tensor(expected).double(), equal_nan=True)


# ------------------------------------------------------------------------------------------------ the notebook


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_notebook_runs_from_top_to_bottom_at_every_chapter(name):
    tutorial = importlib.import_module("losscope.learn.tutorial")
    outputs, defined = tutorial.app.run(defs={"name": name})
    assert CHAPTERS[name].TITLE in "".join(output.text for output in outputs if hasattr(output, "text"))
    expected = numbers(name)
    assert defined["view"].numbers.keys() == expected.keys()
    for symbol, value in expected.items():
        same(defined["view"].numbers[symbol], value)


# ------------------------------------------------------------------------- its numbers, against torch's formulas


def test_links_at_a_temperature():
    shown = numbers("links", **{"z₀": 1.0, "z₁": 2.5, "z₂": -0.5, "temperature T": 2.0})
    same(shown["softmax(z/T)"], torch.softmax(Z / 2, 0))
    same(shown["σ(z₀/T)"], torch.sigmoid(Z[0] / 2))
    same(shown["entropy (nats)"], torch.distributions.Categorical(logits=Z / 2).entropy())


def test_a_batch_over_the_wrong_dimension_sums_to_one_over_the_samples():
    same(numbers("batches")["Σ_h ŷ of each sample"], torch.ones(6))
    wrong = numbers("batches", dim="0: over the samples, which is wrong")
    same(wrong["Σ_i ŷ of each class"], torch.ones(2))
    assert not torch.allclose(wrong["Σ_h ŷ of each sample"], torch.ones(6))


def test_the_loss_of_every_form_of_target():
    from losscope.learn.chapters.targets import LOGITS

    z, y = torch.tensor(LOGITS, dtype=torch.float64), torch.tensor([1, 2, 3])
    for form in ("index y", "one-hot t"):
        same(numbers("targets", form=form, **{"y₀": 1})["L_mean (nats)"], F.cross_entropy(z, y))
    soft = numbers("targets", form="soft q", **{"y₀": 1, "ε": 0.3})["L_mean (nats)"]
    same(soft, F.cross_entropy(z, y, label_smoothing=0.3))
    m = torch.tensor([[0.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=torch.float64)
    many = numbers("targets", form="multi-hot m", labels=["dog"])["L_mean (nats)"]
    same(many, F.binary_cross_entropy_with_logits(z, m))


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("float16", torch.float16)])
def test_two_of_three_log_softmaxes_break(precision, dtype):
    shown = numbers("stability", z=100, precision=precision)
    same(shown["3. ls.log_softmax(z)"], F.log_softmax(torch.tensor([0.0, 100.0], dtype=dtype), 0))
    assert not shown["1. ln(softmax z)"].isfinite().any()
    assert not shown["2. z − ln Σ e^z"].isfinite().any()


def test_nll_and_cross_entropy_with_their_options():
    shown = numbers("nll", y=2)
    same(shown["ℓ = −s_y"], F.cross_entropy(Z, torch.tensor(2)))
    same(shown["−Σ_h t_h s_h"], shown["ℓ = −s_y"])
    smoothed = numbers("cross-entropy", y=2, T=2.0, ε=0.2)["ℓ (nats)"]
    same(smoothed, F.cross_entropy(Z / 2, torch.tensor(2), label_smoothing=0.2))
    focal = numbers("cross-entropy", y=2, γ=2.0)
    p = torch.softmax(Z, 0)[2]
    same(focal["ℓ (nats)"], -((1 - p) ** 2) * p.log())
    plain = numbers("cross-entropy", y=1)
    same(plain["∂ℓ/∂(z/T), by autograd"], plain["ŷ − t"])


def test_options_that_exclude_one_another_are_refused_in_words():
    view = CHAPTERS["cross-entropy"].view({**CHAPTERS["cross-entropy"].controls().value, "γ": 2.0, "ε": 0.1})
    assert "refuses this" in view.body.text


def drawn(monkeypatch, chapter, **changed):
    """The data of each figure of a chapter, by its title."""
    figures = {}
    picture = learn_page.picture

    def noted(figure):
        figures[figure.layout.title.text] = {trace.name: (trace.x, trace.y) for trace in figure.data}
        return picture(figure)

    with monkeypatch.context() as patch:
        patch.setattr(learn_page, "picture", noted)
        numbers(chapter, **changed)
    return figures


def test_the_slopes_follow_every_slider(monkeypatch):
    title = "The gradient: how hard z is pushed"
    for changed in ({}, {"z₀": -1.0}, {"y": 2}, {"T": 2.0}):
        (slope,) = drawn(monkeypatch, "cross-entropy", **changed)[title]["your true class: ŷ − 1"][1]
        z = torch.tensor([changed.get("z₀", 1.0), 2.5, -0.5], dtype=torch.float64) / changed.get("T", 1.0)
        same(slope, torch.softmax(z, 0)[changed.get("y", 0)] - 1)
    assert "focal, γ = 3" in drawn(monkeypatch, "cross-entropy", γ=3.0)[title]
    assert "smoothing, ε = 0.2" in drawn(monkeypatch, "cross-entropy", ε=0.2)[title]


def test_the_squared_error_follows_outputs_and_labels(monkeypatch):
    for z0, true in ((1.0, ["label 0"]), (-3.0, ["label 1", "label 2"])):
        traces = drawn(monkeypatch, "multi-label", m=true, **{"z₀": z0})["Why not the squared error of a probability"]
        z = torch.tensor([z0, 2.5, -0.5], dtype=torch.float64)
        m = torch.tensor([float(f"label {h}" in true) for h in range(3)], dtype=torch.float64)
        same(traces["your labels: squared error"][1], (m - torch.sigmoid(z)) ** 2)
        expected = F.binary_cross_entropy_with_logits(z, m, reduction="none")
        same(traces["your labels: cross-entropy"][1], expected)


def test_multi_label_and_regression():
    m = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    shown = numbers("multi-label", m=["label 1", "label 2"])
    same(shown["L_mean (nats)"], F.binary_cross_entropy_with_logits(Z, m))
    same(shown["∂L/∂z"], (torch.sigmoid(Z) - m) / 3)
    values = numbers("regression", **{"log₁₀ y₀": 0, "log₁₀ y₁": 2, "ratio": 2.0})
    same(values["squared error"], [1.0, 10_000.0])
    same(values["squared log error (nats²)"], [torch.tensor(2.0).double().log() ** 2] * 2)


@pytest.mark.parametrize("target", choosing.CHOICES)
def test_every_code_that_the_decision_table_ends_in_runs(target):
    for on in ([], [choosing.RARE], [choosing.NOISY], list(choosing.EXTRAS)):
        shown = choosing.view({"target": target, **{name: name in on for name in choosing.EXTRAS}}).numbers
        assert torch.isfinite(shown["loss(z, …)"])


# --------------------------------------------------------------------------------------------- what goes wrong


def test_there_is_a_mistake_for_every_rule():
    assert MISTAKES.keys() == RULES.keys()


@pytest.mark.parametrize("rule", MISTAKES)
def test_a_planted_mistake_is_found_and_the_right_way_is_clean(rule):
    right, wrong = MISTAKES[rule]()
    assert right.lint().rules == ()
    assert rule in wrong.lint().rules
    assert right.measure().error is None
    view = CHAPTERS["wrong"].view({"rule": rule, "wrong": True})
    assert f"<dd>{rule}</dd>" in view.body.text


def test_two_softmaxes_leave_a_smaller_gradient():
    right = numbers("wrong", rule="softmax-before-cross-entropy", wrong=False)
    wrong = numbers("wrong", rule="softmax-before-cross-entropy", wrong=True)
    assert wrong["mean ‖∂L/∂z_i‖"] < right["mean ‖∂L/∂z_i‖"] / 2


# ------------------------------------------------------------------------------------------------- the command


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["losscope", "learn", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_without_marimo_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command(monkeypatch) == 2
    assert 'pip install "losscope[learn]"' in capsys.readouterr().err


def test_a_port_that_is_taken(monkeypatch, capsys):
    with listen(0) as taken:
        port = taken.getsockname()[1]
        assert command(monkeypatch, "--no-browser", "--port", str(port)) == 2
    assert "a free port" in capsys.readouterr().err


@pytest.fixture(scope="module")
def served():
    run = "from losscope.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", run, "learn", "--headless"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
    process.send_signal(signal.SIGINT)
    _, said_last = process.communicate(timeout=20)
    assert process.returncode in (0, 130), said_last
    assert said_last == ""


# ---------------------------------------------------------------------------------------------------- the page


PLOTLY_GONE = "_redrawFromAutoMarginCount"


def is_ours(message):
    """An error, but not that of Plotly in marimo when its figure is taken off the page in the middle of a drawing."""
    return message.type == "error" and PLOTLY_GONE not in message.text


@pytest.fixture
def tutorial(browser, served):
    """Opens a chapter at a width; whatever would leave the machine is stopped and noted."""
    contexts = []

    def opened(chapter, width):
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        context.route("**/*", lambda route: guarded(route, served, page.problems))
        page.on("console", lambda message: page.problems.append(message.text) if is_ours(message) else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(f"{served}/?chapter={chapter}")
        ready(page, chapter)
        return page

    yield opened
    for context in contexts:
        context.close()


def guarded(route, served, problems):
    if route.request.url.startswith((served, "data:", "blob:")):
        route.continue_()
    else:
        problems.append(f"left the machine: {route.request.url}")
        route.abort()


def ready(page, chapter):
    page.wait_for_selector(f"[data-chapter={chapter}]", timeout=30_000)
    page.wait_for_selector(".ls-numbers", timeout=30_000)
    page.wait_for_function("window.controlsNamed !== undefined", timeout=30_000)
    if chapter != "choosing":
        page.locator(".js-plotly-plot .main-svg").first.wait_for(timeout=30_000)


def shown(page, name):
    return page.locator(f'[data-number="{name}"]').inner_text()


def serious(page):
    """What axe-core still calls serious or critical after a while: a control has its name a second after it appears."""
    for _ in range(4):
        found = seriously_now(page)
        if not found:
            return []
        page.wait_for_timeout(1500)
    return found


def seriously_now(page):
    from pathlib import Path

    import axe_core_python

    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate((Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    outside_figures = "{exclude: ['.js-plotly-plot']}, {resultTypes: ['violations']}"  # each is one image, with a name
    found = page.evaluate(f"axe.run({outside_figures})")["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.browser
def test_a_slider_moves_numbers_and_figure_and_the_notation_is_one_click_away(tutorial):
    page = tutorial("nll", 1400)
    z, y = Z.clone(), torch.tensor(0)
    assert shown(page, "ℓ = −s_y") == said(ls.cross_entropy(z, y))
    bars = page.locator(".js-plotly-plot .barlayer").first
    before = bars.inner_html()
    thumb = page.get_by_role("slider", name="z₀")
    thumb.focus()
    for _ in range(10):
        thumb.press("ArrowRight")
    z[0] += 1.0
    expected = said(ls.cross_entropy(z, y))
    page.locator('[data-number="ℓ = −s_y"]', has_text=re.compile(f"^{re.escape(expected)}$")).wait_for(timeout=20_000)
    page.wait_for_timeout(500)
    assert bars.inner_html() != before
    page.get_by_text("Notation", exact=True).click()
    assert page.get_by_role("cell", name="estimated probability", exact=True).is_visible()
    page.get_by_text("Notation", exact=True).click()
    page.get_by_role("button", name="Next").click()
    ready(page, "cross-entropy")
    assert page.problems == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_cut_off_and_axe_finds_nothing_serious(tutorial, width):
    page = tutorial("raw", width)
    choose = page.get_by_label("Chapter", exact=True)
    for number, (name, chapter) in enumerate(CHAPTERS.items(), 1):
        if number > 1:
            choose.select_option(label=f"{number} · {chapter.TITLE}")
            ready(page, name)
        if width == 390:  # the same parts at both widths
            assert serious(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate("document.getElementById('App').scrollWidth") <= width, name
        wide = "[...document.querySelectorAll('.ls-figure, .ls-numbers, .ls-controls, .ls-title, .ls-note, select')]"
        edges = f"{wide}.map(e => e.getBoundingClientRect().right)"
        assert max(page.evaluate(edges)) <= width, name
    assert page.problems == []
