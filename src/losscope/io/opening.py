"""From a path to a source: which format it is, what it holds, which of it is meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from losscope.errors import InputError
from losscope.io.arrays import open_npy, open_npz, open_pt, open_safetensors
from losscope.io.contents import OUTPUTS, TARGETS, Contents, pick
from losscope.io.parquet import open_parquet
from losscope.io.source import Source
from losscope.io.text import open_csv

FORMATS: Mapping[str, Callable[[Path], Contents]] = {
    ".npz": open_npz,
    ".npy": open_npy,
    ".safetensors": open_safetensors,
    ".csv": open_csv,
    ".tsv": open_csv,
    ".parquet": open_parquet,
    ".pt": open_pt,
    ".pth": open_pt,
}


def open_source(
    path: str | os.PathLike[str],
    outputs: str | None = None,
    targets: str | None = None,
    target_path: str | os.PathLike[str] | None = None,
) -> Source:
    """Opens the file, or the two files, that hold outputs z and targets.

    Args:
        path: .npz, .npy, .safetensors, .csv, .tsv, .parquet or .pt, or a folder of .parquet or of .npy files.
        outputs: the name of z; without it the one of ``outputs``, ``logits``, ``z``, ``scores`` and their like.
            In a table a column, a column of lists, columns ``z_0`` … ``z_{H-1}`` as ``z``, or several separated by
            commas, in the order of the classes.
        targets: the name of the targets, in the same ways; usual names are ``targets``, ``labels``, ``y``, and
            ``m_0`` … for a multi-hot target.
        target_path: the file of the targets, when they have one of their own.

    Returns:
        A source, nothing but its first row read. .csv, .npz and .pt are held in memory, the others are not. Numbers of
        a .csv become float32 where they are outputs or have a fraction, whole ones float64 where that would round them.

    Raises:
        InputError: the file is missing, empty, damaged or a pickle, the names are not there or not unique, a column
            holds something else than numbers, or the numbers of rows differ.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> file = Path(folder.name) / "outputs.csv"
        >>> _ = file.write_text("z_0,z_1,y" + chr(10) + "0.5,2.5,1" + chr(10))
        >>> open_source(file).read()
        Batch(outputs=tensor([[0.5000, 2.5000]]), targets=tensor([1]))
        >>> folder.cleanup()
    """
    apart = target_path is not None
    of_outputs = open_contents(Path(path))
    of_targets = open_contents(Path(target_path)) if target_path is not None else of_outputs
    output_name = pick(of_outputs, "outputs", outputs, OUTPUTS, alone=apart)
    target_name = pick(of_targets, "targets", targets, TARGETS, alone=apart)
    return Source(of_outputs.field(output_name), of_targets.field(target_name))


def open_contents(path: Path) -> Contents:
    """What the file holds, by the format its name ends with.

    Raises:
        InputError: it is not there, holds nothing, or its format is not one of these.
    """
    if not os.path.exists(path):  # Path.exists raises for a name too long or a folder closed to us
        raise InputError(str(path), "a file", "nothing at this path that may be read", "check the path")
    if path.is_dir():
        return _open_folder(path)
    if path.stat().st_size == 0:
        raise InputError(str(path), "a file with data", "an empty file (0 bytes)", "write it again")
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            str(path),
            f"one of {', '.join(FORMATS)}",
            f"'{path.suffix or path.name}'",
            "save as one of these; a pickle can run code and is never opened",
        )
    return FORMATS[path.suffix.lower()](path)


def _open_folder(path: Path) -> Contents:
    has_parquet, has_npy = any(path.rglob("*.parquet")), any(path.glob("*.npy"))
    if has_parquet == has_npy:
        raise InputError(
            str(path),
            "a folder of .parquet files, or of .npy files",
            "both" if has_npy else "neither",
            "name the file, or the folder that holds them",
        )
    return open_parquet(path) if has_parquet else open_npy(path)
