"""A batch on a terminal: how far it is, how fast, what it costs, what holds it up, and the rows in motion."""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reelq.cli.lines import so_far
from reelq.cli.wording import one_line, roughly, span
from reelq.job import Cause, Stage, Status
from reelq.store.overview import Hold, Moving, Snapshot
from reelq.store.story import Told

_PACE_SECONDS: Final = 600.0
_ENOUGH_SECONDS: Final = 5.0
_WIDE: Final = 100
_NARROW: Final = 70
_LEAST_WIDTH: Final = 20
_SPARE: Final = 3
"""Columns left empty, so that the ^C that a terminal writes behind the last line does not make another one."""


class Screen:
    """A view on stderr that is drawn anew at each look, and is gone at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        # Nothing is printed to stdout meanwhile; were it redirected, a pipe's content would land on the terminal.
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._size = self._console.size
        self._pace = Pace()
        self._said = ""

    @property
    def is_possible(self) -> bool:
        """Whether there is a terminal that can be drawn on."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def look(self, seen: Snapshot, told: Sequence[Told]) -> None:
        """Draw it."""
        del told  # each row shows its last event
        if self._console.size != self._size:
            # The terminal has broken our lines anew by now, and nobody knows where they are.
            self._console.clear()
            self._size = self._console.size
        self._pace.note(seen)
        self._draw(view(seen, self._pace, *self._size))
        self._said = ""

    def say(self, words: str) -> None:
        """A message in place of the view, until there is something to see again."""
        if words != self._said:
            self._said = words
            self._draw(Text(words, no_wrap=True, overflow="ellipsis"))

    def _draw(self, what: RenderableType) -> None:
        self._live.update(what, refresh=True)


class Pace:
    """How fast rows end, by the looks of the last minutes."""

    def __init__(self) -> None:
        self._seen: deque[tuple[datetime, int]] = deque()

    def note(self, seen: Snapshot) -> None:
        """One more look."""
        self._seen.append((seen.at, seen.ended))
        while (seen.at - self._seen[0][0]).total_seconds() > _PACE_SECONDS:
            self._seen.popleft()

    @property
    def a_minute(self) -> float:
        """Rows in a minute; 0 while nothing can be said."""
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        seconds = (now - began).total_seconds()
        return max(last - first, 0) * 60 / seconds if seconds >= _ENOUGH_SECONDS else 0.0

    def left(self, seen: Snapshot) -> str:
        """A guess at the time until nothing goes on by itself."""
        to_come = seen.moving + seen.waiting_for(Cause.SESSION, Cause.TWIN)
        return f"{roughly(to_come / self.a_minute * 60)} left" if self.a_minute and seen.moving else ""


def view(seen: Snapshot, pace: Pace, width: int, height: int) -> RenderableType:
    """All of it, in at most so many columns and lines."""
    width = max(width - _SPARE, _LEAST_WIDTH)
    above: list[RenderableType] = [_line(f"{one_line(seen.name)}  {so_far(seen)}", "bold"), _bar(seen, width)]
    above += [_line(line) for line in (_speed(seen, pace), _places(seen)) if line]
    above += [_line(line, "yellow") for line in _holds(seen)]
    room = height - len(above) - 2  # an empty line between, and the terminal's last one
    shown = seen.rows[: max(room, 0)]
    if len(seen.rows) > len(shown) and shown:
        shown = shown[:-1]
    in_motion = _in_motion(seen)
    if shown:
        above += [Text(""), _rows(shown, seen.at, width)]
    if len(shown) < in_motion and room > 0:
        above.append(_line(f"… {in_motion - len(shown):,} more in motion", "dim"))
    return Constrain(Group(*above[: max(height - 1, 1)]), width)


def _line(words: str, style: str = "") -> Text:
    return Text(words, style=style, no_wrap=True, overflow="ellipsis")


def _bar(seen: Snapshot, width: int) -> RenderableType:
    part = seen.ended / seen.total if seen.total else 1.0
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=part, width=min(width - 7, 80))
    grid.add_row(bar, Text(f"{int(part * 100):3} %"))
    return grid


def _speed(seen: Snapshot, pace: Pace) -> str:
    speed = f"{pace.a_minute:.1f} rows/min" if pace.a_minute else ""
    limit = f"at most {seen.limit_credits:,} credits" if seen.limit_credits is not None else ""
    paused = "" if seen.state == "active" else str(seen.state)
    return " · ".join(part for part in (paused, speed, pace.left(seen), limit) if part)


def _places(seen: Snapshot) -> str:
    """Where the rows are that have not ended."""
    queued = sum(place.count for place in seen.places if _not_begun(place.stage, place.status)) - seen.held
    parts = [f"{_at(seen, stage):,} {stage}" for stage in Stage if _at(seen, stage)]
    waits = [f"{seen.waiting_for(cause):,} wait for {cause}" for cause in Cause if seen.waiting_for(cause)]
    held = [f"{seen.held:,} held back"] if seen.held else []
    return " · ".join([*([f"{queued:,} to begin"] if queued > 0 else []), *parts, *waits, *held])


def _not_begun(stage: Stage, status: Status) -> bool:
    return status is Status.QUEUED and stage is Stage.UPLOAD


def _at(seen: Snapshot, stage: Stage) -> int:
    open_ones = (Status.QUEUED, Status.RUNNING)
    here = (place for place in seen.places if place.stage is stage and place.status in open_ones)
    return sum(place.count for place in here if not _not_begun(place.stage, place.status))


def _in_motion(seen: Snapshot) -> int:
    return max(sum(_at(seen, stage) for stage in Stage), len(seen.rows))


def _holds(seen: Snapshot) -> list[str]:
    return [hold_line(hold, seen.at) for hold in seen.holds]


def hold_line(hold: Hold, now: datetime) -> str:
    """What holds an account up, and until when."""
    if hold.until is None:
        return one_line(hold.why)
    seconds = (hold.until - now).total_seconds()
    goes_on = f"goes on in {seconds:.0f} s" if seconds < 600 else f"until {hold.until.astimezone():%d %b %H:%M}"
    return f"{one_line(hold.why)}; {goes_on}"


def _rows(rows: Sequence[Moving], now: datetime, width: int) -> Table:
    """Row, file, stage and the time in it, and what was said last, which has what is left of the width."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=False)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True, max_width=12 if width < _NARROW else 24 if width < _WIDE else 36)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True, ratio=1)
    for row in rows:
        words = "" if row.words == f"{row.stage} begins" else one_line(row.words)
        cells = (str(row.row), one_line(row.file or row.instruction), str(row.stage), _time_in(row, now), words)
        styles = ("dim", "", "cyan" if row.status is Status.RUNNING else "dim", "dim", "")
        grid.add_row(*map(_line, cells, styles))
    grid.width = width
    return grid


def _time_in(row: Moving, now: datetime) -> str:
    return span((now - row.since).total_seconds())
