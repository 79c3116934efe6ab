"""``losscope report``: a summary in the terminal, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from losscope.cli import options as o

if TYPE_CHECKING:
    from rich.console import Console

    from losscope.reporting import Report

Out = Annotated[Path, typer.Option("--out", help="The page; its numbers go beside it as .json.", metavar="FILE")]


def report(
    file: o.File = None,
    loss: o.LossName = "cross_entropy",
    outputs: o.Outputs = None,
    targets: o.Targets = None,
    targets_file: o.TargetsFile = None,
    classes: o.Classes = None,
    ignore_index: o.IgnoreIndex = None,
    rows: o.Rows = None,
    samples: o.Samples = 3,
    out: Out = Path("report.html"),
    json: o.AsJson = False,
) -> None:
    """Measure raw outputs and targets, and write a page about them."""
    from losscope.cli.inputs import read, row_numbers
    from losscope.cli.terminal import results
    from losscope.reporting import build
    from losscope.reporting.writing import check_page

    wanted = row_numbers(rows)
    check_page(out)
    given = read(file, loss, outputs, targets, targets_file, classes, ignore_index)
    made = build(
        given.loss,
        given.data,
        class_names=given.class_names,
        title=given.title,
        samples=samples,
        rows=wanted,
        images=given.images,
    )
    page = made.save(out)
    if json:
        typer.echo(made.to_json())
    else:
        _tell(results(), made, page)


def _tell(console: Console, made: Report, page: Path) -> None:
    from losscope.cli.samples import table

    console.print(made.title, style="bold", markup=False)
    for name, text in made.given:
        console.print(f"  {name}: {text}", markup=False, soft_wrap=True)
    console.print()
    console.print(made.summary)
    console.print()
    console.print("The linter:" if made.findings else "The linter found nothing.")
    for finding in made.findings:
        console.print(f"  {finding['severity']} {finding['rule']}: {finding['title']}", markup=False)
        console.print(f"    remedy: {finding['remedy']}", markup=False)
    for sample in made.samples:
        console.print()
        console.print(table(sample))
    console.print()
    for number, one in enumerate(made.advice, 1):
        console.print(f"{number}. {one.text}", markup=False)
    console.print(f"\nThe report is {page.resolve()}", markup=False, soft_wrap=True)
