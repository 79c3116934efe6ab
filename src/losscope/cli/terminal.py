"""Where the words go: results to stdout, the rest to stderr; colours only where a person looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console


def results() -> Console:
    """Stdout."""
    return Console(highlight=False, soft_wrap=False)


def errors() -> Console:
    """Stderr."""
    return Console(stderr=True, highlight=False)


def progress(shown: bool = True, what: str = "Rows") -> AbstractContextManager[Callable[[int, int], None]]:
    """A bar on stderr where a person looks; it is told how many are done, and of how many."""
    from losscope.summary.progress import progress as bar

    return bar(shown, what)


@contextmanager
def working(text: str) -> Iterator[None]:
    """The words on stderr while it lasts, where a person looks."""
    console = errors()
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield
