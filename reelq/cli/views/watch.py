"""Follows a batch until nothing more happens by itself, and shows it on a terminal, as lines, or as JSON."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import click

from reelq.cli.views.text import print_json, progress_line, safe_line, title
from reelq.job import FINAL, Stage, Status
from reelq.store.db.engine import Store, is_unavailable
from reelq.store.queries.batch_status import Snapshot, snapshot
from reelq.store.queries.events import RowEvent, events_after, newest_event

_READ_SECONDS: Final = 1.0
_CONFIRM_SECONDS: Final = 0.2
_READ_TIME_FACTOR: Final = 10
"""Wait ten times as long as a read has taken: reads of a huge batch are slow, and must not slow down the work."""
_SHOWN_STARTS: Final = frozenset({Stage.UPLOAD, Stage.EDIT, Stage.DOWNLOAD})
"""Stages whose start is shown. The others are short, or start again with every poll."""
_SUMMARY_SECONDS: Final = 60.0


class View(AbstractContextManager[Any]):
    """A way to show a batch."""

    def __exit__(self, *_: object) -> None:
        return

    def update(self, batch: Snapshot, events: Sequence[RowEvent]) -> None:
        """Show the state of the batch, and the events since the last update."""
        raise NotImplementedError

    def notify(self, message: str) -> None:
        """Show a message beside the batch."""
        raise NotImplementedError


class Lines(View):
    """Shows plain lines on stderr: what is new, and the progress of the batch at most once a minute."""

    def __init__(self) -> None:
        self._last_messages: dict[str, str] = {}
        self._summary_at: float | None = None
        self._last_line = ""

    def update(self, batch: Snapshot, events: Sequence[RowEvent]) -> None:
        for event in events:
            if self._is_news(event):
                click.echo(f"{event.at.astimezone():%H:%M:%S}  {_event_line(event)}", err=True)
        now = batch.at.timestamp()
        if self._summary_at is None or now - self._summary_at >= _SUMMARY_SECONDS:
            self._summary_at = now
            self._echo_once(progress_line(batch), f"{batch.at.astimezone():%H:%M:%S}  ")

    def notify(self, message: str) -> None:
        self._echo_once(message)

    def _echo_once(self, line: str, prefix: str = "") -> None:
        """Print a line unless it was the last one."""
        if line != self._last_line:
            self._last_line = line
            click.echo(prefix + line, err=True)

    def _is_news(self, event: RowEvent) -> bool:
        """Whether the event changes the row's state and does not repeat the row's last message."""
        is_repeat = self._last_messages.get(event.job) == event.words
        if event.after in FINAL:
            self._last_messages.pop(event.job, None)
            return True
        is_minor_start = event.after == Status.RUNNING and event.stage not in _SHOWN_STARTS
        if is_repeat or event.what == "progress" or is_minor_start:
            return False
        self._last_messages[event.job] = event.words
        return True


class JsonLines(View):
    """Shows every event as a line of JSON on stdout, and messages on stderr. The summary comes with the report."""

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def update(self, batch: Snapshot, events: Sequence[RowEvent]) -> None:
        for event in events:
            row = {"at": event.at.isoformat(), "job": event.job, "row": event.row, "id": event.name}
            state = {"stage": str(event.stage), "status": event.after, "words": event.words}
            print_json({"event": event.what, "batch": batch.id, **row, **state})

    def notify(self, message: str) -> None:
        click.echo(message, err=True)


def _event_line(event: RowEvent) -> str:
    row = title(event.row, event.name, event.file or event.instruction)
    end = f" {event.after}:" if event.after in FINAL else ""
    return f"{row}  {event.stage}:{end} {safe_line(event.words)}"


Reader = Callable[[View], Snapshot | None]
"""Reads a batch and shows it with the events since the last call. Returns None, and says so, if nobody answers."""


def choose_view(*, as_json: bool = False) -> View:
    """JSON Lines if asked for, else a live view on a terminal and plain lines otherwise."""
    if as_json:
        return JsonLines()
    from reelq.cli.views.screen import Screen  # imports rich's live display, which most commands do without

    screen = Screen()
    return screen if screen.is_possible else Lines()


def is_interactive() -> bool:
    """Whether there is a person to ask, who sees the question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def open_reader(store: Store, batch_id: str) -> Reader:
    """A function that reads a batch of a database, and shows it with the events from now on."""
    with store.read() as session:
        position = newest_event(session, batch_id)

    def read(view: View) -> Snapshot | None:
        nonlocal position
        try:
            with store.read() as session:
                batch = snapshot(session, batch_id, store.now(session))
            more = True
            while more:
                with store.read() as session:
                    page = events_after(session, batch_id, position)
                view.update(batch, page.events)
                position, more = page.mark, page.more
        except Exception as error:
            if not is_unavailable(error):
                raise
            view.notify("the database does not respond; retrying")
            return None
        return batch

    return read


def follow(
    read: Reader,
    view: View,
    *,
    until: Callable[[Snapshot], bool] = lambda batch: batch.at_rest,
    also: Callable[[], object] = lambda: None,
    every: float = _READ_SECONDS,
) -> Snapshot:
    """Show a batch until it is over, and return its last state.

    `also` is called each time after `read`; an exception from it ends the view.
    """
    was_over = False
    with view:
        while True:
            start = time.monotonic()
            batch = read(view)
            if batch:
                # A read can fall between two transactions of a worker. So if rows are unfinished, the batch counts
                # as over only when two in a row find it so.
                if until(batch) and (was_over or not batch.unfinished):
                    return batch
                was_over = until(batch)
            also()
            duration = time.monotonic() - start if batch else 0.0  # a timeout is no load on the database
            time.sleep(_CONFIRM_SECONDS if was_over else max(every, _READ_TIME_FACTOR * duration))
