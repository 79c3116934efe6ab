"""One pass over a file made by many ranks: each measures its part of the rows, and the summaries are merged.

The sums of a summary are exact, so the result is the same to the last digit whatever the number of ranks.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist
from torch.distributed import ProcessGroup

from losscope.errors import InputError
from losscope.summary.data import Data

T = TypeVar("T")


@contextmanager
def together(seconds: float = 1800) -> Iterator[ProcessGroup | None]:
    """The other ranks, where there are any: those this process has joined, or those ``torchrun`` started beside it.

    The group is one of gloo's, since what is merged is on the CPU; at the end it is left again.

    Args:
        seconds: how long a rank waits for the others.

    Raises:
        InputError: one of them is gone, or has not answered in this time.
    """
    if not (_joined() or _started_by_torchrun()):
        yield None
        return
    # None is the default group; one that is held in a name here would outlive it, and its threads with it.
    joined, group = _joined(), None
    try:
        if joined:
            group = dist.new_group(backend="gloo", timeout=timedelta(seconds=seconds))
        else:
            dist.init_process_group("gloo", timeout=timedelta(seconds=seconds))
        yield group
    except RuntimeError as error:  # gloo's: a connection that was closed or timed out
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError("torchrun", "an answer from every rank", line, "see what ended the other rank") from error
    finally:
        if group is not None or (_joined() and not joined):
            dist.destroy_process_group(group)


def _started_by_torchrun() -> bool:
    return dist.is_available() and int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ


def rank() -> int:
    """This rank's number."""
    return dist.get_rank() if _joined() else 0


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _ranks() -> int:
    return dist.get_world_size() if _joined() else 1


def agree(work: Callable[[], T]) -> T:
    """What each rank does on its own; an error on one of them is raised on all, so that none waits for another.

    Raises:
        InputError: that of the first rank which had one.
    """
    if _ranks() == 1:
        return work()
    result, error = None, None
    try:
        result = work()
    except InputError as raised:
        error = raised
    said: list[tuple[str, str, str, str] | None] = [None] * _ranks()
    dist.all_gather_object(said, error and (error.where, error.expected, error.got, error.fix))
    for parts in said:
        if parts is not None:
            raise InputError(*parts) from error
    return result  # type: ignore[return-value]  # there was no error, so there is a result


def share(data: Data) -> tuple[int, int]:
    """The first row of this rank's part, and the one after its last.

    The parts are equal, but where a row group begins near their border, that is the border: no two ranks read it.
    """
    own, count = rank(), _ranks()
    return _border(data, own, count), _border(data, own + 1, count)


def _border(data: Data, part: int, parts: int) -> int:
    """Within a quarter of a part, the nearest row at which a row group begins."""
    border = len(data) * part // parts
    if part == parts:
        return border
    at = bisect_left(data.begins, border)
    nearest = min(data.begins[max(at - 1, 0) : at + 1], key=lambda b: abs(b - border), default=border)
    return nearest if abs(nearest - border) * 4 * parts <= len(data) else border
