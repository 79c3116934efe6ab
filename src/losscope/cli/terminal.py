"""Where the words go: results to stdout, the rest to stderr; colours only where a person looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


def results() -> Console:
    """Stdout."""
    return Console(highlight=False, soft_wrap=False)


def errors() -> Console:
    """Stderr."""
    return Console(stderr=True, highlight=False)


@contextmanager
def progress(shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr where a person looks; it is told how many rows are done, and of how many."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("Rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = errors()
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda done, rows: bar.update(task, completed=done, total=rows)
