"""What a call was given as z and y: tensors, or the file that holds them."""

from __future__ import annotations

import os
from typing import Final

from losscope.errors import InputError, describe
from losscope.io.opening import open_source
from losscope.io.source import Source

Path = str | os.PathLike[str]

FILE: Final = (Source, str, os.PathLike)
"""What names a file or has opened it, rather than tensors."""


def opened(where: str, z: Source | Path, y: object, outputs: str | None, targets: str | None) -> Source:
    """The source that is meant.

    Args:
        where: the function that was called.
        z: a file or a source.
        y: the file of the targets where they have one.
        outputs: the name of z in the file, as ``open_source`` takes it.
        targets: the name of the targets in the file, likewise.

    Raises:
        InputError: one of these does not go with the others, or the file cannot be read.
    """
    if isinstance(z, Source):
        _check_nothing(where, "a Source, which has its targets", {"y": y, "outputs": outputs, "targets": targets})
        return z
    if y is not None and not isinstance(y, str | os.PathLike):
        raise InputError(where, "y: the file of the targets, or None", describe(y), "give both as files, or none")
    return open_source(z, outputs, targets, y)


def check_at_hand(where: str, y: object, outputs: str | None, targets: str | None) -> None:
    """There are targets beside outputs that are no file, and no names.

    Raises:
        InputError: it is otherwise.
    """
    if y is None:
        raise InputError(where, "y: targets beside the outputs", "none", "pass z and y, or the file of both")
    _check_nothing(where, "tensors, which need no names", {"outputs": outputs, "targets": targets})


def _check_nothing(where: str, beside: str, given: dict[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(where, f"no {name} beside {beside}", describe(value), "leave it out")
