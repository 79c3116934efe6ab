"""From what was typed to a loss, rows and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from losscope.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from losscope.losses import Loss
    from losscope.summary.data import Data


@dataclass(frozen=True)
class Inputs:
    """What a command works on."""

    title: str
    loss: Loss
    data: Data
    class_names: Sequence[str] | None
    images: Tensor | None = None


def read(
    file: Path | None,
    loss: str,
    outputs: str | None,
    targets: str | None,
    targets_file: Path | None,
    classes: str | None,
    ignore_index: float | None,
) -> Inputs:
    """The file that was named, or the built-in example.

    Raises:
        InputError: something that was typed does not fit.
    """
    chosen = named_loss(loss, ignore_index)
    names = None if classes is None else class_names(classes)
    if file is None:
        _no_file({"--outputs": outputs, "--targets": targets, "--targets-file": targets_file})
        return _named(_example(chosen), names)
    from losscope.io import open_source

    source = open_source(file, outputs, targets, targets_file).taken_as(indices=chosen.takes_indices)
    return _named(Inputs(file.name, chosen, source, None), names)


def _example(loss: Loss) -> Inputs:
    from losscope.example import digits
    from losscope.reporting import InMemory

    example = digits()
    data = InMemory(example.outputs, example.targets)
    title = "Handwritten digits, the built-in example"
    return Inputs(title, loss, data, example.class_names, example.images)


def _named(given: Inputs, names: Sequence[str] | None) -> Inputs:
    """The same with these names, where there are some."""
    if names is None:
        return given
    from losscope.summary.data import row

    z, _ = row(given.data, 0)
    outputs = z.shape[1] if z.ndim > 1 else 1
    if len(names) != outputs:
        raise InputError("--classes", f"{outputs} names, one for each output", f"{len(names)}", "give as many names")
    return replace(given, class_names=names)


def _no_file(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(name, "a file that it is about", "none", "name the file, or leave the option out")


def named_loss(name: str, ignore_index: float | None) -> Loss:
    """The loss of that name.

    Raises:
        InputError: there is none, or it has no ``ignore_index``.
    """
    from losscope.losses import as_loss

    loss = as_loss(name, where="--loss")
    if ignore_index is None:
        return loss
    if not hasattr(loss, "ignore_index"):
        raise InputError("--ignore-index", "a loss that has it", name, "leave the option out")
    whole = isinstance(loss.ignore_index, int)
    if whole and not ignore_index.is_integer():
        raise InputError("--ignore-index", f"a whole number for {name}", f"{ignore_index:g}", "give an index")
    vars(loss)["ignore_index"] = int(ignore_index) if whole else ignore_index
    return loss


def class_names(given: str) -> list[str]:
    """The lines of the file of that name, or the names between the commas.

    Raises:
        InputError: there is no such file, or it holds no text.
    """
    path = Path(given)
    if path.suffix and "," not in given and not path.exists():
        raise InputError("--classes", "a file, or names with commas", f"no file {given}", "check the path")
    if "," in given or not path.exists():
        return [name.strip() for name in given.split(",")]
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("--classes", "a text file in UTF-8", str(error), "write one name on each line") from error


def row_numbers(given: str | None) -> list[int] | None:
    """'0,17' as numbers.

    Raises:
        InputError: one of them is no whole number.
    """
    if given is None:
        return None
    try:
        return [int(number) for number in given.split(",")]
    except ValueError as error:
        raise InputError("--rows", "whole numbers with commas, such as 0,17", repr(given), "write them so") from error
