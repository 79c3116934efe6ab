"""What a file holds, by name, and which of the names are the outputs and the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from losscope.errors import InputError
from losscope.io.source import Field

OUTPUTS = ("outputs", "output", "logits", "logit", "z", "scores", "score")
TARGETS = ("targets", "target", "labels", "label", "y_true", "y", "m", "t", "q")


class Contents(Protocol):
    """An opened file, or a folder of them."""

    @property
    def path(self) -> Path:
        """The file or the folder."""

    @property
    def names(self) -> list[str]:
        """Its arrays, or a table's columns and groups of columns."""

    def holds(self, name: str) -> bool:
        """Whether there is a field of this name."""

    def field(self, name: str) -> Field:
        """The array, the column or the columns of this name."""


def pick(contents: Contents, role: str, wanted: str | None, usual: Sequence[str], alone: bool) -> str:
    """The name that holds the role: the one wanted, the only usual one, or the only one if the file is for it alone.

    Raises:
        InputError: there is none, or more than one; the text lists what there is.
    """
    names = contents.names
    if wanted is not None and contents.holds(wanted):
        return wanted
    found = [name for name in names if name.lower() in usual] if wanted is None else []
    if not found and wanted is None and alone and len(names) == 1:
        found = names
    if len(found) == 1:
        return found[0]
    raise InputError(
        str(contents.path),
        f"{role} named '{wanted}'" if wanted is not None else f"{role} under one of {', '.join(usual)}",
        f"{'more than one: ' if found else ''}{_listed(found or names)}",
        f"name the {role}: {role}=NAME in Python, --{role} NAME on the command line"
        + ("" if found or wanted else f"; or give the {role} as a file of their own"),
    )


def _listed(names: list[str], most: int = 20) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "nothing"


@contextmanager
def reading(where: str, kind: str) -> Iterator[None]:
    """Around a library's reader: what it raises becomes an InputError with the file and its first line.

    A damaged file can make a reader raise nearly anything (measured by flipping bytes: thirteen types), so any
    Exception is taken for the file's fault; nothing but the library's calls may stand inside.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            where, f"a whole {kind}", f"one that cannot be read: {line}", "write it again, or copy it again"
        ) from error
