"""Every rule has its page, every page its rule; each page says what the others say, and links a case."""

from pathlib import Path

import pytest

from losscope.linting import RULES, Finding, Severity

PAGES = Path(__file__).parents[2] / "docs" / "rules"
HEADINGS = (
    "## How it shows",
    "## Why it hurts",
    "## How it is detected",
    "## The fix",
    "## A reported case",
)


def test_every_rule_has_a_page_and_every_page_a_rule():
    assert {page.stem for page in PAGES.glob("*.md")} == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_page_has_every_part(name):
    text = (PAGES / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert [text.index(heading) for heading in HEADINGS] == sorted(text.index(heading) for heading in HEADINGS)
    assert "```python" in text
    assert "https://" in text[text.index(HEADINGS[-1]) :]


@pytest.mark.parametrize("name", RULES)
def test_a_page_says_how_bad_it_is(name):
    assert f"*({RULES[name].severity.value}" in (PAGES / f"{name}.md").read_text()


def test_a_finding_links_its_page():
    for name in RULES:
        link = Finding(name, Severity.INFO, "", "", "").docs
        assert (PAGES.parents[1] / link).exists()


def test_the_overview_lists_every_rule():
    text = (PAGES.parent / "lint.md").read_text()
    assert all(f"(rules/{name}.md)" in text for name in RULES)
