"""The commands together, and what becomes of an error: bad input 2, Ctrl-C 130, a bug its traceback."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer
from rich.text import Text

from losscope.cli import bench, explain, learn, lint, plan, report
from losscope.cli.terminal import errors
from losscope.errors import InputError

app = typer.Typer(
    name="losscope",
    help="From a model's raw outputs and targets to the right loss: shown step by step, and measured.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("report")(report.report)
app.command("explain")(explain.explain)
app.command("lint")(lint.lint)
app.command("plan")(plan.plan)
app.command("learn")(learn.learn)
app.command("bench")(bench.bench)


def main() -> None:
    """Runs the command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: what is half done is cleared away
    try:
        app()
    except InputError as error:
        print_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def print_error(error: InputError) -> None:
    """What was expected, what came and what to do, a line each."""
    console = errors()
    console.print(Text(f"losscope: {error.where}: expected {error.expected}", style="red"), soft_wrap=True)
    console.print(Text(f"  got: {error.got}\n  what to do: {error.fix}"), soft_wrap=True)


def _version(wanted: bool) -> None:
    if wanted:
        from losscope import __version__

        typer.echo(f"losscope {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options that come before any command."""
