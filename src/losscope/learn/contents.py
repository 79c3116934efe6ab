"""From chapter to chapter."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import marimo as mo

from losscope.learn import page
from losscope.learn.chapters import CHAPTERS

NAMES = list(CHAPTERS)
LABELS = {f"{number} · {chapter.TITLE}": name for number, (name, chapter) in enumerate(CHAPTERS.items(), 1)}
Go = Callable[[str], None]


def first(asked: object) -> str:
    """The chapter that the address asks for, ``?chapter=nll``, or the first."""
    return asked if isinstance(asked, str) and asked in CHAPTERS else NAMES[0]


def ways(name: str, go: Go) -> dict[str, Any]:
    """The list of chapters, and buttons to those before and after; the notebook has to keep them to hear of them."""
    at = NAMES.index(name)
    buttons = {"← Previous": NAMES[:at][-1:], "Next →": NAMES[at + 1 : at + 2]}
    labels = list(LABELS)
    return {
        "chapter": page.choice("Chapter", labels, labels[at], lambda label: go(LABELS[label])),
        **{label: _button(label, other, go) for label, others in buttons.items() for other in others},
    }


def heading(name: str, ways: dict[str, Any]) -> mo.Html:
    """The list of chapters, and the title of this one."""
    title = f'<h1 class="ls-title" data-chapter="{name}">{escape(CHAPTERS[name].TITLE)}</h1>'
    return page.stack(
        mo.Html(f'<nav class="ls-contents" aria-label="Contents">{ways["chapter"].text}</nav>'), mo.Html(title)
    )


def onwards(ways: dict[str, Any]) -> mo.Html:
    """The buttons."""
    buttons = "".join(way.text for label, way in ways.items() if label != "chapter")
    return mo.Html(f'<nav class="ls-onwards" aria-label="Onwards">{buttons}</nav>')


def _button(label: str, name: str, go: Go) -> mo.ui.button:
    return mo.ui.button(label=label, tooltip=CHAPTERS[name].TITLE, on_change=lambda _: go(name))
