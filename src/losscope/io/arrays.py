"""Files of named arrays: .npy, .npz, .safetensors, .pt."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from losscope.errors import InputError
from losscope.io.contents import reading
from losscope.io.source import Field, by_slices

# The number of rows of an array, and what reads the rows from start to stop.
Opened = tuple[int, Callable[[int, int], Tensor]]


@dataclass(frozen=True)
class Arrays:
    """Arrays by name, each opened when it is asked for."""

    path: Path
    open: Mapping[str, Callable[[], Opened]]

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return list(self.open)

    def holds(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self.open

    def field(self, name: str) -> Field:
        """The array of this name, its first dimension the samples."""
        rows, take = self.open[name]()
        return Field(self.path, name, rows, by_slices(take))


def to_tensor(array: NDArray[np.generic], where: str) -> Tensor:
    """A copy in native byte order.

    Raises:
        InputError: it holds something else than real numbers torch has a dtype for.
    """
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise InputError(
            where,
            "real numbers of at most 64 bits",
            f"dtype {array.dtype}",
            "write it as a float or integer array",
        )
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def rows_of(shape: tuple[int, ...], path: Path, name: str) -> int:
    """The first dimension.

    Raises:
        InputError: there is none.
    """
    if not shape:
        raise InputError(str(path), "a row for each sample", f"'{name}' with a single value", "name another array")
    return int(shape[0])


def open_npy(path: Path) -> Arrays:
    """One array by memory map, or a folder of them: each is named as its file."""
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    return Arrays(path, {file.stem: partial(_npy, file) for file in files})


def _npy(path: Path) -> Opened:
    def mapped() -> NDArray[np.generic]:
        with _reading_numpy(str(path), ".npy file"):
            array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
            return array

    # Mapped anew for each slice: a map that stays would keep every page it has shown in memory.
    return rows_of(mapped().shape, path, path.stem), lambda a, b: to_tensor(mapped()[a:b], str(path))


def open_npz(path: Path) -> Arrays:
    """An archive of arrays; the ones asked for are read whole, since they may be compressed."""
    with _reading_numpy(str(path), ".npz file"), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    return Arrays(path, {name: partial(_npz, path, name) for name in names})


def _npz(path: Path, name: str) -> Opened:
    where = f"{path}, array '{name}'"
    with _reading_numpy(where, ".npz file"), np.load(path, allow_pickle=False) as archive:
        array = archive[name]
    return rows_of(array.shape, path, name), lambda a, b: to_tensor(array[a:b], where)


@contextmanager
def _reading_numpy(where: str, kind: str) -> Iterator[None]:
    """As ``reading``; numpy's text on Python objects, and on bytes it does not know, advises to unpickle them."""
    with reading(where, kind):
        try:
            yield
        except ValueError as error:
            if "pickle" not in str(error) and "Python objects" not in str(error):
                raise
            raise InputError(
                where,
                "numpy arrays of numbers",
                "Python objects (a pickle), which can run code and are never opened, or no array at all",
                "make a rectangular array of numbers of it and save that",
            ) from error


def open_safetensors(path: Path) -> Arrays:
    """Tensors by memory map; bfloat16 and float16 keep their dtype."""
    with _safely_open(path) as file:
        return Arrays(path, {name: partial(_safetensor, path, name) for name in file.keys()})  # noqa: SIM118


def _safetensor(path: Path, name: str) -> Opened:
    def take(start: int, stop: int) -> Tensor:
        with _safely_open(path) as file:
            return dense(file.get_slice(name)[start:stop], path, name)

    with _safely_open(path) as file:
        return rows_of(tuple(file.get_slice(name).get_shape()), path, name), take


@contextmanager
def _safely_open(path: Path) -> Iterator[Any]:  # the reader's methods carry no types
    with reading(str(path), ".safetensors file"), safe_open(path, "pt") as file:
        yield file


def open_pt(path: Path) -> Arrays:
    """A dictionary of tensors, a tuple of them (named 0, 1, ...) or one tensor (named as its file)."""
    held = _load(path)
    if isinstance(held, Tensor):
        held = {path.stem: held}
    if isinstance(held, tuple | list):
        held = dict(enumerate(held))
    if not isinstance(held, dict):
        raise InputError(
            str(path),
            "a dictionary of tensors",
            f"a {type(held).__name__}",
            "torch.save({'outputs': z, 'targets': y}, …)",
        )
    tensors = {str(name): value.detach() for name, value in held.items() if isinstance(value, Tensor)}
    return Arrays(path, {name: partial(_tensor, tensor, path, name) for name, tensor in tensors.items()})


def _load(path: Path) -> object:
    with reading(str(path), ".pt file"):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except pickle.UnpicklingError as error:  # torch's own text advises to unpickle it all the same
            raise InputError(
                str(path),
                "nothing but tensors",
                "a pickle with more than tensors, which can run code and is never opened, or a damaged file",
                "torch.save({'outputs': z, 'targets': y}, …) with tensors only, or save .npz or .safetensors",
            ) from error


def _tensor(tensor: Tensor, path: Path, name: str) -> Opened:
    return rows_of(tuple(tensor.shape), path, name), lambda a, b: dense(tensor, path, name)[a:b].clone()


def dense(tensor: Tensor, path: Path, name: str) -> Tensor:
    """The tensor itself.

    Raises:
        InputError: it is sparse, quantized, complex, or of 8-bit floats, which torch cannot compute with.
    """
    small_float = tensor.is_floating_point() and tensor.element_size() < 2
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or small_float:
        raise InputError(
            str(path),
            "dense tensors of real numbers of at least 16 bits",
            f"'{name}' of dtype {tensor.dtype} and layout {tensor.layout}",
            "convert it before it is saved, for example by .to_dense().float()",
        )
    return tensor
