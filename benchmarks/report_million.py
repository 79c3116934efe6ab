"""``losscope report`` on 1,000,000 × 10: what making the page takes, and how soon it is there when it is opened.

    python benchmarks/report_million.py

The file is made in a temporary folder. The page is opened in Debian's Chromium, several times, each in a new profile;
"first figure" is when its drawing stands in the page, without a scroll.
"""

import shutil
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from harness import machine
from larger_than_memory import report, write_long

OPENED = 7

# From the page itself: milliseconds since it began to load.
WATCH = """
const seen = new MutationObserver(() => {
  if (!document.querySelector(".plot .main-svg")) return;
  window.firstFigure = performance.now();
  seen.disconnect();
});
seen.observe(document, { childList: true, subtree: true });
"""
TIMES = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return {
    "first contentful paint": paint.startTime,
    "DOMContentLoaded": page.domContentLoadedEventEnd,
    "load": page.loadEventEnd,
    "first figure": window.firstFigure,
  };
}"""


def opened(browser: Browser, path: Path) -> dict[str, float]:
    """Milliseconds of one opening."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.add_init_script(WATCH)
    page.goto(path.as_uri())
    page.locator(".plot .main-svg").first.wait_for()
    times: dict[str, float] = page.evaluate(TIMES)
    page.close()
    return times


def main() -> None:
    """Print the figures."""
    chromium = shutil.which("chromium") or sys.exit("install Debian's package `chromium` to open the page")
    with TemporaryDirectory() as temporary, sync_playwright() as playwright:
        print(machine())
        folder = Path(temporary)
        print(f"1,000,000 × 10, parquet: {report(write_long(folder, 1_000_000), folder / 'report.html')}")
        print(f"page {(folder / 'report.html').stat().st_size / 2**20:.1f} MiB, opened {OPENED} times:")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        runs = [opened(browser, folder / "report.html") for _ in range(OPENED)]
        browser.close()
    for name in runs[0]:
        times = [run[name] for run in runs]
        print(f"  {name}: median {statistics.median(times):,.0f} ms ({min(times):,.0f} to {max(times):,.0f})")


if __name__ == "__main__":
    main()
