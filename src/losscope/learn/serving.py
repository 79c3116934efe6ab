"""The tutorial on this machine: one server, on 127.0.0.1 only."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import marimo
import uvicorn

from losscope.errors import InputError
from losscope.learn import TUTORIAL

HOST = "127.0.0.1"

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

# The browser is told to load from this server only, so no part of the page can ask anyone else for anything.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; worker-src 'self' blob:"


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1 where a browser may wait for the server; port 0 is one that is free.

    Raises:
        InputError: the port is taken, or may not be used.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        said = error.strerror or str(error)
        raise InputError("learn", "a free port", f"{port}: {said}", "choose another, or 0 for any") from error
    return listening


def with_policy(app: Application) -> Application:
    """The application, with the policy in the head of every answer."""

    async def answer(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        async def send_with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await app(scope, receive, send_with_policy)

    return answer


def serve(listening: socket.socket) -> None:
    """Until Ctrl-C or SIGTERM.

    Then the process ends at once: the threads in which marimo runs its notebooks would keep it alive.
    """
    app = marimo.create_asgi_app(quiet=True).with_app(path="", root=str(TUTORIAL)).build()
    config = uvicorn.Config(with_policy(app), log_level="warning", timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt, SystemExit):
        uvicorn.Server(config).run(sockets=[listening])
    os._exit(130)
