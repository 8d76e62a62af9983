"""A batch shown while it is worked on, until nothing goes on by itself: on a terminal, as lines, or as JSON."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from reelq.cli.lines import JsonLines, Lines
from reelq.cli.screen import Screen
from reelq.store.overview import Snapshot, snapshot
from reelq.store.session import Store, is_away
from reelq.store.story import Told, newest_event, told_since

LOOK_EVERY: Final = 1.0
_SECOND_LOOK: Final = 0.2
_SHARE_OF_TIME: Final = 10
"""A look at a huge batch takes a while: the next one comes after ten times that while, so that work goes first."""
_LATE_ONES: Final = 500
"""Events are numbered as they begin to be written and seen when they are committed: some come to light late."""


class Show(AbstractContextManager[Any], Protocol):
    """One way to show a batch."""

    def look(self, seen: Snapshot, told: Sequence[Told]) -> None:
        """How it stands now, and what happened since the last look."""

    def say(self, words: str) -> None:
        """A message, beside what is shown."""


def chosen(*, as_json: bool = False) -> Show:
    """JSON Lines where they are asked for; else a live view on a terminal, and plain lines into anything else."""
    if as_json:
        return JsonLines()
    screen = Screen()
    return screen if screen.is_possible else Lines()


def at_rest(seen: Snapshot) -> bool:
    """Whether all has ended, or waits for a person."""
    return seen.at_rest


def follow(
    store: Store,
    batch_id: str,
    show: Show,
    *,
    until: Callable[[Snapshot], bool] = at_rest,
    also: Callable[[], object] = lambda: None,
    since: int | None = None,
    every: float = LOOK_EVERY,
) -> Snapshot:
    """Show a batch until it is over, and give its last state.

    `also` is called after each look; what it raises ends the show. `since` is the event after which events are told:
    by default, those from now on.
    """
    events = _Events(store, batch_id, since)
    over = False
    with show:
        while True:
            began = time.monotonic()
            seen = _look(store, batch_id, show, events)
            if seen:
                # One reading can fall between two of a worker's transactions: an end that is no end of every row
                # has to be seen twice.
                if until(seen) and (over or not seen.unfinished):
                    return seen
                over = until(seen)
            also()
            time.sleep(_SECOND_LOOK if over else max(every, _SHARE_OF_TIME * (time.monotonic() - began)))


def _look(store: Store, batch_id: str, show: Show, events: "_Events") -> Snapshot | None:
    try:
        with store.read() as session:
            seen = snapshot(session, batch_id, store.now(session))
        for some in events.news():
            show.look(seen, some)
    except Exception as error:
        if not is_away(error):
            raise
        show.say("the database does not answer; asking again")
        return None
    return seen


class _Events:
    """The events of a batch as they come to light, each once."""

    def __init__(self, store: Store, batch_id: str, since: int | None) -> None:
        self._store = store
        self._batch_id = batch_id
        if since is None:
            with store.read() as session:
                since = newest_event(session, batch_id)
        self._since = self._last = since
        self._late = 0 if store.is_sqlite else _LATE_ONES  # SQLite has one writer, who commits in order
        self._told: set[int] = set()

    def news(self) -> Iterator[list[Told]]:
        """What was not told yet, in pieces; one at least, which may be empty."""
        while True:
            with self._store.read() as session:
                some = told_since(session, self._batch_id, max(self._since, self._last - self._late))
            fresh = [one for one in some if one.id not in self._told]
            last = max((one.id for one in some), default=self._last)
            yield fresh
            more, self._last = last > self._last and len(fresh) > self._late, last
            self._told = {one.id for one in some if one.id > last - self._late}
            if not more:
                return


def is_interactive() -> bool:
    """Whether a person can be asked, and sees the question."""
    return sys.stdin.isatty() and sys.stderr.isatty()
