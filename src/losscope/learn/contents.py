"""From chapter to chapter."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import marimo as mo

from losscope.learn import page
from losscope.learn.chapters import CHAPTERS

NAMES = list(CHAPTERS)
LABELS = {f"{number} · {chapter.TITLE}": name for number, (name, chapter) in enumerate(CHAPTERS.items(), 1)}
Go = Callable[[str], None]


def first(asked: object) -> str:
    """The chapter that the address asks for, ``?chapter=nll``, or the first."""
    return asked if isinstance(asked, str) and asked in CHAPTERS else NAMES[0]


def contents(name: str, go: Go) -> mo.Html:
    """The list of chapters, and the title of this one."""
    here = next(label for label, one in LABELS.items() if one == name)
    choose = page.choice("Chapter", LABELS, here, lambda label: go(LABELS[label]))
    title = f'<h1 class="ls-title" data-chapter="{name}">{escape(CHAPTERS[name].TITLE)}</h1>'
    return page.stack(mo.Html(f'<nav class="ls-contents" aria-label="Chapters">{choose.text}</nav>'), mo.Html(title))


def onwards(name: str, go: Go) -> mo.Html:
    """Buttons to the chapters before and after."""
    at = NAMES.index(name)
    buttons = [_button("← Previous", other, go) for other in NAMES[:at][-1:]]
    buttons += [_button("Next →", other, go) for other in NAMES[at + 1 : at + 2]]
    return mo.Html(f'<nav class="ls-onwards" aria-label="Next">{"".join(button.text for button in buttons)}</nav>')


def _button(label: str, name: str, go: Go) -> mo.ui.button:
    return mo.ui.button(label=label, tooltip=CHAPTERS[name].TITLE, on_change=lambda _: go(name))
