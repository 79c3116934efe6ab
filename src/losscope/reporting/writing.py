"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from errno import EISDIR
from pathlib import Path

from losscope.errors import InputError


def write_texts(contents: Mapping[Path, str]) -> None:
    """Each content under its path: all are on the disk before the first takes its place, so none is new alone.

    Raises:
        InputError: one cannot be written; then all are as they were.
    """
    with ExitStack() as undo:
        moves = []
        for path, content in contents.items():
            with _told(path):
                moves.append((_written(path, content, undo), path))
        for temporary, path in moves:
            with _told(path):
                os.replace(temporary, path.resolve())  # a link stays one, and leads to the new file


def check_page(path: Path) -> None:
    """Before any work: this is a path that a page can be written to.

    Raises:
        InputError: its name does not end with .html, it is a folder, or its folder is not there.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(str(path), "a name that ends with .html", f"'{path.name}'", "name it report.html")
    if path.is_dir():
        raise InputError(str(path), "the name of a file", "a folder", "add a file name to it")
    if not path.parent.is_dir():
        raise InputError(str(path), "a folder that exists", f"no folder {path.parent}", "make it, or choose another")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong with a file is told in our words."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(str(path), "a place to write to", reason.lower(), "choose another path") from error


def _written(path: Path, content: str, undo: ExitStack) -> str:
    """A file beside the path's own, which is gone in the end unless it has been moved."""
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    undo.callback(Path(temporary).unlink, missing_ok=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    os.chmod(temporary, 0o666 & ~_umask())  # mkstemp gives the owner alone the right to read
    return temporary


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
