"""The chapters: each a module with its title, its controls and the view that follows from their values."""

from __future__ import annotations

from typing import Any, Protocol

import marimo as mo

from losscope.learn.chapters import (
    batches,
    choosing,
    cross_entropy,
    links,
    multi_label,
    nll,
    raw,
    regression,
    stability,
    targets,
    wrong,
)
from losscope.learn.page import View


class Chapter(Protocol):
    """What a chapter's module has."""

    TITLE: str

    def controls(self) -> mo.ui.dictionary:
        """Its sliders and switches."""

    def view(self, v: dict[str, Any]) -> View:
        """What follows from their values."""


CHAPTERS: dict[str, Chapter] = {
    "raw": raw,
    "links": links,
    "batches": batches,
    "targets": targets,
    "stability": stability,
    "nll": nll,
    "cross-entropy": cross_entropy,
    "multi-label": multi_label,
    "regression": regression,
    "choosing": choosing,
    "wrong": wrong,
}
