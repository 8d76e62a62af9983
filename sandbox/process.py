"""The process: a socket, a temporary folder, one line when it is ready, and an end at once when it is told to."""

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
"""The most that macOS grants."""
_IDLE_SECONDS: Final = 75
"""Longer than clients keep an idle connection, so that it is they who close it."""


def listen(host: str, port: int) -> socket.socket:
    """The socket that clients will call; OSError where there can be none."""
    return socket.create_server((host, port), backlog=_BACKLOG)


def serve(settings: "Settings", listening: socket.socket, *, end_with_stdin: bool) -> None:
    """Answer until a signal comes, or the standard input ends. Open streams are dropped then, and the folder goes."""
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
        timeout_graceful_shutdown=0,  # open streams are dropped, not waited for
    )
    server = _Server(config)
    if end_with_stdin:
        threading.Thread(target=server.end_with_stdin, daemon=True).start()
    try:
        await server.serve(sockets=[listening])
    finally:
        await service.close()


class _Server(uvicorn.Server):
    """A server that says when it is ready, and for which the first signal is the last word."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            click.echo(f"sandbox ready at http://{host}:{port}")

    def handle_exit(self, sig: int, frame: "FrameType | None") -> None:
        # Not kept for raising again after the end, as the base class does: to be told to stop is no failure.
        self.should_exit = True

    def end_with_stdin(self) -> None:
        """Wait for the end of the standard input, which comes even when whoever started this process is killed."""
        # Read below Python's own stream: that one's lock, held by a thread, would be fatal when Python shuts down.
        with contextlib.suppress(OSError):
            while os.read(sys.__stdin__.fileno() if sys.__stdin__ else 0, 4096):
                pass
        self.should_exit = True


def _allow_many_connections() -> None:
    """Every open stream is an open file; most systems allow far fewer than they could."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))
