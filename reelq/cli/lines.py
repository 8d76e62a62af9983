"""A batch as lines, for pipes and logs: one for each change of a row's state; and as JSON Lines, for programs."""

import json
import sys
from collections.abc import Sequence
from typing import Any, Final, Self

import click

from reelq.cli.wording import many, one_line
from reelq.job import FINAL, Stage, Status
from reelq.store.overview import Snapshot
from reelq.store.story import Told

_LASTING: Final = frozenset({Stage.UPLOAD, Stage.EDIT, Stage.DOWNLOAD})
"""Stages whose beginning is news; the others are over in a moment, or begin again at every look."""
_SUM_EVERY: Final = 60.0


class Lines:
    """Plain lines on stderr."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._summed_at: float | None = None
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def look(self, seen: Snapshot, told: Sequence[Told]) -> None:
        """What is new, and now and then how far all of it is."""
        for one in told:
            if self._is_news(one):
                click.echo(f"{one.at.astimezone():%H:%M:%S}  {event_line(one)}", err=True)
        now = seen.at.timestamp()
        if self._summed_at is None or now - self._summed_at >= _SUM_EVERY:
            self._summed_at = now
            self._say(f"{seen.at.astimezone():%H:%M:%S}  ", so_far(seen))

    def say(self, words: str) -> None:
        """A message, once until another comes."""
        self._say("", words)

    def _say(self, before: str, words: str) -> None:
        if words != self._said:
            self._said = words
            click.echo(before + words, err=True)

    def _is_news(self, one: Told) -> bool:
        """Whether it changes the row's state, in words that were not the last ones of the row."""
        same = self._last.get(one.job_id) == one.words
        if one.after in FINAL:
            self._last.pop(one.job_id, None)
            return True
        if same or one.what == "progress" or (one.after == Status.RUNNING and one.stage not in _LASTING):
            return False
        self._last[one.job_id] = one.words
        return True


class JsonLines:
    """An object a line on stdout: every event. What sums it up comes with the report."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def look(self, seen: Snapshot, told: Sequence[Told]) -> None:
        """Each event, as it was written down."""
        for one in told:
            put_json({"event": one.what, "batch": seen.batch_id, **as_data(one)})

    def say(self, words: str) -> None:
        """A message, where it does not mix with the objects."""
        click.echo(words, err=True)


def put_json(data: dict[str, Any]) -> None:
    """One object on a line of stdout, there at once."""
    click.echo(json.dumps(data, ensure_ascii=False, default=str))


def as_data(one: Told) -> dict[str, Any]:
    """An event as JSON tells it."""
    where = {"at": one.at.isoformat(), "job": one.job_id, "row": one.row, "id": one.name}
    return {**where, "stage": str(one.stage), "status": one.after, "words": one.words}


def event_line(one: Told) -> str:
    """An event in one line."""
    end = f" {one.after}:" if one.after in FINAL else ""
    return f"{title(one.row, one.name, one.file or one.instruction)}  {one.stage}:{end} {one_line(one.words)}"


def title(row: int, name: str, what: str, most: int = 40) -> str:
    """A row as people know it: its number, their own id for it, its file or else what it asks for."""
    own = "" if name == str(row) else f" ({one_line(name)})"
    shown = one_line(what)
    return f"row {row}{own} · {shown if len(shown) <= most else shown[: most - 1] + '…'}"


def so_far(seen: Snapshot) -> str:
    """How far a batch is, in a line."""
    others = [(seen.count(Status.FAILED), "failed"), (seen.count(Status.CANCELLED), "cancelled")]
    bad = "".join(f", {count:,} {word}" for count, word in others if count)
    waiting = seen.count(Status.WAITING) + seen.held
    held = f", {waiting:,} waiting" if waiting else ""
    return f"{seen.count(Status.SUCCEEDED):,} of {many(seen.total, 'row')} done{bad}{held}, {spent(seen)}"


def spent(seen: Snapshot) -> str:
    """The credits that a batch has cost; with a mark where part of them is a share of a common cost."""
    return f"{'about ' if seen.shared else ''}{many(seen.credits, 'credit')}"
