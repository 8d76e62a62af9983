"""Shows a batch on a terminal: progress, speed, cost, what holds it up, and the rows in progress."""

from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reelq.cli.views.text import format_duration, progress_line, rough_duration, safe_line
from reelq.cli.views.watch import View
from reelq.job import Cause, Stage, Status, start_message
from reelq.store.db.models import BatchState
from reelq.store.queries.batch_status import Hold, Place, RowInMotion, Snapshot
from reelq.store.queries.events import RowEvent

_MEASURED_SECONDS: Final = 600.0
_SHORTEST_MEASURE_SECONDS: Final = 5.0
_WIDE: Final = 100
_NARROW: Final = 70
_MIN_WIDTH: Final = 20
_SPARE_COLUMNS: Final = 3
"""Columns left empty, so that the ^C that a terminal echoes after the last line does not wrap."""


class Screen(View):
    """A view on stderr that is redrawn at each update and removed at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        # Leave stdout alone: if it is a pipe, redirecting it would print its content on the terminal.
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._size = self._console.size
        self._pace = Pace()
        self._last_message = ""

    @property
    def is_possible(self) -> bool:
        """Whether stderr is a terminal that can be drawn on."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, batch: Snapshot, events: Sequence[RowEvent]) -> None:
        """Redraw the view. The events are not needed: each row shows its last one."""
        if self._console.size != self._size:
            # The terminal has rewrapped our lines, so their position is unknown.
            self._console.clear()
            self._size = self._console.size
        self._pace.note(batch)
        self._live.update(view(batch, self._pace, *self._size), refresh=True)
        self._last_message = ""

    def notify(self, message: str) -> None:
        """Show a message in place of the view, until the next update."""
        if message != self._last_message:
            self._last_message = message
            self._live.update(_line(message), refresh=True)


class Pace:
    """Measures how fast rows end, over the last minutes."""

    def __init__(self) -> None:
        self._measures: deque[tuple[datetime, int]] = deque()

    def note(self, batch: Snapshot) -> None:
        """Record how far the batch is."""
        self._measures.append((batch.at, batch.ended))
        while (batch.at - self._measures[0][0]).total_seconds() > _MEASURED_SECONDS:
            self._measures.popleft()

    @property
    def a_minute(self) -> float:
        """Rows per minute; 0 while there is too little to measure."""
        (start, first), (now, last) = self._measures[0], self._measures[-1]
        seconds = (now - start).total_seconds()
        return max(last - first, 0) * 60 / seconds if seconds >= _SHORTEST_MEASURE_SECONDS else 0.0

    def left(self, batch: Snapshot) -> str:
        """An estimate of the time until nothing goes on by itself."""
        to_come = batch.moving_count + batch.waiting_for(Cause.SESSION, Cause.TWIN)
        return f"{rough_duration(to_come / self.a_minute * 60)} left" if self.a_minute and batch.moving_count else ""


def view(batch: Snapshot, pace: Pace, width: int, height: int) -> RenderableType:
    """Render the whole view in at most so many columns and lines."""
    width = max(width - _SPARE_COLUMNS, _MIN_WIDTH)
    parts: list[RenderableType] = [
        _line(f"{safe_line(batch.name)}  {progress_line(batch)}", "bold"),
        _bar(batch, width),
    ]
    parts += [_line(line) for line in (_speed_line(batch, pace), _places_line(batch)) if line]
    parts += [_line(_hold_line(hold, batch.at), "yellow") for hold in batch.holds]
    free = height - len(parts) - 2  # for an empty line above the rows, and the terminal's last line
    shown = batch.moving[: max(free, 0)]
    if len(batch.moving) > len(shown) and shown:
        shown = shown[:-1]
    in_progress = max(_started_rows(batch).total(), len(batch.moving))
    if shown:
        parts += [Text(""), _rows(shown, batch.at, width)]
    if len(shown) < in_progress and free > 0:
        parts.append(_line(f"… {in_progress - len(shown):,} more in progress", "dim"))
    return Constrain(Group(*parts[: max(height - 1, 1)]), width)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _bar(batch: Snapshot, width: int) -> RenderableType:
    fraction = batch.ended / batch.total if batch.total else 1.0
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=fraction, width=min(width - 7, 80))
    grid.add_row(bar, Text(f"{int(fraction * 100):3} %"))
    return grid


def _speed_line(batch: Snapshot, pace: Pace) -> str:
    speed = f"{pace.a_minute:.1f} rows/min" if pace.a_minute else ""
    limit = f"at most {batch.limit_credits:,} credits" if batch.limit_credits is not None else ""
    paused = "" if batch.state is BatchState.ACTIVE else str(batch.state)
    return " · ".join(filter(None, (paused, speed, pace.left(batch), limit)))


def _places_line(batch: Snapshot) -> str:
    """Where the rows that have not ended are."""
    not_started = sum(place.count for place in batch.places if _has_not_started(place)) - batch.held
    started = _started_rows(batch)
    parts = [
        f"{not_started:,} not started" if not_started > 0 else "",
        *(f"{started[stage]:,} {stage}" for stage in Stage if started[stage]),
        *(f"{batch.waiting_for(cause):,} wait for {cause}" for cause in Cause if batch.waiting_for(cause)),
        f"{batch.held:,} held back" if batch.held else "",
    ]
    return " · ".join(filter(None, parts))


def _has_not_started(place: Place) -> bool:
    return place.status is Status.QUEUED and place.stage is Stage.UPLOAD


def _started_rows(batch: Snapshot) -> Counter[Stage]:
    """The number of rows in progress in each stage."""
    counts = Counter[Stage]()
    for place in batch.places:
        if place.status in {Status.QUEUED, Status.RUNNING} and not _has_not_started(place):
            counts[place.stage] += place.count
    return counts


def _hold_line(hold: Hold, now: datetime) -> str:
    """Why an account is held up, and until when."""
    if hold.until is None:
        return safe_line(hold.why)
    seconds = (hold.until - now).total_seconds()
    end = f"resumes in {seconds:.0f} s" if seconds < 600 else f"until {hold.until.astimezone():%d %b %H:%M}"
    return f"{safe_line(hold.why)}; {end}"


def _rows(rows: Sequence[RowInMotion], now: datetime, width: int) -> Table:
    """A table of rows: number, file, stage, time in the stage, and the last message in the remaining width."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=False)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True, max_width=12 if width < _NARROW else 24 if width < _WIDE else 36)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True, ratio=1)
    for row in rows:
        message = "" if row.words == start_message(row.stage) else safe_line(row.words)
        time_in_stage = format_duration((now - row.since).total_seconds())
        cells = (str(row.row), safe_line(row.file or row.instruction), str(row.stage), time_in_stage, message)
        styles = ("dim", "", "cyan" if row.status is Status.RUNNING else "dim", "dim", "")
        grid.add_row(*map(_line, cells, styles))
    grid.width = width
    return grid
