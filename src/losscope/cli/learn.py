"""``losscope learn``: the interactive tutorial in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

Port = Annotated[int, typer.Option(help="Of 127.0.0.1; 0 is one that is free.", min=0, max=65535)]
Browser = Annotated[bool, typer.Option("--no-browser", "--headless", help="Print the address, and open nothing.")]


def learn(port: Port = 0, no_browser: Browser = False) -> None:
    """Open the interactive tutorial. It runs on this machine and needs no network; Ctrl-C ends it."""
    from importlib.util import find_spec
    from webbrowser import open as browse

    from losscope.errors import InputError

    if find_spec("marimo") is None:
        raise InputError("learn", "marimo, which draws the tutorial", "none installed", 'pip install "losscope[learn]"')
    from losscope.learn.serving import HOST, listen, serve

    with listen(port) as listening:
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        typer.echo(f"The tutorial is at {address}\nCtrl-C ends it.")
        if not no_browser:
            browse(address)
        serve(listening)
