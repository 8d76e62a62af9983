"""Several processes under one roof: started together, each line of theirs under its name, and stopped in order."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, Final

import click

_COLOURS: Final = ("cyan", "magenta", "green", "blue", "yellow")
_LOOK_EVERY: Final = 0.1
_AT_ONCE_SECONDS: Final = 5.0
"""How long a process that was told twice may take; after that it is ended."""


class Child:
    """One process of ours, in a session of its own: a Ctrl-C in the terminal reaches us alone, and we pass it on."""

    def __init__(self, name: str, words: Sequence[str], *, last: bool) -> None:
        self.name = name
        self.last = last
        # -P: what lies in the current folder is not taken for one of our modules.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "reelq.cli.child", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for above
        return self._process.stdout

    @property
    def ended(self) -> int | None:
        """Its exit code; None while it lives."""
        return self._process.poll()

    def tell_to_stop(self) -> None:
        """Once: it may end what it has begun. Twice: at once."""
        if self.ended is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Without asking."""
        if self.ended is None:
            self._process.kill()
        self._process.wait()


class Roof:
    """Runs until told to stop, or until one of its processes ends by itself."""

    def __init__(self, *, prefixed: bool) -> None:
        self._prefixed = prefixed
        # Said here: what click knows of the call is not known in the threads that print.
        self._colour = False if os.environ.get("NO_COLOR") else None
        self._children: list[Child] = []
        self._printers: list[threading.Thread] = []
        self._told = 0
        self._writing = threading.Lock()

    def start(self, name: str, words: Sequence[str], *, last: bool = False) -> None:
        """Add a process; `last` is one that watches the others, and is stopped when they have ended."""
        child = Child(name, words, last=last)
        self._children.append(child)
        colour = _COLOURS[(len(self._children) - 1) % len(_COLOURS)]
        printer = threading.Thread(target=self._print, args=(child, colour), daemon=True)
        self._printers.append(printer)
        printer.start()

    def run(self) -> bool:
        """See them through; whether they were told to stop, and none ended before."""
        before = {each: signal.signal(each, self._hear) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not self._told and not (dead := [child for child in self._children if child.ended is not None]):
                time.sleep(_LOOK_EVERY)
            wished = bool(self._told)
            if not wished:
                _tell(f"{dead[0].name} ended by itself (exit code {dead[0].ended}); stopping the rest", wrong=True)
            self._stop()
            return wished
        finally:
            for child in self._children:
                child.end()
            for printer in self._printers:
                printer.join(1)
            for each, handler in before.items():
                signal.signal(each, handler)

    @property
    def hurried(self) -> bool:
        """Whether the user did not wait for the end."""
        return self._told > 1

    def _hear(self, *_: object) -> None:
        self._told += 1

    def _stop(self) -> None:
        for last in (False, True):
            self._see_out([child for child in self._children if child.last is last and child.ended is None])

    def _see_out(self, children: Sequence[Child]) -> None:
        names = ", ".join(child.name for child in children)
        if names and not self.hurried:
            _tell(f"stopping {names}; Ctrl-C again stops at once")
        for child in children:
            child.tell_to_stop()
        while any(child.ended is None for child in children) and not self.hurried:
            time.sleep(_LOOK_EVERY)
        for child in children:
            child.tell_to_stop()
        over = time.monotonic() + _AT_ONCE_SECONDS
        while any(child.ended is None for child in children) and time.monotonic() < over:
            time.sleep(_LOOK_EVERY)
        for child in children:
            child.end()

    def _print(self, child: Child, colour: str) -> None:
        for raw in child.output:
            line = raw.decode("utf-8", "replace").rstrip()
            shown = self._line(child.name, line, colour) if line else ""
            try:
                with self._writing:
                    click.echo(shown, nl=bool(line), color=self._colour)
            except OSError:  # nobody reads any more; the child must not be held up by it
                self._told = max(self._told, 1)

    def _line(self, name: str, line: str, colour: str) -> str:
        if self._prefixed:
            return click.style(f"{name:9}│ ", fg=colour) + line
        # Celery prints a word or two past its log, and whoever reads JSON should find nothing else.
        return line if line.startswith("{") else json.dumps({"logger": name, "message": line}, ensure_ascii=False)


def _tell(words: str, *, wrong: bool = False) -> None:
    click.secho(f"reelq: {words}", err=True, fg="red" if wrong else None)
