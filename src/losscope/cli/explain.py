"""``losscope explain``: samples taken apart, in the terminal."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from losscope.cli import options as o

if TYPE_CHECKING:
    from losscope.explain import Explanation

Rows = Annotated[
    str | None, typer.Option(help="Which samples to take apart: '0,17'. Without it the first.", metavar="LIST")
]
Samples = Annotated[int, typer.Option(help="How many of the first without --rows.", min=1, metavar="COUNT")]


def explain(
    file: o.File = None,
    loss: o.LossName = "cross_entropy",
    outputs: o.Outputs = None,
    targets: o.Targets = None,
    targets_file: o.TargetsFile = None,
    classes: o.Classes = None,
    ignore_index: o.IgnoreIndex = None,
    rows: Rows = None,
    samples: Samples = 3,
    json: o.AsJson = False,
) -> None:
    """Show every step from raw outputs to the loss and its gradient."""
    from losscope.cli.inputs import read, row_numbers
    from losscope.cli.terminal import results
    from losscope.reporting.samples import explain_rows

    wanted = row_numbers(rows)
    given = read(file, loss, outputs, targets, targets_file, classes, ignore_index)
    numbers = range(min(samples, len(given.data))) if wanted is None else wanted
    explanation = explain_rows(given.loss, given.data, numbers, given.class_names)
    if json:
        typer.echo(_json(explanation))
    else:
        results().print(explanation)


def _json(explanation: Explanation) -> str:
    from json import dumps

    steps = [
        {
            "symbol": step.symbol,
            "name": step.name,
            "formula": step.text,
            "latex": step.latex,
            "sentence": step.sentence,
            "value": _plain(step.value.tolist()),
        }
        for step in explanation.steps
    ]
    return dumps({"loss": explanation.title, "steps": steps}, ensure_ascii=False, indent=1, allow_nan=False)


def _plain(value: object) -> object:
    """Nested lists with words for what JSON has no number for."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if not isinstance(value, float) or isfinite(value) else str(value)
