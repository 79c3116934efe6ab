"""One case measured: each contender's time, how it spreads, its peak of memory, and ours against each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from math import ceil
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch

from losscope.bench.cases import Case, Contender
from losscope.bench.machine import allocator
from losscope.bench.memory import peak_of
from losscope.bench.timing import in_turn, milliseconds

TURN = 5.0
"""Milliseconds of a turn at least: a call of microseconds after another library's would measure how cold it is."""


class Measured(NamedTuple):
    """One contender.

    Attributes:
        name: "losscope", "torch", "torch.compile" or "optax".
        milliseconds: the median.
        spread: its lower and upper quartile.
        ratio: the median over the rounds of its time by ours; above 1 ours is faster.
        peak: bytes one call holds at its peak beside what was there before; None where nobody tells.
    """

    name: str
    milliseconds: float
    spread: tuple[float, float]
    ratio: float
    peak: int | None


def measure(case: Case, seconds: float, *, compiled: bool = True, optax: bool = True) -> list[Measured]:
    """Ours first, then each peer that can be had here.

    Args:
        case: what is compared.
        seconds: about how long the rounds take together. In each every contender has a turn of 5 ms or one call.
        compiled: whether torch.compile is a peer.
        optax: whether optax under jax.jit is a peer, where it is installed.
    """
    contenders = {"losscope": _torch_step(case, case.ours), "torch": _torch_step(case, case.torchs)}
    if compiled:
        torch.compiler.reset()
        loss = torch.compile(case.torchs.loss)
        contenders["torch.compile"] = _torch_step(case, Contender(loss, case.torchs.arguments))
    if optax and find_spec("jax") and find_spec("optax"):
        contenders["optax"] = _optax_step(case)
    for step in contenders.values():
        step()
    kept = allocator() != "default"  # one that keeps what it was given back shows no peaks
    peaks = {name: None if kept else peak_of(step) for name, step in contenders.items()}
    times = list(zip(*_rounds(list(contenders.values()), seconds), strict=True))
    return [
        Measured(name, median(mine), _quartiles(mine), median(t / o for t, o in zip(mine, times[0], strict=True)), peak)
        for (name, peak), mine in zip(peaks.items(), times, strict=True)
    ]


def _rounds(steps: list[Callable[[], None]], seconds: float) -> list[tuple[float, ...]]:
    """The milliseconds of one call of each in every round; short calls are repeated until a turn is a turn."""
    calls = [max(1, ceil(TURN / min(milliseconds(step) for _ in range(3)))) for step in steps]
    rounds = in_turn([partial(_repeat, step, count) for step, count in zip(steps, calls, strict=True)], seconds)
    return [tuple(time / count for time, count in zip(times, calls, strict=True)) for times in rounds]


def _repeat(step: Callable[[], None], count: int) -> None:
    for _ in range(count):
        step()


def _quartiles(times: tuple[float, ...]) -> tuple[float, float]:
    low, _, high = quantiles(times, n=4)
    return low, high


def _torch_step(case: Case, contender: Contender) -> Callable[[], None]:
    """One call with its backward, the gradient dropped before the next; or one call without."""
    z = case.z.detach().requires_grad_(case.training)

    def step() -> None:
        z.grad = None
        with torch.set_grad_enabled(case.training), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own
            loss = contender.loss(z, *contender.arguments)
            if case.training:
                loss.backward()  # type: ignore[no-untyped-call]
        z.grad = None

    return step


def _optax_step(case: Case) -> Callable[[], None]:
    """The same loss in JAX, compiled for the CPU."""
    import jax
    import jax.numpy as jnp
    import optax

    def to_jax(x: torch.Tensor) -> Any:
        return jnp.asarray(x.numpy()) if x.dtype != torch.bfloat16 else jnp.asarray(x.float().numpy(), jnp.bfloat16)

    z, arguments = to_jax(case.z.detach()), tuple(map(to_jax, case.torchs.arguments))

    def loss(z: Any, arguments: tuple[Any, ...]) -> Any:
        return case.optax(optax, jnp, z, arguments)

    function = jax.jit(jax.value_and_grad(loss) if case.training else loss)
    return lambda: jax.block_until_ready(function(z, arguments))
