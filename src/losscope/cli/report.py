"""``losscope report``: a summary in the terminal, and the page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from losscope.cli import options as o

if TYPE_CHECKING:
    from rich.console import Console

    from losscope.reporting import Report

Rows = Annotated[
    str | None,
    typer.Option(help="Which samples to take apart: '0,17'. Without it the first and the worst.", metavar="LIST"),
]
Samples = Annotated[int, typer.Option(help="How many of these without --rows.", min=0, metavar="COUNT")]
Out = Annotated[Path, typer.Option("--out", help="The page; its numbers go beside it as .json.", metavar="FILE")]
Timeout = Annotated[
    float, typer.Option(help="Under torchrun: how long a rank waits for the others.", min=1, metavar="SECONDS")
]


def report(
    file: o.File = None,
    loss: o.LossName = "cross_entropy",
    outputs: o.Outputs = None,
    targets: o.Targets = None,
    targets_file: o.TargetsFile = None,
    classes: o.Classes = None,
    ignore_index: o.IgnoreIndex = None,
    rows: Rows = None,
    samples: Samples = 3,
    out: Out = Path("report.html"),
    json: o.AsJson = False,
    timeout: Timeout = 1800,
) -> None:
    """Measure raw outputs and targets, and write a page about them; under torchrun the ranks share the rows out."""
    from losscope.cli.inputs import Inputs, read, row_numbers
    from losscope.cli.terminal import progress, results, working
    from losscope.reporting import build
    from losscope.reporting.data import check_rows
    from losscope.reporting.writing import check_page
    from losscope.summary import Summary, ranks
    from losscope.summary.streaming import stream

    def measured() -> tuple[Inputs, Summary]:
        check_page(out)
        given = read(file, loss, outputs, targets, targets_file, classes, ignore_index)
        check_rows(given.data, wanted or ())
        summary = Summary(given.loss, labels=given.class_names, process_group=group)
        with progress(shown=ranks.rank() == 0) as told:
            return given, stream(summary, given.data, ranks.share(given.data), told=told)

    wanted = row_numbers(rows)
    with ranks.together(timeout) as group:
        given, summary = ranks.agree(measured)
        result, first = summary.compute(), ranks.rank() == 0
    if not first:
        return
    with working("Looking for mistakes, and writing the page"):
        made = build(
            given.loss,
            given.data,
            class_names=given.class_names,
            title=given.title,
            samples=samples,
            rows=wanted,
            images=given.images,
            summary=result,
        )
        page = made.save(out)
    if json:
        typer.echo(made.to_json())
    else:
        _tell(results(), made, page)


def _tell(console: Console, made: Report, page: Path) -> None:
    from losscope.cli.samples import table

    say = partial(console.print, markup=False, soft_wrap=not console.is_terminal)  # in a pipe a line is a line
    say(made.title, style="bold")
    for name, text in made.given:
        say(f"  {name}: {text}")
    console.print()
    console.print(made.summary)
    console.print()
    console.print("The linter:" if made.findings else "The linter found nothing.")
    for finding in made.findings:
        say(f"  {finding['severity']} {finding['rule']}: {finding['title']}")
        say(f"    remedy: {finding['remedy']}")
    for sample in made.samples:
        console.print()
        console.print(table(sample))
    console.print()
    for number, one in enumerate(made.advice, 1):
        say(f"{number}. {one.text} {one.code}".rstrip())
    console.print(f"\nThe report is {page.resolve()}", markup=False, soft_wrap=True)
