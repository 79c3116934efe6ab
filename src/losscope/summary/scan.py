"""One visit to each row of raw outputs: all that a summary needs to know of a sample, in float64.

A row is computed the same way wherever it stands in a batch, by the same instructions in the same order, so that
what is measured does not depend on how the rows were batched. torch's element-wise operators do not promise that:
their vectors and their remainders use two different exponentials.

With a_h = z_h − max_h z_h and β = 1/T the row gives Σ_h e^{β a_h} and Σ_h a_h e^{β a_h} on a grid of 25 temperatures;
four exponentials and their squares are enough for all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from losscope.kernels.cpu.functions import EXACT, SUMS, exp, tanh
from losscope.kernels.cpu.intrinsics import larger

_larger: Any = larger  # an intrinsic has no type of its own

GRID = 2.0 ** (np.arange(-12, 13) / 4)  # temperatures, 1/8 … 8
ONE = 12  # GRID[ONE] is 1
_BLOCK = 256  # classes at a time, for the first-level cache
_NOTHING = -6000.0  # e^{a/8} is 0 in float64 from here down; keeps 0·(−inf) out
_WORTH_A_THREAD = 1 << 18  # numbers


class Options(NamedTuple):
    """What a categorical loss does to a row; 0 is off."""

    smoothing: float
    gamma: float
    z_loss: float
    softcap: float
    normalised: bool  # False: z are log-probabilities already, and lse is not taken out


class Rows(NamedTuple):
    """What each row gave.

    Attributes:
        loss: ℓ_i with every option of the loss.
        weight: its part of the divisor of the mean.
        nll: ℓ_i without any option.
        entropy: of ŷ, in nats.
        confidence: max_h ŷ_ih.
        truth_probability: ŷ of the truth.
        truth: y_i, or argmax_h q_ih.
        decision: d_i.
        rank: how many classes come before the truth.
        at: (n, 25, 3), on the grid of temperatures: ℓ_i, its derivative by ln β, and max_h ŷ_ih.
    """

    loss: NDArray[np.float64]
    weight: NDArray[np.float64]
    nll: NDArray[np.float64]
    entropy: NDArray[np.float64]
    confidence: NDArray[np.float64]
    truth_probability: NDArray[np.float64]
    truth: NDArray[np.int64]
    decision: NDArray[np.int64]
    rank: NDArray[np.int64]
    at: NDArray[np.float64]


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _largest(z: Any) -> Any:
    """max_h z_h, NaN if there is one."""
    top, has_nan = z[0], z[0] != z[0]
    for h in range(1, z.size):
        has_nan |= z[h] != z[h]
        top = _larger(top, z[h])  # which passes over it
    return np.nan if has_nan else top


@njit(error_model="numpy", cache=True)
def _first(z: Any, top: Any) -> Any:
    """argmax_h z_h: the first of equal ones, and the first NaN, as torch's."""
    for h in range(z.size):
        if z[h] == top or z[h] != z[h]:
            return h
    return 0


@njit(error_model="numpy", cache=True)
def _rank(z: Any, y: Any) -> Any:
    """How many classes are before y, in the order of their outputs and then of their numbers."""
    before = 0
    for h in range(z.size):
        before += z[h] > z[y]
    for h in range(y):
        before += z[h] == z[y]
    return before


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _capped(x: Any, cap: Any) -> Any:
    """cap·tanh(x/cap), a mask stays one."""
    return cap * tanh(x / cap) if cap and x != -np.inf else x


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _shift(z: Any, first: Any, last: Any, m: Any, cap: Any, a: Any) -> None:
    """a_h = z_h − m of a block."""
    for h in range(first, last):
        x = _capped(np.float64(z[h]), cap) - m
        a[h - first] = _NOTHING if x < _NOTHING else x


@njit(fastmath=SUMS, error_model="numpy", cache=True)
def _sums(a: Any, e: Any, count: Any) -> Any:
    """(Σ e_h, Σ a_h e_h), and e is squared on the way: from β to 2β."""
    plain, tilted = 0.0, 0.0
    for h in range(count):
        plain += e[h]
        tilted += a[h] * e[h]
        e[h] *= e[h]
    return plain, tilted


@njit(fastmath=EXACT, error_model="numpy", cache=True)
def _exponentials(a: Any, e: Any, count: Any, beta: Any) -> None:
    for h in range(count):
        e[h] = exp(beta * a[h])


@njit(error_model="numpy", cache=True)
def _over_grid(z: Any, m: Any, cap: Any, a: Any, e: Any, plain: Any, tilted: Any) -> None:
    """Σ_h e^{β a_h} and Σ_h a_h e^{β a_h} for every β of the grid."""
    plain[:] = 0.0
    tilted[:] = 0.0
    for first in range(0, z.size, _BLOCK):
        count = min(_BLOCK, z.size - first)
        _shift(z, first, first + count, m, cap, a)
        for quarter in range(4):
            _exponentials(a, e, count, 2.0 ** (quarter / 4 - 3))
            for k in range(24 - quarter, -1, -4):
                part = _sums(a, e, count)
                plain[k] += part[0]
                tilted[k] += part[1]


@njit(fastmath=SUMS, error_model="numpy", cache=True)
def _over_uniform(z: Any, m: Any, cap: Any, w: Any) -> Any:
    """(Σ_h u_h w_h, Σ_h u_h w_h a_h), u_h = 1/K on the K classes that are not masked."""
    mass, tilt, count = 0.0, 0.0, 0
    for h in range(z.size):
        if z[h] != -np.inf:
            mass += w[h]
            tilt += w[h] * (_capped(np.float64(z[h]), cap) - m)
            count += 1
    return mass / count, tilt / count


@njit(fastmath=SUMS, error_model="numpy", cache=True)
def _over_target(z: Any, q: Any, m: Any, cap: Any, w: Any) -> Any:
    """(Σ_h w_h q_h, Σ_h w_h q_h a_h); a class without weight in the target adds nothing."""
    mass, tilt = 0.0, 0.0
    for h in range(z.size):
        share = w[h] * q[h]
        if share != 0:
            mass += share
            tilt += share * (_capped(np.float64(z[h]), cap) - m)
    return mass, tilt


@njit(error_model="numpy", cache=True)
def _loss(mass: Any, tilt: Any, uniform: Any, lse: Any, m: Any, nll: Any, options: Any) -> Any:
    """Σ_h w_h q_h f_h with q mixed with the uniform: Q (lse + λ lse²) − A, Q = Σ w q, A = Σ w q a."""
    eps, square = options.smoothing, options.z_loss * (m + lse) ** 2
    if options.gamma:
        return mass * ((-np.expm1(-nll)) ** options.gamma * nll + square)
    loss = mass * (lse + square) - tilt
    if eps:
        flat = uniform[0] * (lse + square) - uniform[1]
        loss = flat if eps == 1.0 else (1 - eps) * loss + eps * flat
    return loss


@njit(error_model="numpy", nogil=True, cache=True)
def _row(i: Any, z: Any, q: Any, y: Any, soft: Any, w: Any, ones: Any, options: Any, work: Any, out: Any) -> None:
    """Everything of row i; the truth is y where there is no q."""
    a, e, plain, tilted = work[0], work[1], work[2], work[3]
    top = _largest(z)
    m = _capped(np.float64(top), options.softcap)
    _over_grid(z, m, options.softcap, a, e, plain, tilted)
    lse = np.log(plain[ONE]) if options.normalised else -m
    a_truth = _capped(np.float64(z[y]), options.softcap) - m

    if soft:
        q_mass, q_tilt = _over_target(z, q, m, options.softcap, ones)
        mass, tilt = _over_target(z, q, m, options.softcap, w)
    else:
        q_mass, q_tilt = 1.0, a_truth
        mass, tilt = w[y], w[y] * a_truth if w[y] else 0.0
    nll = q_mass * lse - q_tilt
    uniform = _over_uniform(z, m, options.softcap, w) if options.smoothing else (0.0, 0.0)

    out.loss[i] = _loss(mass, tilt, uniform, lse, m, nll, options)
    out.weight[i] = 1.0 if soft else w[y]
    out.nll[i] = nll
    out.entropy[i] = np.exp(-lse) * (plain[ONE] * lse - tilted[ONE])
    out.confidence[i] = np.exp(-lse)
    out.truth_probability[i] = np.exp(a_truth - lse)
    out.truth[i] = y
    out.decision[i] = _first(z, top)
    out.rank[i] = _rank(z, y) if top == top else z.size * (out.decision[i] != y)
    for k in range(plain.size):
        beta = 1 / GRID[k]
        out.at[i, k, 0] = q_mass * np.log(plain[k]) - beta * q_tilt
        out.at[i, k, 1] = beta * (q_mass * tilted[k] / plain[k] - q_tilt)
        out.at[i, k, 2] = 1 / plain[k]


@njit(error_model="numpy", nogil=True, cache=True)
def _rows(start: Any, stop: Any, z: Any, y: Any, q: Any, w: Any, options: Any, out: Any) -> None:
    """The rows from start to stop."""
    work = (np.empty(_BLOCK), np.empty(_BLOCK), np.empty(GRID.size), np.empty(GRID.size))
    soft, ones = q.size > 0, np.ones_like(w)
    for i in range(start, stop):
        row = q[i] if soft else q[0:0].reshape(-1)
        truth = _first(row, _largest(row)) if soft else y[i]
        _row(i, z[i], row, truth, soft, w, ones, options, work, out)


def categorical(
    z: NDArray[Any], y: NDArray[np.int64], q: NDArray[Any] | None, w: NDArray[np.float64], options: Options
) -> Rows:
    """Scan rows (n, H) that all count, with index targets y or soft targets q."""
    n = len(z)
    loss, weight, nll, entropy, confidence, probability = np.empty((6, n))
    truth, decision, rank = np.empty((3, n), np.int64)
    at = np.empty((n, GRID.size, 3))
    rows = Rows(loss, weight, nll, entropy, confidence, probability, truth, decision, rank, at)
    none = np.empty((0, 0), z.dtype)
    in_threads(lambda i, j: _rows(i, j, z, y, none if q is None else q, w, options, rows), n, z.size + rows.at.size)
    return rows


def in_threads(work: Callable[[int, int], None], n: int, size: int) -> None:
    """Call work(start, stop) for parts of 0…n, on as many of torch's threads as the size is worth."""
    threads = max(1, min(torch.get_num_threads(), size // _WORTH_A_THREAD))
    bounds = [n * t // threads for t in range(threads + 1)]
    if threads == 1:
        work(0, n)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
