"""The pictures of the README, taken by a headless Chromium from losscope's own pages: ``make figures``.

Usage: python tools/pictures.py [folder, docs/images unless told]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Locator, Page, sync_playwright

from losscope import CrossEntropyLoss, figures
from losscope.example import digits
from losscope.reporting import InMemory, build

HERE = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT, MARGIN = 1240, 700, 16


def main(folder: Path) -> None:
    """Draws every picture into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or sys.exit("install Debian's package `chromium` to draw the pictures")
    with TemporaryDirectory() as temporary, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        take_report(page, write_report(Path(temporary)), folder)
        take_formula(page, Path(temporary), folder)
        browser.close()
    for picture in sorted(folder.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


def write_report(folder: Path) -> Path:
    """The report on the built-in example."""
    example = digits(progress=False)
    report = build(
        CrossEntropyLoss(),
        InMemory(example.outputs, example.targets),
        class_names=example.class_names,
        title="Handwritten digits, the built-in example",
        images=example.images,
    )
    return report.save(folder / "report.html")


def take_report(page: Page, path: Path, folder: Path) -> None:
    """Its beginning, two of its figures and a sample step by step."""
    page.goto(path.as_uri())
    page.evaluate("['beforeprint', 'afterprint'].forEach((name) => window.dispatchEvent(new Event(name)))")
    page.locator(".plot:empty").first.wait_for(state="detached")
    page.screenshot(path=folder / "report.png")
    for name, selector in (("confusion", "#ConfusionDisplay"), ("reliability", "#ReliabilityDisplay")):
        take(page, page.locator(selector), folder / f"{name}.png")
    take(page, page.locator(".sample").nth(1), folder / "step-by-step.png")


def take(page: Page, part: Locator, path: Path) -> None:
    """A part of the page with a margin around it."""
    box = part.bounding_box()
    assert box is not None
    sides = {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN}
    size = {"width": box["width"] + 2 * MARGIN, "height": box["height"] + 2 * MARGIN}
    page.screenshot(path=path, full_page=True, clip=sides | size)


def take_formula(page: Page, temporary: Path, folder: Path) -> None:
    """The gradients of the losses, side by side."""
    path = temporary / "gradients.html"
    figure = figures.gradients()
    figure.update_layout(paper_bgcolor="white", font_color="#3d444c")
    figure.write_html(path, include_plotlyjs=True, config={"displayModeBar": False})
    page.set_viewport_size({"width": 860, "height": figure.layout.height + 16})
    page.goto(path.as_uri())
    page.locator(".main-svg").first.wait_for()
    page.screenshot(path=folder / "gradients.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "docs" / "images")
