"""What every test shares: hypothesis' settings, and a browser page that may not leave the machine."""

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

# The first call of a kernel compiles it, so no single example has a deadline.
settings.register_profile("losscope", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("losscope")


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, driven by playwright; without it a test is skipped, in CI it fails."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None and os.environ.get("CI") == "true":
        pytest.fail("CI must run the browser tests: install Debian's chromium")
    if chromium is None:
        pytest.skip("no chromium on the PATH: install Debian's package `chromium` to run the browser tests")
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield instance
        instance.close()


@pytest.fixture
def page(browser):
    """A fresh page with the network switched off; `page.requests_made` lists what it tried to load."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(90_000)  # a machine may be slow; what is waited for is a condition, never a time
    page = context.new_page()
    page.requests_made = []
    page.on("request", lambda request: page.requests_made.append(request.url))
    yield page
    context.close()
