"""The process: a socket, a temporary folder, one line when it is ready, and an end at once when it is told to."""

import asyncio
import contextlib
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import uvicorn

from sandbox.app import make_app
from sandbox.service import Service
from sandbox.wire import HangUpProtocol

if TYPE_CHECKING:
    from types import FrameType

    from sandbox.settings import Settings

_BACKLOG: Final = 4096
_OPEN_FILES: Final = 10_240
"""The most that macOS grants."""
_IDLE_SECONDS: Final = 75
"""Longer than clients keep an idle connection, so that it is they who close it."""


def serve(settings: "Settings", host: str, port: int) -> None:
    """Listen until a signal comes. Open streams are dropped then, and the folder goes."""
    _allow_many_connections()
    with (
        socket.create_server((host, port), backlog=_BACKLOG) as listening,
        # Windows can't remove a file that is still open: what is left then lies in the system's temporary folder.
        tempfile.TemporaryDirectory(prefix="nemo-sandbox-", ignore_cleanup_errors=True) as folder,
    ):
        asyncio.run(_run(settings, Path(folder), listening))


async def _run(settings: "Settings", folder: Path, listening: socket.socket) -> None:
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
    try:
        await _Server(config).serve(sockets=[listening])
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


def _allow_many_connections() -> None:
    """Every open stream is an open file; most systems allow far fewer than they could."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))
