"""Where things stand: the class dimension, and the alignment of a sequence with its labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from losscope.linting.context import Context
from losscope.linting.finding import ERROR, WARNING, Finding
from losscope.linting.reading import LIMIT, classes_last, expected_shape
from losscope.linting.rule import CATEGORICAL, Rule, rule
from losscope.linting.statistics import pick, z_score

_ENOUGH = 64
_SURE = 5.0
_GAIN = 0.05


@rule("class-dim-last", ERROR, CATEGORICAL, kind=True)
def class_dim_last(rule: Rule, c: Context) -> Iterator[Finding]:
    """The classes are the last dimension, and the loss takes them in dimension 1."""
    shape = tuple(c.z.shape)
    if classes_last(c.z, c.y) and not c.y.is_floating_point():
        sentence = (
            f"outputs {shape} beside targets {tuple(c.y.shape)}: the targets fit only if the {shape[-1]} classes are"
        )
        sentence += " last, and the loss takes them in dimension 1"
        figures: dict[str, float] = {"classes": shape[-1]}
    else:
        losses = _both_readings(c)
        if losses is None:
            return
        here, last = losses
        sentence = (
            f"outputs {shape}: dimension 1 and the last are equally long, so nothing raises; read with the classes"
        )
        sentence += f" in dimension 1 the loss is {here:.4g}, read with them last it is {last:.4g}"
        figures = {"loss_dimension_1": here, "loss_last_dimension": last}
    yield rule.found("the classes seem to be in the last dimension", sentence, "z = z.movedim(-1, 1)", None, **figures)


def _both_readings(c: Context) -> tuple[float, float] | None:
    """The mean losses of the two readings, where only the second knows the labels."""
    z, y = c.z, c.y
    if z.ndim < 3 or y.is_floating_point() or z.shape[1] != z.shape[-1] or tuple(y.shape) != expected_shape(z):
        return None
    if tuple(z.shape[:-1]) != tuple(y.shape) or not z.is_floating_point():
        return None
    some = _some(z)
    z, y = z[some].float(), y[some].long()
    h = z.shape[-1]
    counted = ((y != c.ignore_index) & (y >= 0) & (y < h)).flatten()
    index = y.flatten().where(counted, 0)
    here, last = (-pick(x.reshape(-1, h).log_softmax(1), index)[counted] for x in (z.movedim(1, -1), z))
    if not _knows(last, here, index[counted], h):
        return None
    return float(here.mean()), float(last.mean())


def _some(z: Tensor) -> slice:
    """The first samples, as many as are read."""
    return slice(max(1, LIMIT // max(1, math.prod(z.shape[1:]))))


def _knows(better: Tensor, worse: Tensor, index: Tensor, h: int) -> bool:
    """One reading knows nothing of the labels, the other surely does.

    Knowing is to beat −ln f_y, the loss of the labels' own frequencies, sample by sample; outputs that are independent
    of the labels cannot, on average (Gibbs' inequality).
    """
    if better.numel() < _ENOUGH or not bool(better.isfinite().all() & worse.isfinite().all()):
        return False
    frequencies = torch.bincount(index, minlength=h).double() / index.numel()
    chance = -frequencies[index].log()
    gain = chance - better.double()
    return float(worse.mean()) >= float(chance.mean()) and float(gain.mean()) > _GAIN and z_score(gain) > _SURE


@rule("shifted-labels", WARNING, CATEGORICAL, presumes=True)
def shifted_labels(rule: Rule, c: Context) -> Iterator[Finding]:
    """The outputs fit the labels one position before or after far better than their own."""
    found = _sequences(c)
    if found is None:
        return
    s, y, counted = found
    inner = slice(1, -1)
    keep = counted[:, inner] & counted[:, :-2] & counted[:, 2:]
    losses = {k: _losses(s[..., inner], y.roll(-k, 1)[:, inner], keep) for k in (-1, 0, 1)}
    best = min((-1, 1), key=lambda k: float(losses[k].mean()) if losses[k].numel() else torch.inf)
    target = y.roll(-best, 1)[:, inner]
    if not _knows(losses[best], losses[0], target[keep], s.shape[1]) or _copies(s[..., inner], target, keep):
        return
    own, shifted = float(losses[0].mean()), float(losses[best].mean())
    yield rule.found(
        f"the labels seem to be shifted by one: output t fits label t{best:+d}",
        f"over {losses[0].numel():,} positions the loss is {own:.4g} nats against their own label and {shifted:.4g}"
        f" against the {'next' if best > 0 else 'previous'} one",
        "loss(z[:, :, :-1], y[:, 1:])  # once, in the model or here"
        if best > 0
        else "shift the labels once, not twice",
        loss_at_0=own,
        loss_at_shift=shifted,
        shift=best,
        positions=losses[0].numel(),
    )


def _sequences(c: Context) -> tuple[Tensor, Tensor, Tensor] | None:
    """Log-probabilities (n, H, L), indices and what counts (n, L); rows (N, H) in order are one sequence."""
    z, y = c.z, c.y
    if (
        z.ndim not in (2, 3)
        or not z.is_floating_point()
        or y.is_floating_point()
        or tuple(y.shape) != expected_shape(z)
    ):
        return None
    if z.ndim == 2:
        z, y = z[: LIMIT // z.shape[1]].T.unsqueeze(0), y[: LIMIT // z.shape[1]].unsqueeze(0)
    else:
        z, y = z[_some(z)], y[_some(z)]
    if z.shape[1] < 2 or z.shape[2] < 8 or y.numel() < _ENOUGH:
        return None
    counted = (y != c.ignore_index) & (y >= 0) & (y < z.shape[1])
    s = (z if z.dtype == torch.float64 else z.float()).log_softmax(1)
    return s, y.long().where(counted, 0), counted


def _losses(s: Tensor, y: Tensor, keep: Tensor) -> Tensor:
    return -s.gather(1, y.unsqueeze(1)).squeeze(1)[keep]


def _copies(s: Tensor, y: Tensor, keep: Tensor) -> bool:
    """Right nearly always and yet unsure: an untrained model with tied embeddings, which repeats its input."""
    top = s.max(1)
    right = float((top.indices == y)[keep].float().mean())
    return right > 0.3 + float(top.values.exp()[keep].mean())
