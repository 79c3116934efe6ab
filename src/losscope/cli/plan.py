"""``losscope plan``: what each way to a large-vocabulary loss costs, before it is run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from losscope.cli import options as o

Tokens = Annotated[int, typer.Option(help="N: tokens of one step on one rank.", metavar="N")]
Hidden = Annotated[int, typer.Option(help="D: width of the last linear layer's input.", metavar="D")]
Classes = Annotated[int, typer.Option(help="H: classes, or words of the vocabulary.", metavar="H")]
Ranks = Annotated[int, typer.Option(help="R: ranks to share the classes out over.", metavar="R")]
Bytes = Annotated[int, typer.Option("--bytes", help="Of one number: 4 for float32, 2 for bfloat16.", metavar="B")]


def plan(
    tokens: Tokens, hidden: Hidden, classes: Classes, ranks: Ranks = 1, number: Bytes = 4, json: o.AsJson = False
) -> None:
    """Count operations and bytes of each strategy for one forward and backward, per rank."""
    from losscope.cost import Problem
    from losscope.cost import plan as costs

    problem = Problem(tokens, hidden, classes, ranks, number)
    found = costs(problem)
    if json:
        from json import dumps

        typer.echo(dumps({"problem": asdict(problem), "costs": [asdict(cost) for cost in found]}, indent=1))
        return

    from rich.table import Table

    from losscope.cli.terminal import results

    table = Table(
        title=f"N = {tokens:,} · D = {hidden:,} · H = {classes:,} · R = {ranks} · {number} bytes: "
        f"logits {_bytes(problem.logits)}",
        title_justify="left",
    )
    for column in ("strategy", "operations", "moved", "held at once", "sent"):
        table.add_column(column, justify="left" if column == "strategy" else "right")
    for cost in found:
        table.add_row(cost.strategy, f"{cost.operations:.3g}", *map(_bytes, (cost.moved, cost.held, cost.sent)))
    results().print(table)


def _bytes(n: int) -> str:
    from rich.filesize import decimal

    return decimal(n)
