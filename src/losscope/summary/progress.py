"""How far a pass has come, for whoever looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(shown: bool = True, what: str = "Rows") -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr where that is a terminal; it is told how many are done, and of how many."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    done = TextColumn("{task.completed:,.0f} of {task.total:,.0f}")
    columns = TextColumn(what), BarColumn(), done, TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(what, total=None, visible=False)  # until it is known of how many
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
