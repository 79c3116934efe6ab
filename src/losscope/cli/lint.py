"""``losscope lint``: the mistakes that a file of outputs and targets shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from losscope.cli import options as o

if TYPE_CHECKING:
    from losscope.linting import LintResult

Select = Annotated[str | None, typer.Option(help="Only these rules: 'a,b'.", metavar="RULES")]
Ignore = Annotated[str | None, typer.Option(help="Not these rules: 'a,b'.", metavar="RULES")]
HeldOut = Annotated[bool, typer.Option("--held-out", help="The samples were not trained on.")]
Step = Annotated[int | None, typer.Option(help="Optimizer steps made before; 0 is the first.", metavar="STEP")]


def lint(
    file: o.File = None,
    loss: o.LossName = "cross_entropy",
    outputs: o.Outputs = None,
    targets: o.Targets = None,
    targets_file: o.TargetsFile = None,
    ignore_index: o.IgnoreIndex = None,
    select: Select = None,
    ignore: Ignore = None,
    held_out: HeldOut = False,
    step: Step = None,
    json: o.AsJson = False,
) -> None:
    """Name the mistakes that outputs and targets show. Exit code 1 where one is an error or a warning."""
    from losscope.cli.inputs import read
    from losscope.cli.terminal import errors, results
    from losscope.linting import lint as look
    from losscope.reporting.data import BLOCKS, spread

    given = read(file, loss, outputs, targets, targets_file, None, ignore_index)
    z, y = spread(given.data)
    found = look(z, y, loss=given.loss, select=_names(select), ignore=_names(ignore), held_out=held_out, step=step)
    if len(z) < len(given.data):
        errors().print(f"Read: {len(z):,} of {len(given.data):,} rows, in {BLOCKS} blocks.", markup=False)
    typer.echo(found.to_json()) if json else results().print(found)
    raise typer.Exit(exit_code(found))


def exit_code(found: LintResult) -> int:
    """0 clean, 1 with an error or a warning; unusable input is 2 (``main`` sees to it)."""
    return 0 if found.ok else 1


def _names(given: str | None) -> list[str] | None:
    """The names between the commas.

    Raises:
        InputError: there are none.
    """
    if given is None:
        return None
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names:
        from losscope.errors import InputError

        raise InputError("lint", "names of rules with commas", repr(given), "name some, or leave the option out")
    return names
