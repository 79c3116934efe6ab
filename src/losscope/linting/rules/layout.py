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
    z, y = z[some].float(), y[some].long().flatten()
    counted = (y != c.ignore_index) & (y >= 0) & (y < z.shape[-1])
    here, last = (x.reshape(-1, z.shape[-1]).log_softmax(1)[counted] for x in (z.movedim(1, -1), z))
    return _only_second_knows((here, y[counted]), (last, y[counted]))


Pairs = tuple[Tensor, Tensor]
"""Log-probabilities (n, H) and the indices (n,) they are paired with."""


def _only_second_knows(first: Pairs, second: Pairs) -> tuple[float, float] | None:
    """The mean losses, where the first pairing knows nothing of the labels and the second surely does.

    Knowing is to be better than with labels that are independent of the outputs, Σ_h f_h (−s_ih), and no worse than
    the frequencies alone, −ln f_y. An untrained model may be better than independent by luck, but hardly than the
    frequencies; a half-trained one is far better than independent and about as good as they are.
    """
    s, y = second
    if len(y) < _ENOUGH or not bool(s.isfinite().all()) or not bool(first[0].isfinite().all()):
        return None
    (own, own_gain, chance), (loss, gain, _) = _measured(*first), _measured(*second)
    if own.mean() < chance.mean() or own_gain.mean() > 0.5 * gain.mean():
        return None
    beaten = chance - loss
    beats = float(beaten.mean()) > _GAIN and z_score(beaten) > 5
    rivals = float(beaten.mean()) > -0.15 and float(gain.mean()) > 0.5 and z_score(gain) > 8
    return (float(own.mean()), float(loss.mean())) if beats or rivals else None


def _measured(s: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ℓ_i; how much it is below that of independent labels; and the loss of the frequencies alone."""
    f = torch.bincount(y, minlength=s.shape[1]).double() / len(y)
    loss = -pick(s, y).double()
    return loss, -(s.double() @ f) - loss, -f[y].log()


def _some(z: Tensor) -> slice:
    """The first samples, as many as are read."""
    return slice(max(1, LIMIT // max(1, math.prod(z.shape[1:]))))


@rule("shifted-labels", WARNING, CATEGORICAL, presumes=True)
def shifted_labels(rule: Rule, c: Context) -> Iterator[Finding]:
    """The outputs fit the labels one position before or after far better than their own."""
    found = _sequences(c)
    if found is None:
        return
    s, y, counted = found
    inner = slice(1, -1)
    keep = counted[:, inner] & counted[:, :-2] & counted[:, 2:]
    rows = s.movedim(1, 2)[:, inner][keep]
    index = {k: y.roll(-k, 1)[:, inner][keep] for k in (-1, 0, 1)}
    best = min((-1, 1), key=lambda k: float(-pick(rows, index[k]).mean()))
    losses = _only_second_knows((rows, index[0]), (rows, index[best]))
    if losses is None or _copies(rows, index[best]):
        return
    own, shifted = losses
    yield rule.found(
        f"the labels seem to be shifted by one: output t fits label t{best:+d}",
        f"over {len(rows):,} positions the loss is {own:.4g} nats against their own label and {shifted:.4g}"
        f" against the {'next' if best > 0 else 'previous'} one",
        "loss(z[:, :, :-1], y[:, 1:])  # once, in the model or here"
        if best > 0
        else "shift the labels once, not twice",
        loss_at_0=own,
        loss_at_shift=shifted,
        shift=best,
        positions=len(rows),
    )


def _sequences(c: Context) -> tuple[Tensor, Tensor, Tensor] | None:
    """Log-probabilities (n, H, L), indices and what counts (n, L); rows (N, H) in order are one sequence."""
    z, y = c.z, c.y
    fits = z.ndim in (2, 3) and tuple(y.shape) == expected_shape(z)
    if not fits or not z.is_floating_point() or y.is_floating_point() or z.shape[1] < 2:
        return None
    z, y = z[_some(z)], y[_some(z)]
    if z.ndim == 2:
        z, y = z.T.unsqueeze(0), y.unsqueeze(0)
    if z.shape[2] < 8 or y.numel() < _ENOUGH:
        return None
    counted = ~c.is_ignored(y) & (y >= 0) & (y < z.shape[1])
    s = (z if z.dtype == torch.float64 else z.float()).log_softmax(1)
    return s, y.long().where(counted, 0), counted


def _copies(s: Tensor, y: Tensor) -> bool:
    """Right nearly always and yet unsure: an untrained model with tied embeddings, which repeats its input."""
    top = s.max(1)
    return float((top.indices == y).double().mean()) > 0.3 + float(top.values.exp().double().mean())
