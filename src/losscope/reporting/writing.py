"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from losscope.errors import InputError


def write_text(path: Path, content: str) -> None:
    """The content under this path at once: whoever looks sees the old file or the new one.

    Raises:
        InputError: it cannot be written.
    """
    try:
        _replace(path, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(str(path), "a place to write to", reason.lower(), "choose another path") from error


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


def _replace(path: Path, content: str) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp gives the owner alone the right to read
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
