"""``summarize``: the whole pass in one call, over tensors or over a file that is read a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from losscope.errors import InputError
from losscope.io import Source
from losscope.io.given import FILE, Path, check_at_hand, opened
from losscope.losses import Loss
from losscope.summary import progress as bars
from losscope.summary import ranks
from losscope.summary.data import Data, rows_at_once
from losscope.summary.metric import Summary, whole_number
from losscope.summary.result import SummaryResult


def summarize(
    loss: Loss | nn.Module | str,
    z: Tensor | Source | Path,
    y: Tensor | Path | None = None,
    *,
    outputs: str | None = None,
    targets: str | None = None,
    batch_rows: int | None = None,
    progress: bool = False,
    labels: Sequence[str] | None = None,
    top_k: Sequence[int] = (1, 5),
    worst: int = 20,
    class_limit: int = 256,
) -> SummaryResult:
    r"""What the raw outputs say, measured: loss, accuracy, per class, calibration, temperature, the worst samples.

    The sums, such as ``L_sum = Σ_i v_i ℓ_i`` and the divisor ``Σ_i v_i w_{y_i}`` of ``L_mean``, and the counts
    of v_i [d_i = y_i], are exact over all rows and rounded once, at the end. So the result is the same to the last
    digit whatever ``batch_rows`` is, and from a file as from tensors.

    A file is read a few rows at a time: the memory does not grow with its rows (.csv, .npz and .pt are held whole).
    Where the process is one of several ranks, joined already or started by ``torchrun``, they share the rows of a file
    out, by whole row groups where there are enough; every rank has to make the call, and has the result of all rows.
    Tensors are this rank's own, and stay so.

    Args:
        loss: a loss of losscope, its name, or a torch loss module.
        z: raw outputs, as the loss takes them; or the file that holds them: .npz, .npy, .safetensors, .csv, .tsv,
            .parquet or .pt, a folder of .parquet or .npy files; or a :class:`losscope.io.Source`.
        y: targets, as the loss takes them; of a file, the targets' own file where they have one.
        outputs: the name of z in the file, as :func:`losscope.io.open_source` takes it.
        targets: the name of the targets in the file, likewise.
        batch_rows: how many rows are looked at at a time; the result does not depend on it. None: as many as fit
            a bounded memory.
        progress: a bar on stderr while a file is read, where that is a terminal.
        labels: as :class:`Summary`.
        top_k: as :class:`Summary`.
        worst: as :class:`Summary`.
        class_limit: as :class:`Summary`.

    Returns:
        A :class:`CategoricalSummary`, :class:`BinarySummary` or :class:`RegressionSummary`.

    Raises:
        InputError: shapes, dtypes, values or options do not fit; the file is missing, damaged, or has no such names;
            on another rank something of this kind was wrong, or it is gone.

    Example:
        >>> z = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> result = summarize("cross_entropy", z, torch.tensor([0, 0, 1]), labels=("cat", "dog"))
        >>> round(result.loss, 4), result.confusion.tolist()
        (0.4963, [[1, 1], [0, 1]])
        >>> result.worst[0].index, round(result.worst[0].loss, 4)
        (1, 1.3133)

        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> file = Path(folder.name) / "outputs.csv"
        >>> _ = file.write_text(chr(10).join(["z_0,z_1,y", "2,0,0", "0,1,0", "0,3,1"]))
        >>> round(summarize("cross_entropy", file, batch_rows=2).loss, 4)
        0.4963
        >>> folder.cleanup()
    """
    if batch_rows is not None:
        whole_number("batch_rows", batch_rows, 1)
    make = partial(Summary, loss, labels=labels, top_k=top_k, worst=worst, class_limit=class_limit)
    if not isinstance(z, FILE):
        check_at_hand("summarize", y, outputs, targets)
        return _of_tensors(make(sync_on_compute=False), z, y, batch_rows)
    with ranks.together() as group:

        def measured() -> Summary:
            summary = make(process_group=group)
            data = opened("summarize", z, y, outputs, targets).taken_as(indices=summary.loss.takes_indices)
            with bars.progress(shown=progress and ranks.rank() == 0) as told:
                return stream(summary, data, ranks.share(data), batch_rows, told)

        return ranks.agree(measured).compute()


def stream(
    summary: Summary,
    data: Data,
    part: tuple[int, int] | None = None,
    batch_rows: int | None = None,
    told: Callable[[int, int], None] = lambda done, rows: None,
) -> Summary:
    """The summary with rows added, a few at a time.

    Args:
        summary: to add to.
        data: the rows.
        part: the first row, and the one after the last; all of them unless given.
        batch_rows: how many at a time.
        told: is called with how many rows are done, and of how many.

    Raises:
        InputError: a row cannot be read, or does not fit the loss.
    """
    start, stop = (0, len(data)) if part is None else part
    at = start
    for z, y in data.batches(batch_rows or rows_at_once(data), start, stop):
        try:
            summary.update(z, y, index=at)
        except InputError as error:
            rows = f"rows {at:,} to {at + len(y) - 1:,}"
            raise InputError(rows, error.expected, error.got, error.fix) from error
        at += len(y)
        told(at - start, stop - start)
    return summary


def _of_tensors(summary: Summary, z: Tensor, y: Any, batch_rows: int | None) -> SummaryResult:
    batched = isinstance(z, Tensor) and isinstance(y, Tensor) and z.ndim > summary.unbatched() and y.ndim > 0
    if batch_rows is None or not batched or len(z) != len(y):  # what does not fit is told by update
        summary.update(z, y)
        return summary.compute()
    for start in range(0, max(len(z), 1), batch_rows):
        summary.update(z[start : start + batch_rows], y[start : start + batch_rows])
    return summary.compute()
