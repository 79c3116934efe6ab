"""The tutorial on this machine: one server, on 127.0.0.1 only."""

from __future__ import annotations

import socket

import marimo
import uvicorn

from losscope.errors import InputError
from losscope.learn import TUTORIAL

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1; port 0 is one that is free.

    Raises:
        InputError: the port is taken, or may not be used.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        said = error.strerror or str(error)
        raise InputError("learn", "a free port", f"{port}: {said}", "choose another, or 0 for any") from error
    return listening


def serve(listening: socket.socket) -> None:
    """Until Ctrl-C."""
    app = marimo.create_asgi_app(quiet=True).with_app(path="", root=str(TUTORIAL)).build()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)).run(sockets=[listening])
