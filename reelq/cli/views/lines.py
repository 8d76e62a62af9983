"""Shows a batch as plain lines for pipes and logs, one per change of a row's state, or as JSON Lines for programs."""

import json
import sys
from collections.abc import Sequence
from typing import Any, Final, Self

import click

from reelq.cli.views.text import plural, safe_line
from reelq.job import FINAL, Stage, Status
from reelq.store.queries.batch_status import Snapshot
from reelq.store.queries.events import RowEvent

_SHOWN_STARTS: Final = frozenset({Stage.UPLOAD, Stage.EDIT, Stage.DOWNLOAD})
"""Stages whose start is shown. The others are short, or start again with every poll."""
_SUMMARY_SECONDS: Final = 60.0


class Lines:
    """Shows plain lines on stderr."""

    def __init__(self) -> None:
        self._last_messages: dict[str, str] = {}
        self._summary_at: float | None = None
        self._last_said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def look(self, batch: Snapshot, events: Sequence[RowEvent]) -> None:
        """Print what is new, and the progress of the batch at most once a minute."""
        for event in events:
            if self._is_news(event):
                click.echo(f"{event.at.astimezone():%H:%M:%S}  {event_line(event)}", err=True)
        now = batch.at.timestamp()
        if self._summary_at is None or now - self._summary_at >= _SUMMARY_SECONDS:
            self._summary_at = now
            self._say(f"{batch.at.astimezone():%H:%M:%S}  ", progress_line(batch))

    def say(self, message: str) -> None:
        """Print a message, unless it was the last one."""
        self._say("", message)

    def _say(self, prefix: str, message: str) -> None:
        if message != self._last_said:
            self._last_said = message
            click.echo(prefix + message, err=True)

    def _is_news(self, event: RowEvent) -> bool:
        """Whether the event changes the row's state and does not repeat the row's last message."""
        is_repeat = self._last_messages.get(event.job) == event.words
        if event.after in FINAL:
            self._last_messages.pop(event.job, None)
            return True
        if (
            is_repeat
            or event.what == "progress"
            or (event.after == Status.RUNNING and event.stage not in _SHOWN_STARTS)
        ):
            return False
        self._last_messages[event.job] = event.words
        return True


class JsonLines:
    """Shows every event as a line of JSON on stdout. The summary comes with the report."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def look(self, batch: Snapshot, events: Sequence[RowEvent]) -> None:
        """Print each event."""
        for event in events:
            print_json({"event": event.what, "batch": batch.id, **event_data(event)})

    def say(self, message: str) -> None:
        """Print a message to stderr, apart from the JSON."""
        click.echo(message, err=True)


def print_json(data: dict[str, Any]) -> None:
    """Print an object as a line of JSON on stdout, and flush."""
    click.echo(json.dumps(data, ensure_ascii=False, default=str))


def event_data(event: RowEvent) -> dict[str, Any]:
    """The JSON fields of an event."""
    origin = {"at": event.at.isoformat(), "job": event.job, "row": event.row, "id": event.name}
    return {**origin, "stage": str(event.stage), "status": event.after, "words": event.words}


def event_line(event: RowEvent) -> str:
    """Describe an event in one line."""
    end = f" {event.after}:" if event.after in FINAL else ""
    return (
        f"{title(event.row, event.name, event.file or event.instruction)}  {event.stage}:{end} {safe_line(event.words)}"
    )


def title(row: int, name: str, what: str, most: int = 40) -> str:
    """A row as its user knows it: number, id from the manifest, and file or else instruction."""
    row_id = "" if name == str(row) else f" ({safe_line(name)})"
    shown = safe_line(what)
    return f"row {row}{row_id} · {shown if len(shown) <= most else shown[: most - 1] + '…'}"


def progress_line(batch: Snapshot) -> str:
    """The progress of a batch in one line."""
    others = [(batch.count(Status.FAILED), "failed"), (batch.count(Status.CANCELLED), "cancelled")]
    ended = "".join(f", {count:,} {word}" for count, word in others if count)
    waiting = batch.count(Status.WAITING) + batch.held
    waits = f", {waiting:,} waiting" if waiting else ""
    return (
        f"{batch.count(Status.SUCCEEDED):,} of {plural(batch.total, 'row')} done{ended}{waits}, {credits_text(batch)}"
    )


def credits_text(batch: Snapshot) -> str:
    """The credits that a batch has cost; with `about` if it shares some cost with others."""
    return f"{'about ' if batch.shared else ''}{plural(batch.credits, 'credit')}"
