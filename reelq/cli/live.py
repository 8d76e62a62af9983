"""A batch shown while it is worked on, until nothing goes on by itself: on a terminal, as lines, or as JSON."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from reelq.cli.lines import JsonLines, Lines
from reelq.store.overview import Snapshot, snapshot
from reelq.store.session import Store, is_away
from reelq.store.story import Mark, Told, newest_event, told_since

LOOK_EVERY: Final = 1.0
_SECOND_LOOK: Final = 0.2
_SHARE_OF_TIME: Final = 10
"""A look at a huge batch takes a while: the next one comes after ten times that while, so that work goes first."""


class Show(AbstractContextManager[Any], Protocol):
    """One way to show a batch."""

    def look(self, seen: Snapshot, told: Sequence[Told]) -> None:
        """How it stands now, and what happened since the last look."""

    def say(self, words: str) -> None:
        """A message, beside what is shown."""


Look = Callable[[Show], Snapshot | None]
"""Looks at a batch, and shows it with what happened since the last look; None, with a word, where nobody answers."""


def chosen(*, as_json: bool = False) -> Show:
    """JSON Lines where they are asked for; else a live view on a terminal, and plain lines into anything else."""
    if as_json:
        return JsonLines()
    from reelq.cli.screen import Screen  # with all that draws, which most commands do without

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
    since: Mark | None = None,
    every: float = LOOK_EVERY,
) -> Snapshot:
    """Show a batch of a database until it is over, and give its last state.

    `also` is called after each look; what it raises ends the show. `since` is the mark behind which events are told:
    by default, that of now.
    """
    return follow_by(looking_at(store, batch_id, since), show, until=until, also=also, every=every)


def looking_at(store: Store, batch_id: str, since: Mark | None = None) -> Look:
    """What looks at a batch of a database."""
    events = _Events(store, batch_id, since)
    return lambda show: _look(store, batch_id, show, events)


def follow_by(
    look: Look,
    show: Show,
    *,
    until: Callable[[Snapshot], bool] = at_rest,
    also: Callable[[], object] = lambda: None,
    every: float = LOOK_EVERY,
) -> Snapshot:
    """The same for a batch that is looked at in whatever way."""
    over = False
    with show:
        while True:
            began = time.monotonic()
            seen = look(show)
            if seen:
                # One reading can fall between two of a worker's transactions: an end that is no end of every row
                # has to be seen twice.
                if until(seen) and (over or not seen.unfinished):
                    return seen
                over = until(seen)
            also()
            took = time.monotonic() - began if seen else 0.0  # waiting for an answer that does not come is no work
            time.sleep(_SECOND_LOOK if over else max(every, _SHARE_OF_TIME * took))


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

    def __init__(self, store: Store, batch_id: str, since: Mark | None) -> None:
        self._store = store
        self._batch_id = batch_id
        if since is None:
            with store.read() as session:
                since = newest_event(session, batch_id)
        self._mark = since

    def news(self) -> Iterator[Sequence[Told]]:
        """What was not told yet, in pieces; one at least, which may be empty."""
        more = True
        while more:
            with self._store.read() as session:
                some = told_since(session, self._batch_id, self._mark)
            yield some.told
            self._mark, more = some.mark, some.more


def is_interactive() -> bool:
    """Whether a person can be asked, and sees the question."""
    return sys.stdin.isatty() and sys.stderr.isatty()
