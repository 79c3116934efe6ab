"""The tutorial in Chromium: controls move numbers and figures, values are the formulas', nothing leaves the machine."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("marimo")

import axe_core_python
import marimo as mo
from tests.learn import formulas
from tests.learn.test_chapters import NAMED, STAYS

from losscope.learn.chapters import CHAPTERS
from losscope.learn.controls import controls
from losscope.learn.page import said

pytestmark = pytest.mark.browser

CONTROLS = controls().elements
PATIENCE = 60_000  # a machine may be slow; what is waited for is a condition, never a time

# The drawings of all figures by their headings; marimo keeps each in a shadow root.
FIGURES = """() => Object.fromEntries([...document.querySelectorAll(".ls-figure")].map((figure) => [
    figure.querySelector(".ls-heading").textContent,
    figure.querySelector("marimo-plotly").shadowRoot.querySelector(".main-svg")?.parentElement.innerHTML,
]))"""
NUMBERS = """() => Object.fromEntries([...document.querySelectorAll("[data-number]")].map(
    (number) => [number.dataset.number, number.textContent]))"""
SETTLED = f"""() => {{
    const named = (root) => [...root.querySelectorAll("*")].every((e) => !e.shadowRoot || (named(e.shadowRoot) &&
        [...e.shadowRoot.querySelectorAll("[role=slider], [role=switch]")].every((part) => part.ariaLabel)));
    return window.controlsNamed && named(document) && Object.values(({FIGURES})()).every((svg) => svg);
}}"""
SHOWS = f"(expected) => JSON.stringify(Object.entries(({NUMBERS})())) === expected"
REDRAWN = f"([before, moving]) => moving.every((title) => ({FIGURES})()[title] !== before[title])"


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


class Reader:
    """A page of its own, at a width; whatever would leave the machine is stopped and noted."""

    def __init__(self, browser, served, width):
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.context.set_default_timeout(PATIENCE)
        self.context.route("**/*", lambda route: self.guard(route, served))
        self.page, self.problems = self.context.new_page(), []
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(f"{served}/?chapter=raw")
        self.values = {name: control.value for name, control in CONTROLS.items()}

    def guard(self, route, served):
        if route.request.url.startswith((served, "data:", "blob:")):
            route.continue_()
        else:
            self.problems.append(f"left the machine: {route.request.url}")
            route.abort()

    def go(self, chapter):
        self.page.wait_for_selector("[data-parts]")
        number = list(CHAPTERS).index(chapter) + 1
        self.page.get_by_label("Chapter", exact=True).select_option(label=f"{number} · {CHAPTERS[chapter].TITLE}")
        self.ready(chapter)

    def ready(self, chapter):
        self.page.wait_for_selector(f"[data-parts={chapter}]")
        self.page.wait_for_function(SETTLED)


@pytest.fixture(scope="module")
def readers(browser, served):
    opened = {}
    yield opened
    for one in opened.values():
        one.context.close()


@pytest.fixture
def reader(browser, served, readers):
    """The page of this width where the last test left it: opening one takes seconds. After a failure it is another."""
    used = {}

    def at(width, chapter):
        used[width] = readers.pop(width, None) or Reader(browser, served, width)
        used[width].go(chapter)
        return used[width]

    yield at
    for one in used.values():
        assert one.problems == []
    readers.update(used)


def parts(chapter, values):
    return CHAPTERS[chapter].views(values)


def shows(page, chapter, values):
    """Wait until the page shows the formulas' numbers, and fail with the difference where it never does."""
    right = formulas.CHAPTERS[chapter](values)
    names = [name for view in parts(chapter, values) for name in view.numbers]
    expected = {name: said(right[name]) for name in names}
    try:
        page.wait_for_function(SHOWS, arg=as_json(page, expected), timeout=PATIENCE // 3)
    except Exception:
        assert page.evaluate(NUMBERS) == expected, values
        raise


def as_json(page, expected):
    return page.evaluate("(expected) => JSON.stringify(Object.entries(expected))", expected)


def move(page, name, value):
    """Another value of a control, by the keyboard or by a click; the value that it then has."""
    control = CONTROLS[name]
    label = re.sub("<[^>]+>", "", control._args.label)
    if isinstance(control, mo.ui.slider):
        forwards = value < control.stop
        page.get_by_role("slider", name=label, exact=True).press("ArrowRight" if forwards else "ArrowLeft")
        return round(value + (control.step if forwards else -control.step), 10)
    if isinstance(control, mo.ui.switch):
        page.get_by_role("switch", name=label, exact=True).click()
        return not value
    if isinstance(control, mo.ui.dropdown):
        page.get_by_label(label, exact=True).select_option(label=NAMED[name])
        return NAMED[name]
    page.get_by_label(label, exact=True).click()
    for option in set(value) ^ set(NAMED[name]):
        page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")
    return NAMED[name]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_control_moves_numbers_and_figures_to_what_the_formulas_say(reader, chapter):
    one = reader(1400, chapter)
    shows(one.page, chapter, one.values)
    moved = set()
    while left := [name for view in parts(chapter, one.values) for name in view.controls if name not in moved]:
        name = left[0]
        moved.add(name)
        (view,) = (view for view in parts(chapter, one.values) if name in view.controls)
        before = one.page.evaluate(FIGURES)
        moving = [title for title in before if f">{title}</h2>" in view.body.text and title not in STAYS.get(name, ())]
        one.values[name] = move(one.page, name, one.values[name])
        shows(one.page, chapter, one.values)
        one.page.wait_for_function(REDRAWN, arg=[before, moving])
        if name in ("γ", "ε"):  # together they are refused, and then neither moves anything
            one.page.get_by_role("slider", name=name).press("Home")
            one.values[name] = CONTROLS[name].start


def test_what_is_set_in_one_chapter_is_found_in_the_next_and_the_notation_is_one_click_away(reader):
    one = reader(1400, "nll")
    page = one.page
    for name in ("z₀", "y"):
        one.values[name] = move(page, name, one.values[name])
    for chapter, way in (("nll", "Next"), ("cross-entropy", "Previous"), ("nll", "Previous"), ("stability", "Next")):
        one.ready(chapter)
        shows(page, chapter, one.values)
        if chapter != "stability":
            assert page.get_by_role("slider", name="z₀").get_attribute("aria-valuenow") == f"{one.values['z₀']:g}"
        page.get_by_text("Notation", exact=True).click()
        assert page.get_by_role("cell", name="estimated probability", exact=True).is_visible()
        page.get_by_text("Notation", exact=True).click()
        page.get_by_role("button", name=way).click()


def axe(page):
    """What axe-core finds, from minor on."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate((Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    outside_figures = "{exclude: ['.js-plotly-plot']}, {resultTypes: ['violations']}"  # each is one image, with a name
    found = page.evaluate(f"axe.run({outside_figures})")["violations"]
    return [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found]


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_nothing_is_cut_off_and_axe_finds_nothing(reader, chapter, width):
    page = reader(width, chapter).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.getElementById('App').scrollWidth") <= width
    wide = "[...document.querySelectorAll('.ls-figure, .ls-numbers, .ls-controls, .ls-title, .ls-note, select')]"
    assert max(page.evaluate(f"{wide}.map((part) => part.getBoundingClientRect().right)")) <= width
    whole = "[...document.querySelectorAll('.ls-part .ls-scroll:not(details *), .ls-part pre, .katex-display')]"
    assert page.evaluate(f"{whole}.every((part) => part.scrollWidth <= part.clientWidth)")
    if width == 390:  # the same parts at both widths
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_selector(f"body.{scheme}")
            assert axe(page) == [], scheme
