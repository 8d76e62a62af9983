"""The process: opens a socket and a temporary folder, prints a line when it is ready, and stops at once when told."""

import asyncio
import contextlib
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final

import click
import uvicorn

from sandbox.app import make_app
from sandbox.folder import own_folder
from sandbox.service import Service
from sandbox.wire import HangUpProtocol

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from sandbox.settings import Settings

_BACKLOG: Final = 4096
_OPEN_FILES: Final = 10_240
"""The most that macOS allows."""
_IDLE_SECONDS: Final = 75
"""Longer than clients keep an idle connection, so that it is the client that closes it."""


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; raises OSError if the address can't be bound."""
    return socket.create_server((host, port), backlog=_BACKLOG)


def serve(settings: "Settings", listening: socket.socket, *, end_with_stdin: bool) -> None:
    """Serve until a signal arrives or standard input ends; then drop open streams and remove the folder."""
    _allow_many_connections()
    with listening, own_folder() as folder:
        asyncio.run(_run(settings, folder, listening, end_with_stdin=end_with_stdin))


async def _run(settings: "Settings", folder: "Path", listening: socket.socket, *, end_with_stdin: bool) -> None:
    service = Service(settings, folder)
    config = uvicorn.Config(
        make_app(service),
        http=HangUpProtocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=0,  # drop open streams instead of waiting for them
    )
    server = _Server(config)
    if end_with_stdin:
        threading.Thread(target=server.end_with_stdin, daemon=True).start()
    try:
        await server.serve(sockets=[listening])
    finally:
        await service.close()


class _Server(uvicorn.Server):
    """A server that says when it is ready, and stops at the first signal."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            click.echo(f"sandbox ready at http://{host}:{port}")

    def handle_exit(self, sig: int, frame: "FrameType | None") -> None:
        # The base class raises the signal again after the shutdown, but a requested stop is not a failure.
        self.should_exit = True

    def end_with_stdin(self) -> None:
        """Wait for the end of standard input, which comes even if the parent process is killed."""
        # Read the descriptor, not sys.stdin: if a thread holds that stream's lock, Python crashes at shutdown.
        with contextlib.suppress(OSError):
            while os.read(sys.__stdin__.fileno() if sys.__stdin__ else 0, 4096):
                pass
        self.should_exit = True


def _allow_many_connections() -> None:
    """Raise the limit on open files: every open stream is one, and most systems start far below what they allow."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
