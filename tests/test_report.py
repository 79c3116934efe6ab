"""The page as a reader meets it, in Debian's Chromium, and its numbers against the library's."""

import base64
import json
import re
import tempfile
import zlib

import numpy as np
import pytest
import torch
from axe_core_python.sync_playwright import Axe

import losscope as ls
from losscope.io import open_source
from losscope.reporting import InMemory, build, data
from losscope.reporting.page import png, worst_name
from losscope.reporting.tiles import tiles

NASTY = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</script><b>owl", "{{ 7 * 7 }} & $x$")
WIDTHS = (390, 1400)


def samples(classes: int = 4, count: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(count, classes, generator=generator)
    drawn = torch.randint(classes, (count,), generator=generator)
    return z, torch.where(torch.rand(count, generator=generator) < 0.7, z.argmax(1), drawn)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report with names that want to be markup."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    return path, ls.report("cross_entropy", *samples(), path, class_names=NASTY, title="<i>mine</i>")


@pytest.fixture
def opened(page):
    """Opens a page, draws all of it, and gathers what went wrong."""
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("dialog", lambda dialog: (page.problems.append(dialog.message), dialog.dismiss()))

    def open_page(path, width: int = 1400, scheme: str = "light"):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.goto(path.as_uri())
        page.evaluate("['beforeprint', 'afterprint'].forEach((name) => window.dispatchEvent(new Event(name)))")
        page.locator(".plot:empty").first.wait_for(state="detached")
        return page

    return open_page


def test_the_numbers_beside_the_page(made):
    path, report = made
    z, y = samples()
    numbers = json.loads(path.with_suffix(".json").read_text())
    assert numbers == report.to_dict()
    assert numbers["summary"]["nll"] == pytest.approx(float(torch.nn.functional.cross_entropy(z.double(), y)))
    steps = {step["symbol"]: step["value"] for step in numbers["samples"][0]["steps"]}
    assert steps["ŷ"] == pytest.approx(torch.softmax(z[0], 0).tolist(), rel=1e-5)
    worst = ls.cross_entropy(z, y, reduction="none").argmax()
    assert numbers["samples"][1]["index"] == int(worst)


def test_names_are_text_and_nothing_else(made):
    text = made[0].read_text()
    body = text[: text.index('<script type="text/plain" id="plotly">')]  # without Plotly's own source
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "<i>mine" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
    assert "{{ 7 * 7 }} &amp; $x$" in body


@pytest.mark.browser
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_with_nothing_wrong_and_nothing_cut_off(opened, made, width, scheme):
    page = opened(made[0], width, scheme)
    assert page.problems == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.requests_made)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Whatever is wider than the window can be scrolled in its own box, by keyboard too.
    outside = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(e =>
            e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('[tabindex="0"], .formulas, svg')
        ).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


@pytest.mark.browser
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["cross_entropy", "bce_with_logits"])
def test_in_a_figure_nothing_is_cut_off_and_no_legend_lies_over_the_plot(opened, tmp_path, name, width):
    z, y = samples()
    targets = {"cross_entropy": y, "bce_with_logits": (z > 0.5).float()}
    ls.report(name, z, targets[name], tmp_path / "report.html", class_names=NASTY)
    page = opened(tmp_path / "report.html", width)  # printed on the way, so drawn at three widths
    cut, over = page.evaluate(
        """() => {
            const cut = [], over = [], box = (e) => e.getBoundingClientRect();
            for (const plot of document.querySelectorAll(".plot")) {
                const [frame, legend] = [box(plot), plot.querySelector(".legend")];
                for (const text of plot.querySelectorAll("text"))
                    if (box(text).left < frame.left || box(text).right > frame.right) cut.push(text.textContent);
                if (legend && box(legend).bottom > box(plot.querySelector(".gridlayer")).top) over.push(plot.ariaLabel);
            }
            return [cut, over];
        }"""
    )
    assert cut == []
    assert over == []


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("cross_entropy", 390, "dark"), ("cross_entropy", 1400, "light"), ("bce_with_logits", 390, "light")],
)
def test_axe_finds_nothing_that_shuts_anybody_out(opened, tmp_path, name, width, scheme):
    z, y = samples()
    targets = {"cross_entropy": y, "bce_with_logits": (z > 0.5).float()}
    ls.report(name, z, targets[name], tmp_path / "report.html", class_names=NASTY)
    page = opened(tmp_path / "report.html", width, scheme)
    found = Axe().run(page)["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []


@pytest.mark.browser
def test_text_can_be_read_in_light_and_dark(opened, made):
    for scheme in ("light", "dark"):
        page = opened(made[0], 1400, scheme)
        for selector in ("body", ".lede", ".quiet", ".xtick text", ".legendtext", ".given dt", ".steps .true"):
            assert contrast(page, selector) >= 4.5, (scheme, selector)


def contrast(page, selector: str) -> float:
    """WCAG's contrast of a text with the page."""
    of = "e => { const s = getComputedStyle(e); return e.closest('svg') ? s.fill : s.color }"
    colors = page.eval_on_selector(selector, of), page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright, dark = sorted((luminance(color) for color in colors), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.browser
def test_values_on_the_page_are_the_library_s(opened, made):
    page = opened(made[0])
    z, y = samples()
    names, values = (page.locator(f".tiles {part}").all_inner_texts() for part in ("dt", "strong"))
    tiles = dict(zip(names, values, strict=True))
    assert float(tiles["mean ℓ"]) == pytest.approx(float(ls.cross_entropy(z, y)), rel=5e-3)
    assert tiles["accuracy"] == f"{float((z.argmax(1) == y).double().mean()):.1%}"
    losses = ls.cross_entropy(z, y, reduction="none").sort(descending=True)
    assert page.locator("#worst tbody th").all_inner_texts() == [str(int(i)) for i in losses.indices[:20]]
    shown = page.evaluate("[...document.querySelector('#ConfusionDisplay .plot').data[0].text.flat()].map(Number)")
    matrix = made[1].summary.confusion
    assert shown == matrix.flatten().tolist()


@pytest.mark.browser
@pytest.mark.parametrize("loss", [ls.CrossEntropyLoss(focal_gamma=2.0), ls.BCEWithLogitsLoss()])
def test_formulas_of_the_steps_can_be_read(opened, tmp_path, loss):
    z, y = samples()
    targets = y if isinstance(loss, ls.CrossEntropyLoss) else (z > 0).float()
    ls.report(loss, z, targets, tmp_path / "report.html")
    page = opened(tmp_path / "report.html", 390)
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    sizes = page.evaluate(f"[...document.querySelectorAll('.steps .formula math *')].map({size})")
    assert min(sizes) >= 9
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
def test_every_figure_has_words_and_numbers(opened, made):
    page = opened(made[0])
    for figure in page.locator("figure").all():
        plot = figure.locator(".plot")
        assert plot.get_attribute("role") == "img"
        assert plot.get_attribute("aria-label")
        words = page.locator(f"#{plot.get_attribute('aria-describedby')}").inner_text()
        assert len(words) > 40
        assert figure.locator("table tbody tr").count() > 0


@pytest.mark.browser
def test_contents_lead_everywhere_and_the_keyboard_is_enough(opened, made):
    page = opened(made[0])
    for link in page.locator(".contents a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    details = page.locator("details").first
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.get_attribute("open") is not None
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(set(ids)) == len(ids)


# Listens before the page's own scripts: what stood at its load, what moved, and what printing found.
LISTEN = """
addEventListener("load", () => {
  const plot = document.querySelector(".plot");
  window.atLoad = [typeof window.Plotly, document.querySelectorAll(".plot .main-svg").length];
  window.placeholder = getComputedStyle(plot, "::before").content;
});
window.moved = 0;
new PerformanceObserver((shifts) => shifts.getEntries().forEach((shift) => (window.moved += shift.value)))
  .observe({ type: "layout-shift", buffered: true });
addEventListener("DOMContentLoaded", () => addEventListener("beforeprint", () => {
  window.printed = [...document.querySelectorAll(".plot .main-svg:first-child")].map((e) => e.clientWidth);
}));
"""


@pytest.mark.browser
def test_the_page_stands_before_plotly_runs_and_figures_come_as_they_are_needed(page, made):
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.add_init_script(LISTEN)
    page.set_viewport_size({"width": 1400, "height": 300})
    page.goto(made[0].as_uri())
    assert page.evaluate("window.atLoad") == ["undefined", 0]
    assert page.evaluate("window.placeholder") == '"Drawing…"'
    plots = page.locator(".plot")
    boxes = page.evaluate("[...document.querySelectorAll('.plot')].map(e => e.offsetTop)")
    plots.first.scroll_into_view_if_needed()
    plots.first.locator(".main-svg").first.wait_for()
    assert plots.last.locator(".main-svg").count() == 0
    for plot in plots.all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
    assert page.evaluate("[...document.querySelectorAll('.plot')].map(e => e.offsetTop)") == boxes
    assert page.evaluate("window.moved") == 0
    assert problems == []


@pytest.mark.browser
def test_printing_draws_every_figure_to_fit_the_paper(page, made):
    page.add_init_script(LISTEN)
    page.set_viewport_size({"width": 1400, "height": 300})
    page.goto(made[0].as_uri())
    page.pdf(format="A4")  # at once: nothing is drawn yet
    printed = page.evaluate("window.printed")
    assert len(printed) == page.locator(".plot").count() > 0
    assert 600 < max(printed) <= 700
    page.locator(".plot").first.scroll_into_view_if_needed()
    wide = (
        "[...document.querySelectorAll('.plot')].every(e => e.querySelector('.main-svg').clientWidth == e.clientWidth)"
    )
    assert page.evaluate(wide)  # back in the window


@pytest.mark.browser
def test_on_paper_no_table_is_cut_off(opened, tmp_path):
    z, y = samples(classes=30)
    names = [f"class number {h} of many" for h in range(30)]
    ls.report("cross_entropy", z, y, tmp_path / "report.html", class_names=names)
    page = opened(tmp_path / "report.html", 688)  # A4 without its margins
    page.emulate_media(media="print")
    wide = "[...document.querySelectorAll('table')].map(e => e.getBoundingClientRect().right).filter(x => x > 688)"
    assert page.evaluate(wide) == []


@pytest.mark.browser
def test_without_scripts_every_figure_still_has_its_words_and_numbers(browser, made):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(made[0].as_uri())
    assert page.locator("noscript p").is_visible()
    for figure in page.locator("figure").all():
        assert not figure.locator(".plot").is_visible()
        assert figure.locator("p").first.is_visible()
        figure.locator("summary").click()
        assert figure.locator("tbody tr").first.is_visible()
    context.close()


@pytest.mark.browser
def test_the_policy_lets_the_page_s_own_two_scripts_run_and_no_other(page, made):
    page.goto(made[0].as_uri())
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert re.fullmatch(r"'sha256-\S+' 'sha256-\S+'", re.search(r"script-src ([^;]*)", policy)[1])
    added = "const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s)"
    page.evaluate(f"() => {{ {added} }}")
    assert page.evaluate("window.ran") is None


@pytest.mark.browser
def test_five_thousand_classes_stay_readable(opened, tmp_path):
    z, y = samples(classes=5000, count=400)
    names = [f"a class with a long name, number {h}, that goes on and on" for h in range(5000)]
    path = tmp_path / "report.html"
    ls.report("cross_entropy", z, y, path, class_names=names)
    page = opened(path, 390)
    assert page.problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.documentElement.scrollHeight") < 20_000
    assert "of 5,000 classes" in page.locator("#ClassLossDisplay-d").inner_text()
    assert path.stat().st_size < 6_000_000


@pytest.mark.browser
@pytest.mark.parametrize("name", ["bce_with_logits", "bce", "mse", "msle", "nll"])
def test_a_page_for_every_loss(opened, tmp_path, name):
    z, y = samples()
    inputs = {
        "bce_with_logits": (z, (z > 0.5).float()),
        "bce": (z.sigmoid(), (z > 0.5).float()),
        "mse": (z, z + 0.1),
        "msle": (z, z.exp()),
        "nll": (z.log_softmax(1), y),
    }
    path = tmp_path / "report.html"
    report = ls.report(name, *inputs[name], path)
    page = opened(path, 390)
    assert page.problems == []
    assert page.locator("figure").count() == len(report.figures) >= 2
    assert page.locator("math").count() > 10
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_one_file_that_loads_nothing(made):
    path, _ = made
    assert path.stat().st_size < 6_000_000
    head = path.read_text()[:3000]
    assert "default-src 'none'" in head
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?:", path.read_text())


def test_what_the_linter_finds_is_a_section_and_the_first_thing_to_do(tmp_path):
    z, y = samples()
    report = ls.report("cross_entropy", z.softmax(1), y, tmp_path / "report.html")
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["findings"][0]["rule"] == "softmax-before-cross-entropy"
    assert numbers["findings"][0]["evidence"]
    assert report.advice[0].code == numbers["findings"][0]["remedy"]
    text = (tmp_path / "report.html").read_text()
    section = text[text.index('<section id="findings"') : text.index('<section id="given"')]
    assert "softmax-before-cross-entropy" in section
    assert "found nothing" in build(ls.CrossEntropyLoss(), InMemory(z, y)).html()
    held_out = ls.lint(z, y, loss="cross_entropy", select=["class-imbalance"])
    assert build(ls.CrossEntropyLoss(), InMemory(z.softmax(1), y), findings=held_out).findings == []


def test_the_linter_reads_many_rows_in_part_and_says_so(monkeypatch):
    z, y = samples(count=1000)
    monkeypatch.setattr(data, "OUTPUTS", 640)
    made = build(ls.CrossEntropyLoss(), InMemory(z.softmax(1), y))
    assert dict(made.given)["read by the linter"] == "160 of 1,000 rows, in 16 blocks"
    assert made.findings[0]["rule"] == "softmax-before-cross-entropy"


@pytest.mark.parametrize("out_features", [(), (5,)])
def test_the_last_linear_layer_with_its_loss(tmp_path, out_features):
    torch.manual_seed(0)
    loss = ls.LinearCrossEntropyLoss(7, 4, out_features=out_features, bias=True, label_smoothing=0.1)
    x, y = torch.randn(60, 7), torch.randint(4, (60, *out_features))
    report = ls.report(loss, x, y, tmp_path / "report.html", class_names=NASTY)
    z = loss.logits(x).detach()
    assert report.summary.nll == pytest.approx(float(torch.nn.functional.cross_entropy(z.double(), y)))
    first = report.samples[0].to_dict()
    steps = {step["symbol"]: step["value"] for step in first["steps"]}
    assert steps["z"] == pytest.approx(z[0].flatten(1)[:, 0].tolist() if out_features else z[0].tolist(), rel=1e-5)
    assert first["true"] == [int(y[0].flatten()[0])]
    assert "W x + b" in dict(report.given)["outputs are taken as"]


FURTHER = {
    "cross_entropy": ((6, 4, 5, 3), (6, 5, 3)),
    "nll": ((6, 4, 5), (6, 5)),
    "bce_with_logits": ((6, 4, 5), (6, 4, 5)),
    "bce": ((6, 4, 5), (6, 4, 5)),
    "mse": ((6, 4, 5, 3), (6, 4, 5, 3)),
    "msle": ((6, 4, 5), (6, 4, 5)),
}


@pytest.mark.parametrize("name", FURTHER)
def test_further_dimensions_for_every_loss(tmp_path, name):
    torch.manual_seed(0)
    outputs, targets = FURTHER[name]
    z = torch.randn(outputs)
    z = {"nll": z.log_softmax(1), "bce": z.sigmoid()}.get(name, z)
    y = torch.rand(targets) + 0.1 if name.startswith("ms") else torch.randint(2, targets)
    y = y.float() if name.startswith("bce") else y
    report = ls.report(name, z, y, tmp_path / "report.html")
    assert report.summary.num_samples == y.numel()
    assert len(report.samples[0].outputs) == 4
    assert report.samples[0].rows[0].cells == pytest.approx(z[0].flatten(1)[:, 0].tolist())
    assert report.figures


@pytest.mark.parametrize("name", ["bce_with_logits", "mse"])
def test_one_output_without_a_dimension_of_its_own(tmp_path, name):
    z = torch.randn(40, generator=torch.Generator().manual_seed(5))
    report = ls.report(name, z, (z > 0.2).float(), tmp_path / "report.html")
    assert report.samples[0].rows[0].cells == pytest.approx([float(z[0])])


def page_text(report) -> str:
    """What a reader sees without opening anything: no style, no script."""
    return re.sub(r"<(script|style).*?</\1>", "", report.html(), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("name", "unit", "residual"), [("mse", "squared unit", "z − y"), ("msle", "nats²", "z − ln y")]
)
def test_the_page_of_a_squared_error_has_its_unit_and_its_symbols(name, unit, residual):
    z, _ = samples()
    report = build(ls.as_loss(name), InMemory(z, z.exp() + 0.1), findings=[])
    text = page_text(report)
    assert f"to a loss in {unit}" in text
    assert "Everything is in nats" not in text
    assert f"mean of {residual};" in text
    assert f"r = {residual} (" in report.figures["ResidualDisplay"].layout.xaxis.title.text


def test_what_is_no_number_or_nothing_is_written_so():
    z, y = samples()
    for loss, target in ((ls.CrossEntropyLoss(), y), (ls.BCEWithLogitsLoss(), (z > 0).float()), (ls.MSELoss(), z)):
        text = page_text(build(loss, InMemory(torch.full_like(z, torch.nan), target), findings=[]))
        assert not re.search(r"\bnan\b", text)
    perfect = page_text(build(ls.MSELoss(), InMemory(z, z), findings=[]))
    assert "<strong>0</strong>" in perfect
    assert "−0<" not in perfect


def test_what_is_not_all_right_is_not_a_hundred_percent():
    y = torch.arange(5000) % 3
    z = 9.0 * torch.nn.functional.one_hot(y)
    assert "100.0% are decided right" in page_text(build(ls.CrossEntropyLoss(), InMemory(z, y)))
    y[7] = 2
    nearly = page_text(build(ls.CrossEntropyLoss(), InMemory(z, y)))
    assert "&gt;99.9% are decided right" in nearly
    assert "100.0%" not in nearly


def test_one_is_no_many():
    one = page_text(build(ls.CrossEntropyLoss(), InMemory(torch.zeros(1, 3), torch.zeros(1).long())))
    assert "Of 1 sample in 3 classes" in one
    assert "1 of 1 sample," in one
    alone = page_text(build(ls.MSELoss(), InMemory(torch.zeros(1), torch.ones(1))))
    assert "1 value is 1 off" in alone
    for text in (one, alone):
        assert not re.search(r"\b1 (samples|values|elements|labels)", text)


def test_only_a_label_or_a_class_is_true():
    z = torch.tensor([2.0, -1.0, 3.0])
    m = torch.tensor([1.0, 0.0, 0.0])
    alone = build(ls.BCEWithLogitsLoss(), InMemory(z, m), rows=[0, 1, 2]).samples
    assert [sample.true for sample in alone] == [[0], [], []]
    assert [sample.decided for sample in alone] == [[0], [], [0]]
    for shape in ((3,), (3, 1)):
        values = build(ls.MSELoss(), InMemory(z.view(shape), m.view(shape)), rows=[0, 1, 2]).samples
        assert [sample.true for sample in values] == [[], [], []]


def test_a_file_gives_the_report_of_its_tensors(tmp_path):
    z, y = samples()
    file = tmp_path / "mine.npz"
    np.savez(file, scores=z.numpy(), truth=y.numpy(), other=z.numpy())
    made = ls.report("cross_entropy", file, path=tmp_path / "a.html", outputs="scores", targets="truth")
    of_tensors = ls.report("cross_entropy", z, y, tmp_path / "b.html", title="mine.npz")
    of_source = ls.report("cross_entropy", open_source(file, "scores", "truth"), path=tmp_path / "c.html")
    assert made.title == "mine.npz"
    told = [
        {k: v for k, v in r.to_dict().items() if k not in ("given", "title")} for r in (made, of_tensors, of_source)
    ]
    assert told[0] == told[1] == told[2]
    with pytest.raises(ls.InputError, match="no outputs beside tensors"):
        ls.report("cross_entropy", z, y, tmp_path / "d.html", outputs="scores")
    with pytest.raises(ls.InputError, match="y: targets beside the outputs"):
        ls.report("cross_entropy", z, path=tmp_path / "d.html")
    assert not (tmp_path / "d.html").exists()


def test_everything_ignored_still_gives_a_page(tmp_path):
    z, _ = samples()
    report = ls.report("cross_entropy", z, torch.full((300,), -100), tmp_path / "report.html")
    assert report.figures == {}
    assert "Every target is ignored" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["summary"]["loss"] is None


def test_masked_truth_further_dimensions_and_soft_targets(tmp_path):
    z, y = samples()
    masked = z.clone()
    masked[0, y[0]] = -torch.inf
    report = ls.report("cross_entropy", masked, y, tmp_path / "masked.html")
    assert "infinite" in report.advice[0].text
    image = torch.randn(6, 4, 5, 5)
    ls.report("cross_entropy", image, torch.randint(4, (6, 5, 5)), tmp_path / "image.html")
    soft = ls.report("cross_entropy", z, z.softmax(1), tmp_path / "soft.html")
    assert "soft target" in dict(soft.given)["targets are taken as"]


def calibrated():
    """Outputs whose softmax is the distribution that the targets are drawn from."""
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(4000, 5, generator=generator)
    return z, torch.multinomial(z.softmax(1), 1, generator=generator).squeeze(1)


def advised(z, y):
    return " ".join(one.text for one in build(ls.CrossEntropyLoss(), InMemory(z, y)).advice)


def test_advice_follows_the_numbers():
    z, y = calibrated()
    calm, sure, wrong = (advised(outputs, y) for outputs in (z, 4 * z, -z))
    assert "T = " not in calm
    assert "Dividing z by T = 4.0" in sure or "Dividing z by T = 3.9" in sure
    assert "no better than a guess" in wrong
    assert "no better than a guess" not in calm


@pytest.mark.parametrize("scale", [0.5, 1.3, 2.0])
def test_a_temperature_is_advised_where_it_puts_the_confidences_right(scale):
    z, y = calibrated()
    said = re.search(r"by T = (\S+) brings the mean ℓ from (\S+) to (\S+) nats", advised(scale * z, y))
    assert float(said[1]) == pytest.approx(scale, rel=0.02)
    for printed, outputs in ((said[2], scale * z), (said[3], scale * z / float(said[1]))):
        assert float(printed) == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, y)), rel=5e-3)


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_the_code_for_a_temperature_has_the_loss_that_was_said(softcap):
    z, y = calibrated()
    one = next(a for a in build(ls.CrossEntropyLoss(softcap=softcap), InMemory(4 * z, y), findings=[]).advice if a.code)
    probability = eval(one.code, {"losscope": ls, "torch": torch, "z": 4 * z})
    said = re.search(r"brings the mean ℓ from \S+ to (\S+) nats", one.text)[1]
    assert float(-probability.gather(1, y[:, None]).log().mean()) == pytest.approx(float(said), rel=5e-3)
    assert ("the softcapped z by" in one.text) == (softcap is not None)


def test_a_temperature_at_the_end_of_the_grid_is_not_said_to_be_the_best():
    z, y = calibrated()
    assert "the best lies there or beyond" in advised(40 * z, y)
    assert "beyond" not in advised(4 * z, y)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bce_with_logits", "raw outputs and no prob"), ("bce", "are probabilities"), ("nll", "are log-probabilities")],
)
def test_advice_speaks_of_the_outputs_that_the_loss_takes(name, expected):
    z, y = samples()
    outputs = {"bce": -z.sigmoid() + 1, "bce_with_logits": -z, "nll": (-z).log_softmax(1)}[name]
    wrong = build(ls.as_loss(name), InMemory(outputs, y if name == "nll" else (z > 0).float())).advice
    assert expected in next(one.text for one in wrong if "no better than a guess" in one.text)


@pytest.mark.parametrize("name", ["bce_with_logits", "bce"])
def test_the_code_for_a_threshold_has_the_f1_that_was_said(name):
    z, _ = samples(count=2000)
    m = (torch.rand(z.shape, generator=torch.Generator().manual_seed(8)) < (z + 1).sigmoid()).float()
    outputs = z if name == "bce_with_logits" else z.sigmoid()
    one = next(one for one in build(ls.as_loss(name), InMemory(outputs, m)).advice if "F1" in one.text)
    decided = eval(one.code, {"z": outputs, "ŷ": outputs})
    said = re.search(r"an F1 of (\S+) instead", one.text)[1]
    assert float(2 * (decided & (m == 1)).sum() / (decided.sum() + m.sum())) == pytest.approx(float(said), abs=2e-3)


@pytest.mark.parametrize("scales", [(1.5, 0.4), (1.5, 0.6), (1.3, 0.5), (1.3, 0.7)])
def test_no_temperature_is_advised_where_half_is_too_sure_and_half_not_sure_enough(scales):
    z, y = calibrated()
    z[::2] *= scales[0]
    z[1::2] *= scales[1]
    assert "No one temperature puts that right" in advised(z, y)
    assert "Dividing z" not in advised(z, y)


def test_what_nothing_can_be_done_about_is_not_advised():
    z, y = samples()
    alone = build(ls.CrossEntropyLoss(), InMemory(z[:, :1], 0 * y), findings=[])
    assert alone.advice == []
    perfect = build(ls.MSELoss(), InMemory(z, z), findings=[])
    assert not any("worst" in one.text for one in perfect.advice)
    infinite = build(ls.MSELoss(), InMemory(torch.where(z > 3, torch.inf, z), z), findings=[]).advice[0].text
    assert "infinite for" in infinite
    assert "class" not in infinite


def test_a_mean_without_the_options_is_said_to_be_without():
    """ℓ has the weights in it, so a mean of the unweighted one has to say so."""
    z, y = samples()
    weighted = ls.summarize(ls.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0, 4.0])), z, y)
    assert [tile.beside.split(";")[0] for tile in tiles(weighted)[:2]] == [
        "with every option of the loss",
        "without them, in nats",
    ]
    assert "nats without options;" in str(weighted)
    assert tiles(ls.summarize("cross_entropy", z, y))[0].beside.startswith("nats;")


def test_what_is_said_of_values_is_of_the_finite_ones():
    z, _ = samples()
    broken = z.clone()
    broken[:2] = torch.inf
    assert "1,192 values are 0 off" in page_text(build(ls.MSELoss(), InMemory(broken, z), findings=[]))
    assert "Left out are 8 whose ℓ is not finite" in page_text(build(ls.MSELoss(), InMemory(broken, z), findings=[]))


def no_page(prefix: str, dir: str, mkstemp=tempfile.mkstemp):
    """A disk that has room for the numbers alone."""
    if "html" in prefix:
        raise OSError(28, "No space left on device")
    return mkstemp(prefix=prefix, dir=dir)


def test_page_and_numbers_are_both_new_or_both_old(tmp_path, monkeypatch):
    path, (z, y) = tmp_path / "report.html", samples()
    ls.report("cross_entropy", z, y, path)
    old = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with monkeypatch.context() as full:
        full.setattr(tempfile, "mkstemp", no_page)
        with pytest.raises(ls.InputError, match="no space left"):
            ls.report("cross_entropy", -z, y, path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == old
    (tmp_path / "other.json").mkdir()
    with pytest.raises(ls.InputError, match="a directory"):
        ls.report("cross_entropy", z, y, tmp_path / "other.html")
    assert not (tmp_path / "other.html").exists()


def test_a_page_goes_where_a_link_leads(tmp_path):
    link, page = tmp_path / "link.html", tmp_path / "pages" / "page.html"
    page.parent.mkdir()
    link.symlink_to(page)
    ls.report("cross_entropy", *samples(), link)
    assert link.is_symlink()
    assert "</html>" in page.read_text()


@pytest.mark.parametrize(
    ("z", "y", "said"),
    [
        (torch.zeros(0, 3), torch.zeros(0).long(), "at least one row"),
        (torch.zeros(4, 3), torch.zeros(3).long(), "4 and 3 rows"),
        ([[0.0]], torch.zeros(1).long(), "a list"),
        (torch.zeros(4, 3), torch.full((4,), 7), "7"),
    ],
)
def test_what_cannot_be_reported_is_an_error_and_writes_nothing(tmp_path, z, y, said):
    with pytest.raises(ls.InputError, match=said):
        ls.report("cross_entropy", z, y, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_advice_on_labels_is_the_threshold_of_their_logits():
    """Logits 2 too low: ŷ ≥ σ(−2) is where to cut."""
    generator = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(4000, 2, generator=generator)
    m = torch.bernoulli(z.sigmoid(), generator=generator)
    made = build(ls.BCEWithLogitsLoss(), InMemory(z - 2, m))
    (cut,) = [one for one in made.advice if "instead of 1/2" in one.text]
    assert float(cut.code.removeprefix("z >= ")) < -1
    assert not [
        one for one in build(ls.BCEWithLogitsLoss(), InMemory(z + 0.3, m)).advice if "instead of 1/2" in one.text
    ]


@pytest.mark.parametrize(("shift", "said"), [(3.0, "above the target"), (-3.0, "below the target")])
def test_advice_on_values(shift, said):
    t = torch.linspace(0, 1, 50)
    texts = " ".join(one.text for one in build(ls.MSELoss(), InMemory(t + shift, t)).advice)
    assert said in texts
    assert "always saying the mean" in texts
    fine = " ".join(one.text for one in build(ls.MSELoss(), InMemory(t + 0.01 * torch.sin(99 * t), t)).advice)
    assert "above" not in fine
    assert "always saying the mean" not in fine


def test_what_is_worth_knowing_is_nothing_to_put_right():
    z, y = samples()
    found = ls.lint(z.log_softmax(1), y, loss="cross_entropy")
    assert found.rules == ("log-softmax-before-cross-entropy",)
    made = build(ls.CrossEntropyLoss(), InMemory(z.log_softmax(1), y), findings=found)
    assert not [one for one in made.advice if "Put right" in one.text]
    suspicion = ls.lint(torch.eye(4)[y], y, loss="cross_entropy", select=["softmax-before-cross-entropy"])
    assert [f.severity for f in suspicion] == ["warning"]
    made = build(ls.CrossEntropyLoss(), InMemory(z, y), findings=suspicion)
    assert made.advice[0].text.startswith("Put right")


def test_a_picture_is_dark_ink_on_light_paper():
    content = base64.b64decode(png(torch.tensor([[0.0, 1.0]])).partition(",")[2])
    at = content.index(b"IDAT")
    assert zlib.decompress(content[at + 4 : at + 4 + int.from_bytes(content[at - 4 : at])]) == b"\0\xff\x00"


def test_others_may_read_the_page_as_any_file_of_theirs(tmp_path):
    ls.report("cross_entropy", *samples(), tmp_path / "report.html")
    (tmp_path / "beside").write_text("")
    assert (tmp_path / "report.html").stat().st_mode == (tmp_path / "beside").stat().st_mode


def test_labels_of_the_worst_are_their_truth_and_not_a_name(tmp_path):
    z, _ = samples(classes=3)
    m = (z > 0.5).float()
    ls.report("bce_with_logits", z, m, tmp_path / "report.html", class_names=("cat", "dog", "owl"))
    summary = ls.summarize("bce_with_logits", z, m, labels=("cat", "dog", "owl"))
    assert worst_name(summary, summary.worst[0].target) in ("0", "1")
