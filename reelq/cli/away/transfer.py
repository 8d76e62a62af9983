"""Files on their way to a service or from it: how far they are, and patience while the service is away."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, Self, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from reelq.cli.wording import one_line
from reelq.errors import ServiceAway

T = TypeVar("T")
PIECE: Final = 1_000_000
_PATIENCE_SECONDS: Final = 600.0
_LONGEST_WAIT: Final = 10.0


class Meter(AbstractContextManager[Any], Protocol):
    """Shows how far files are."""

    def begin(self, name: str, size: int, done: int = 0) -> None:
        """The next file, of which so much is there already."""

    def more(self, size: int) -> None:
        """So much more of it."""

    def say(self, words: str) -> None:
        """A message beside it."""


def meter(verb: str) -> Meter:
    """A bar on a terminal; a line a file into anything else."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return _Bar(console, verb) if console.is_terminal and not console.is_dumb_terminal else _Lines(verb)


def megabytes(size: int) -> str:
    """A size as people say it."""
    return f"{size / 1_000_000:,.1f} MB"


def patiently(do: Callable[[], T], say: Callable[[str], None]) -> T:
    """Do it; while the service is away, wait for it and do it again. What is done has to be safe to be done twice."""
    deadline, wait = time.monotonic() + _PATIENCE_SECONDS, 0.5
    while True:
        try:
            return do()
        except ServiceAway as away:
            if time.monotonic() + wait > deadline:
                away.advice = "What has arrived is kept there: the same command goes on."
                raise
            say(f"{away}; trying again")
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)


class _Bar:
    def __init__(self, console: Console, verb: str) -> None:
        what = TextColumn("{task.description}", markup=False)
        parts = (what, BarColumn(30), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(*parts, console=console, transient=True)
        self._verb = verb
        self._task = self._progress.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, name: str, size: int, done: int = 0) -> None:
        words = f"{self._verb} {one_line(name)}"
        self._progress.reset(self._task, description=words, total=size, completed=done, visible=True)

    def more(self, size: int) -> None:
        self._progress.advance(self._task, size)

    def say(self, words: str) -> None:
        self._progress.console.print(one_line(words))


class _Lines:
    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def begin(self, name: str, size: int, done: int = 0) -> None:
        rest = f", {megabytes(done)} of it there already" if done else ""
        self.say(f"{self._verb} {one_line(name)} ({megabytes(size)}{rest})")

    def more(self, size: int) -> None:
        return

    def say(self, words: str) -> None:
        if words != self._said:
            self._said = words
            click.echo(words, err=True)
