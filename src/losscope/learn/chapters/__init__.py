"""The chapters: each a module with its title, and the views that follow from the values of the controls."""

from __future__ import annotations

from typing import Any, Protocol

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

    def views(self, v: dict[str, Any]) -> tuple[View, ...]:
        """What follows from the values of all controls, in one part or more, each with the controls that move it."""


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
