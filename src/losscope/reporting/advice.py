"""What to do next: what the numbers of a summary ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from losscope.figures.numbers import counted, number
from losscope.losses import CrossEntropyLoss, Loss
from losscope.summary import BinarySummary, CategoricalSummary, RegressionSummary, SummaryResult
from losscope.summary.result import Temperature

CHI_SQUARE_95 = 3.841  # with one degree of freedom: chance exceeds it once in 20 times


class Advice(NamedTuple):
    """One thing to do: the reason in words, and the code where there is some."""

    text: str
    code: str = ""


def advice(summary: SummaryResult, loss: Loss) -> list[Advice]:
    """In the order in which to do it."""
    return [*_broken(summary), *_BY_KIND[type(summary)](summary, loss), *_look_at_worst(summary)]


def first_of_all(findings: Sequence[dict[str, Any]]) -> list[Advice]:
    """The remedies of the linter's errors and warnings, each once."""
    serious = [finding for finding in findings if finding["severity"] != "info"]
    return [Advice(f"Put right what the linter found: {finding['title']}.", finding["remedy"]) for finding in serious]


def _broken(summary: SummaryResult) -> Iterator[Advice]:
    if not summary.num_counted:
        yield Advice("Nothing counts: every target is ignored. Check ignore_index and the targets.")
    if summary.num_nan:
        yield Advice(f"ℓ is NaN for {summary.num_nan:,} of them. Find where NaN enters before anything else.")
    if summary.num_infinite:
        yield Advice(f"ℓ is infinite for {summary.num_infinite:,} of them: {_why_infinite(summary)}")


def _why_infinite(summary: SummaryResult) -> str:
    if isinstance(summary, RegressionSummary):
        return "an output or a target is infinite, or too large to be squared. Check the scale of both."
    return "their true class is masked (z = −inf) or has probability 0. Check the mask."


def _expected(loss: Loss) -> str:
    """What the outputs have to be."""
    return _OUTPUTS[loss.link.space]


def _categorical(summary: CategoricalSummary, loss: Loss) -> Iterator[Advice]:
    if summary.nll >= summary.chance > 0:  # one class alone is always guessed
        yield Advice(
            f"The mean ℓ of {number(summary.nll)} nats is no better than a guess ({number(summary.chance)}). "
            f"Check that the classes of outputs and targets are in the same order, and that {_expected(loss)}."
        )
    yield from _calibration(summary, loss)
    never = torch.nonzero((summary.classes.predicted == 0) & (summary.classes.support > 0)).flatten().tolist()
    if never:
        some = ", ".join(f"'{summary.classes.name(h)}'" for h in never[:5])
        yield Advice(
            f"Of the classes that occur {len(never):,} {'is' if len(never) == 1 else 'are'} never decided for "
            f"({some}{', …' if len(never) > 5 else ''}). Give weight there, or more samples."
        )
    if summary.top_confusions:
        top = summary.top_confusions[0]
        name = summary.classes.name
        yield Advice(
            f"The most frequent mistake takes '{name(top.target)}' for '{name(top.decision)}' "
            f"({counted(top.count, 'time')}). Look at these samples first."
        )


def _calibration(summary: CategoricalSummary, loss: Loss) -> Iterator[Advice]:
    best, ece = summary.temperature, summary.calibration
    if best is None or ece.ece <= ece.null.high:
        return
    off = (
        f"The confidences are off by more than chance (ECE {number(ece.ece)}, a calibrated model of this size "
        f"shows at most {number(ece.null.high)})."
    )
    if not _helps(best, summary.num_counted):
        yield Advice(
            f"{off} No one temperature puts that right. Look in the reliability figure at which confidences are too "
            f"large and which too small."
        )
        return
    left = ", still more than chance" if best.ece > ece.null.high else ""
    beyond = " That is the last T that was tried: the best lies there or beyond." if best.at_edge else ""
    yield Advice(
        f"{off} Dividing {_divided(loss)} by T = {number(best.temperature)} brings the mean ℓ from "
        f"{number(best.nll_before)} to {number(best.nll)} nats and the ECE to {number(best.ece)}{left}; no decision "
        f"changes.{beyond} Fit T on samples that you do not test on.",
        f"losscope.softmax({_in_code(loss)} / {best.temperature:.3g}, 1)",
    )


def _softcap(loss: Loss) -> float | None:
    return loss.softcap if isinstance(loss, CrossEntropyLoss) else None


def _divided(loss: Loss) -> str:
    """What T was fitted on, in words."""
    return "z" if _softcap(loss) is None else "the softcapped z"


def _in_code(loss: Loss) -> str:
    """The same as an expression in z."""
    c = _softcap(loss)
    return "z" if c is None else f"{c!r} * torch.tanh(z / {c!r})"


def _helps(best: Temperature, count: int) -> bool:
    """ℓ falls by what a reader can see, and by more than fitting T gains from chance alone; and the ECE falls too.

    In a calibrated model 2 N (ℓ(1) − ℓ(T)) is χ² with one degree of freedom (Wilks 1938).
    """
    seen = number(best.nll) != number(best.nll_before)
    return seen and 2 * count * (best.nll_before - best.nll) > CHI_SQUARE_95 and best.ece < best.ece_before


def _binary(summary: BinarySummary, loss: Loss) -> Iterator[Advice]:
    if summary.nll >= summary.chance:
        yield Advice(
            f"The mean ℓ of {number(summary.nll)} nats is no better than a guess (ln 2). Check that the labels of "
            f"outputs and targets are in the same order, and that {_expected(loss)}."
        )
    curve = summary.pooled_thresholds
    best = float(curve.best[0])
    half = float(curve.f1[0, len(curve.thresholds) // 2].nan_to_num(0.0))
    reached = float(curve.f1[0].nan_to_num(0.0).max())
    if reached > half + 0.01:
        yield Advice(
            f"A decision at ŷ ≥ {number(best)} instead of 1/2 has an F1 of {number(reached)} instead of "
            f"{number(half)}. Choose the "
            f"threshold on samples that you do not test on.",
            _decision_at(best, loss) if 0 < best < 1 else "",
        )
    never = int((summary.classes.support == 0).sum())
    if never:
        are, them = ("is", "it") if never == 1 else ("are", "them")
        yield Advice(f"{counted(never, 'label')} {are} never true here: nothing can be said about {them}.")


def _decision_at(threshold: float, loss: Loss) -> str:
    """The decision as code, in what the loss takes."""
    if loss.link.space == "probability":
        return f"ŷ >= {threshold:.3g}"
    return f"z >= {math.log(threshold / (1 - threshold)):.3g}"


def _regression(summary: RegressionSummary, loss: Loss) -> Iterator[Advice]:
    if summary.r2 <= 0:
        yield Advice(
            f"R² is {number(summary.r2)}: always saying the mean of the targets would be as good. Check the "
            f"scale of the "
            f"targets, and that outputs and targets belong to the same rows."
        )
    if abs(summary.bias) > 0.3 * summary.rmse:
        side = "above" if summary.bias > 0 else "below"
        yield Advice(
            f"The network says {number(abs(summary.bias))} {side} the target on average, a large part of its "
            f"root mean square "
            f"residual of {number(summary.rmse)}: one constant would take it out."
        )


def _look_at_worst(summary: SummaryResult) -> Iterator[Advice]:
    if summary.worst and summary.worst[0].loss > 0:  # neither NaN nor already perfect
        yield Advice(
            f"Look at the worst samples: sample {summary.worst[0].index:,} has ℓ = "
            f"{number(summary.worst[0].loss)}. A wrong "
            f"target costs the most of all, and is the cheapest to put right."
        )


_OUTPUTS = {
    "logit": "z are raw outputs and no probabilities",
    "log-probability": "z are log-probabilities, as log_softmax gives them, and no raw outputs",
    "probability": "the outputs are probabilities, as a sigmoid gives them, and no raw outputs",
}

_BY_KIND: dict[type[SummaryResult], Callable[[Any, Loss], Iterator[Advice]]] = {
    CategoricalSummary: _categorical,
    BinarySummary: _binary,
    RegressionSummary: _regression,
}
