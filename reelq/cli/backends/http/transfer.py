"""File transfers to and from a service: progress, and retries while the service is unavailable."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, Self, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from reelq.cli.views.text import safe_line
from reelq.errors import ServiceAway

T = TypeVar("T")
CHUNK_SIZE: Final = 1_000_000
_RETRY_SECONDS: Final = 600.0
_LONGEST_WAIT: Final = 10.0


class TransferProgress(AbstractContextManager[Any], Protocol):
    """Shows the progress of transfers."""

    def begin(self, name: str, size: int, done: int = 0) -> None:
        """Start the next file, of which `done` bytes have been transferred already."""

    def more(self, size: int) -> None:
        """Advance by so many bytes."""

    def say(self, message: str) -> None:
        """Show a message beside the progress."""


def meter(verb: str) -> TransferProgress:
    """A progress bar on a terminal, otherwise a line per file."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return _ProgressBar(console, verb) if console.is_terminal and not console.is_dumb_terminal else _PlainLines(verb)


def megabytes(size: int) -> str:
    """Format a size for people."""
    return f"{size / 1_000_000:,.1f} MB"


def retry_while_unavailable(do: Callable[[], T], say: Callable[[str], None]) -> T:
    """Call `do`, and retry while the service is unavailable. `do` must be safe to repeat."""
    deadline, wait = time.monotonic() + _RETRY_SECONDS, 0.5
    while True:
        try:
            return do()
        except ServiceAway as unavailable:
            if time.monotonic() + wait > deadline:
                unavailable.advice = "What was transferred is kept; run the same command again to continue."
                raise
            say(f"{unavailable}; retrying")
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)


class _ProgressBar:
    def __init__(self, console: Console, verb: str) -> None:
        description = TextColumn("{task.description}", markup=False)
        columns = (description, BarColumn(30), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._verb = verb
        self._task = self._progress.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, name: str, size: int, done: int = 0) -> None:
        description = f"{self._verb} {safe_line(name)}"
        self._progress.reset(self._task, description=description, total=size, completed=done, visible=True)

    def more(self, size: int) -> None:
        self._progress.advance(self._task, size)

    def say(self, message: str) -> None:
        self._progress.console.print(safe_line(message))


class _PlainLines:
    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._last_message = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def begin(self, name: str, size: int, done: int = 0) -> None:
        resumed = f", {megabytes(done)} already transferred" if done else ""
        self.say(f"{self._verb} {safe_line(name)} ({megabytes(size)}{resumed})")

    def more(self, size: int) -> None:
        return

    def say(self, message: str) -> None:
        if message != self._last_message:
            self._last_message = message
            click.echo(message, err=True)
