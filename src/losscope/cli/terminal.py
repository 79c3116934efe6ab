"""Where the words go: results to stdout, the rest to stderr; colours only where a person looks."""

from __future__ import annotations

from rich.console import Console


def results() -> Console:
    """Stdout."""
    return Console(highlight=False, soft_wrap=False)


def errors() -> Console:
    """Stderr."""
    return Console(stderr=True, highlight=False)
