"""Follows a batch until nothing more happens by itself, and shows it on a terminal, as lines, or as JSON."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from reelq.cli.views.lines import JsonLines, Lines
from reelq.store.db.engine import Store, is_unavailable
from reelq.store.queries.batch_status import Snapshot, snapshot
from reelq.store.queries.events import Cursor, RowEvent, events_after, newest_event

LOOK_EVERY: Final = 1.0
_CONFIRM_SECONDS: Final = 0.2
_LOOK_TIME_FACTOR: Final = 10
"""Wait ten times as long as a look has taken: looks at a huge batch are slow, and must not slow down the work."""


class Show(AbstractContextManager[Any], Protocol):
    """A way to show a batch."""

    def look(self, batch: Snapshot, events: Sequence[RowEvent]) -> None:
        """Show the state of the batch, and the events since the last look."""

    def say(self, message: str) -> None:
        """Show a message beside the batch."""


Reader = Callable[[Show], Snapshot | None]
"""Reads a batch and shows it with the events since the last call. Returns None, and says so, if nobody answers."""


def choose_view(*, as_json: bool = False) -> Show:
    """JSON Lines if asked for, else a live view on a terminal and plain lines otherwise."""
    if as_json:
        return JsonLines()
    from reelq.cli.views.screen import Screen  # imports rich's live display, which most commands do without

    screen = Screen()
    return screen if screen.is_possible else Lines()


def at_rest(batch: Snapshot) -> bool:
    """Whether all rows have ended or wait for a person."""
    return batch.at_rest


def follow(
    store: Store,
    batch_id: str,
    show: Show,
    *,
    until: Callable[[Snapshot], bool] = at_rest,
    also: Callable[[], object] = lambda: None,
    since: Cursor | None = None,
    every: float = LOOK_EVERY,
) -> Snapshot:
    """Show a batch of a database until it is over, and return its last state.

    `also` is called after each look; an exception from it ends the show. Events after `since` are shown, by default
    those from now on.
    """
    return follow_with(open_look(store, batch_id, since), show, until=until, also=also, every=every)


def open_look(store: Store, batch_id: str, since: Cursor | None = None) -> Reader:
    """A function that reads and shows a batch of a database."""
    events = _Events(store, batch_id, since)
    return lambda show: _look(store, batch_id, show, events)


def follow_with(
    look: Reader,
    show: Show,
    *,
    until: Callable[[Snapshot], bool] = at_rest,
    also: Callable[[], object] = lambda: None,
    every: float = LOOK_EVERY,
) -> Snapshot:
    """Show a batch, read by `look`, until it is over, and return its last state."""
    was_over = False
    with show:
        while True:
            start = time.monotonic()
            batch = look(show)
            if batch:
                # A look can fall between two transactions of a worker. So if rows are unfinished, the batch counts
                # as over only when two looks in a row find it so.
                if until(batch) and (was_over or not batch.unfinished):
                    return batch
                was_over = until(batch)
            also()
            duration = time.monotonic() - start if batch else 0.0  # a timeout is no load on the database
            time.sleep(_CONFIRM_SECONDS if was_over else max(every, _LOOK_TIME_FACTOR * duration))


def _look(store: Store, batch_id: str, show: Show, events: "_Events") -> Snapshot | None:
    try:
        with store.read() as session:
            batch = snapshot(session, batch_id, store.now(session))
        for chunk in events.news():
            show.look(batch, chunk)
    except Exception as error:
        if not is_unavailable(error):
            raise
        show.say("the database does not respond; retrying")
        return None
    return batch


class _Events:
    """Reads the events of a batch as they become visible, each once."""

    def __init__(self, store: Store, batch_id: str, since: Cursor | None) -> None:
        self._store = store
        self._batch_id = batch_id
        if since is None:
            with store.read() as session:
                since = newest_event(session, batch_id)
        self._mark = since

    def news(self) -> Iterator[Sequence[RowEvent]]:
        """Yield the events since the last call in chunks; at least one chunk, which may be empty."""
        more = True
        while more:
            with self._store.read() as session:
                chunk = events_after(session, self._batch_id, self._mark)
            yield chunk.events
            self._mark, more = chunk.mark, chunk.more


def is_interactive() -> bool:
    """Whether there is a person to ask, who sees the question."""
    return sys.stdin.isatty() and sys.stderr.isatty()
