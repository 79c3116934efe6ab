"""What goes wrong: each of the linter's rules, with the mistake to plant."""

from __future__ import annotations

from typing import Any

import marimo as mo
import torch
from torch import Tensor

from losscope.figures.style import figure
from losscope.figures.style import table as numbers_of
from losscope.learn import page
from losscope.learn.mistakes import MISTAKES, Case
from losscope.linting import LintResult

TITLE = "What goes wrong"
FIRST, MOST_BARS = "softmax-before-cross-entropy", 12


def views(v: dict[str, Any]) -> tuple[page.View]:
    """The loss, its gradient and the findings, with the mistake or without."""
    right, wrong = MISTAKES[v["rule"]]()
    case = wrong if v["wrong"] else right
    measured = case.measure()
    numbers: dict[str, page.Number] = {}
    if measured.loss is not None and measured.gradient is not None:
        per_sample = measured.gradient.flatten(1).double().norm(dim=1)
        numbers = {"L_mean": measured.loss, "mean ‖∂L/∂z_i‖": per_sample.mean()}
    shown = [page.readout(numbers)] if numbers else []
    shown += [page.refused(measured.error)] if measured.error else []
    body = page.stack(
        page.words(
            "Most mistakes around a loss raise nothing: the numbers go down, slowly, to the wrong place. "
            "`losscope lint` and `ls.watch` know these. Choose one, and flip the switch."
        ),
        page.code(case.code),
        page.stack(*shown),
        page.picture(_gradients(right, wrong, v["wrong"])),
        _findings(case.lint(), v["rule"]),
        page.code("ls.lint(z, y, loss=loss)  # once\nloss = ls.watch(loss)  # while training"),
    )
    return (page.View(("rule", "wrong"), numbers, body),)


def _findings(found: LintResult, asked: str) -> mo.Html:
    if not found.findings:
        return page.note("good", f"lint: ok, {len(found.checked)} rules found nothing", [])
    ordered = sorted(found, key=lambda finding: finding.rule != asked)
    return page.stack(
        *(
            page.note(
                finding.severity.value,
                f"{finding.severity.value}: {finding.title}",
                [("rule", finding.rule), ("evidence", finding.sentence), ("what to do", finding.remedy)],
            )
            for finding in ordered
        )
    )


def _gradients(right: Case, wrong: Case, planted: bool) -> Any:
    """The gradient of one sample, done right and with the mistake."""
    both = {"right": _first(right), **({"with the mistake": _first(wrong)} if planted else {})}
    length = max(len(g) for g in both.values())
    names = [str(k) for k in range(length)]
    rows = [
        [name, *(float(f"{float(g[k]):.3g}") if k < len(g) else "" for g in both.values())]
        for k, name in enumerate(names)
    ]
    result = figure(
        "The gradient that reaches sample 0",
        "∂L/∂z of the first outputs of sample 0. Where the mistake's bars are missing there is no gradient: it is 0, "
        "not a number, or the loss refuses.",
        numbers_of(["output", *both], rows),
        x="output",
        y="∂L/∂z",
        height=320,
    )
    return page.bars(result, names, both)


def _first(case: Case) -> Tensor:
    gradient = case.measure().gradient
    return torch.zeros(1) if gradient is None else gradient[0].flatten()[:MOST_BARS].float()
