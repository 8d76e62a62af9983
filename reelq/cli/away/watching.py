"""A batch of a service as it is worked on: how it stands by asking, what happens by its stream of events."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from reelq.cli.away import resources
from reelq.cli.away.service import Service
from reelq.cli.live import Look, Show
from reelq.errors import ReelqError, ServiceAway
from reelq.store.overview import QUIET_SECONDS, Snapshot
from reelq.store.story import Told

_SILENT_SECONDS: Final = 45.0
"""A stream says something every 15 seconds, be it that there is nothing to say."""
_AGAIN_AFTER: Final = 1.0
_LAST_WORDS_SECONDS: Final = 10.0
"""How long the stream of a batch at rest may take to end: its last events are then all told."""
_REMEMBERED: Final = 10_000


@contextmanager
def watching(service: Service, batch_id: str, ask: Callable[[], Snapshot]) -> Iterator[Look]:
    """What looks at a batch, its events coming in meanwhile; where the service goes away, it is waited for."""
    stream = _Stream(service, batch_id)
    lonely = _Lonely()

    def look(show: Show) -> Snapshot | None:
        try:
            seen = ask()
        except ServiceAway as away:
            show.say(f"{away}; asking again")
            return None
        if seen.at_rest:
            stream.ended.wait(_LAST_WORDS_SECONDS)
        show.look(seen, stream.news())
        lonely.note(seen)
        return seen

    stream.start()
    try:
        yield look
    finally:
        stream.stop()


class _Stream:
    """The events from now on, read by a thread of its own; after a break it goes on where it was."""

    def __init__(self, service: Service, batch_id: str) -> None:
        self._service = service
        self._path = f"/v1/batches/{batch_id}/events"
        self._mark = ""
        self._came: deque[Told] = deque()
        self._known: deque[int] = deque(maxlen=_REMEMBERED)
        """What came last: the few events about the break may be sent a second time."""
        self._left = threading.Event()
        self.ended = threading.Event()

    def start(self) -> None:
        """From now on."""
        threading.Thread(target=self._read, name="reelq events", daemon=True).start()

    def stop(self) -> None:
        """Nobody looks any more."""
        self._left.set()

    def news(self) -> list[Told]:
        """What has come since the last time."""
        return [self._came.popleft() for _ in range(len(self._came))]

    def _read(self) -> None:
        while not self._left.is_set() and not self.ended.is_set():
            try:
                self._read_once()
            except ServiceAway:  # whoever asks how the batch stands hears of it as well, and says so
                self._left.wait(_AGAIN_AFTER)
            except ReelqError:
                return  # and of this
            except Exception:
                if not self._left.is_set():  # else the line was closed under it
                    raise

    def _read_once(self) -> None:
        where = {"headers": {"Last-Event-ID": self._mark}} if self._mark else {"params": {"after": "latest"}}
        patience = httpx.Timeout(_SILENT_SECONDS, connect=10)
        with self._service.opened("GET", self._path, timeout=patience, **where) as response:
            try:
                for event in EventSource(response).iter_sse():
                    self._take(event)
            except SSEError:
                raise self._service.stranger() from None
        self._left.wait(_AGAIN_AFTER)  # a stream that ends without a word has broken off as well

    def _take(self, event: ServerSentEvent) -> None:
        if event.event == "end":
            self.ended.set()
        elif event.event == "job":
            told = resources.event(event.data)
            if told.id not in self._known:
                self._known.append(told.id)
                self._came.append(told)
        self._mark = event.id or self._mark


class _Lonely:
    """Says once that the batch stands still though it could go on."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._said = False

    def note(self, seen: Snapshot) -> None:
        """One more look."""
        now = time.monotonic()
        self._since = (self._since or now) if seen.moving and not seen.tended else None
        if self._since is not None and now - self._since > QUIET_SECONDS and not self._said:
            self._said = True
            click.echo("Nothing happens in this batch: its rows wait for a worker of the service.", err=True)
