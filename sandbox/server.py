"""The server: opens a socket and a temporary folder, prints a line when it is ready, and stops at once when told."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import click
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox.app import make_app
from sandbox.service import Service, Settings

if sys.platform != "win32":
    import fcntl

_BACKLOG: Final = 4096
_OPEN_FILES: Final = 10_240
"""The most that macOS allows."""
_IDLE_SECONDS: Final = 75
"""Longer than clients keep an idle connection, so that it is the client that closes it."""
_PREFIX: Final = "nemo-sandbox-"
_LOCK: Final = "lock"


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; raises OSError if the address can't be bound."""
    return socket.create_server((host, port), backlog=_BACKLOG)


def serve(settings: Settings, listening: socket.socket, *, end_with_stdin: bool) -> None:
    """Serve until a signal arrives or standard input ends; then drop open streams and remove the folder."""
    _allow_many_connections()
    with listening, _own_folder() as folder:
        asyncio.run(_run(settings, folder, listening, end_with_stdin=end_with_stdin))


async def _run(settings: Settings, folder: Path, listening: socket.socket, *, end_with_stdin: bool) -> None:
    service = Service(settings, folder)
    config = uvicorn.Config(
        make_app(service),
        http=_Protocol,
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


class _Protocol(H11Protocol):
    """uvicorn's protocol; each request can find its transport, to close the connection on purpose."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # The event loop does this only for sockets that were opened with an explicit protocol number. Without it, each
        # response waits 40 ms for an acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {"transport": transport}


class _Server(uvicorn.Server):
    """A server that says when it is ready, and stops at the first signal."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            click.echo(f"sandbox ready at http://{host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
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


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for this process alone, removed when the process ends; those of killed processes are removed first."""
    _remove_abandoned_folders()
    # Windows can't remove an open file: what is left stays in the system's temporary folder.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name, _locked(Path(name)):
        yield Path(name)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system releases it when the process ends, even if it is killed."""
    unfinished = folder / f"{_LOCK}.new"
    with unfinished.open("wb") as file:
        _acquire(file.fileno())
        # The file gets its name only once it is locked, so that no other process finds it unlocked.
        if sys.platform != "win32":
            unfinished.rename(folder / _LOCK)
        yield


def _remove_abandoned_folders() -> None:
    """Remove folders whose lock nobody holds. One without a lock is not ours, or is just being created."""
    if sys.platform == "win32":
        return
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open("rb") as file:
            _acquire(file.fileno())
            shutil.rmtree(lock.parent, ignore_errors=True)


def _acquire(file: int) -> None:
    """Lock an open file; raises OSError if another process holds the lock."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
