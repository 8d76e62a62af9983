"""Follows a batch of a service: polls its state, and reads what happens from its event stream."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from reelq.cli.backends.http.client import Service, parse
from reelq.cli.views.watch import Reader, View
from reelq.errors import ReelqError, ServiceAway
from reelq.store.queries.batch_status import QUIET_SECONDS, Snapshot
from reelq.store.queries.events import RowEvent

_STREAM_TIMEOUT_SECONDS: Final = 45.0
"""The service sends something on a stream every 15 seconds, if only a keep-alive."""
_RECONNECT_SECONDS: Final = 1.0
_LAST_EVENTS_SECONDS: Final = 10.0
"""How long to wait for the stream of a batch at rest to end; then all of its events have arrived."""
_MOST_REMEMBERED: Final = 10_000


@contextmanager
def watching(service: Service, batch_id: str, ask: Callable[[], Snapshot]) -> Iterator[Reader]:
    """Open a function that reads and shows a batch, while a thread collects events.

    If the service is unavailable, the function says so and returns None, to be called again.
    """
    stream = _Stream(service, batch_id)
    idle_warning = _IdleWarning()

    def read(view: View) -> Snapshot | None:
        try:
            batch = ask()
        except ServiceAway as unavailable:
            view.notify(f"{unavailable}; retrying")
            return None
        if batch.at_rest:
            stream.ended.wait(_LAST_EVENTS_SECONDS)
        view.update(batch, stream.news())
        idle_warning.note(batch)
        return batch

    threading.Thread(target=stream.read, name="reelq events", daemon=True).start()
    try:
        yield read
    finally:
        stream.stopped.set()


class _Stream:
    """Reads events from now on. After a disconnect it continues where it was."""

    def __init__(self, service: Service, batch_id: str) -> None:
        self._service = service
        self._path = f"/v1/batches/{batch_id}/events"
        self._last_id = ""
        self._received: deque[RowEvent] = deque()
        self._received_ids: deque[int] = deque(maxlen=_MOST_REMEMBERED)
        """Ids of the latest events: after a disconnect, some may be sent a second time."""
        self.stopped = threading.Event()
        self.ended = threading.Event()

    def news(self) -> list[RowEvent]:
        """The events since the last call."""
        return [self._received.popleft() for _ in range(len(self._received))]

    def read(self) -> None:
        """Read until all events have arrived, or until `stopped` is set."""
        while not self.stopped.is_set() and not self.ended.is_set():
            try:
                self._read_once()
            except ServiceAway:  # polling the batch fails in the same way, and reports it
                self.stopped.wait(_RECONNECT_SECONDS)
            except ReelqError:
                return  # reported there as well
            except Exception:
                if not self.stopped.is_set():  # otherwise the connection was closed on purpose
                    raise

    def _read_once(self) -> None:
        position = {"headers": {"Last-Event-ID": self._last_id}} if self._last_id else {"params": {"after": "latest"}}
        timeout = httpx.Timeout(_STREAM_TIMEOUT_SECONDS, connect=10)
        with self._service.opened("GET", self._path, timeout=timeout, **position) as response:
            try:
                for event in EventSource(response).iter_sse():
                    self._handle(event)
            except SSEError:
                raise self._service.unexpected_answer() from None
        self.stopped.wait(_RECONNECT_SECONDS)  # a stream without an `end` event was cut off: reconnect

    def _handle(self, event: ServerSentEvent) -> None:
        if event.event == "end":
            self.ended.set()
        elif event.event == "job":
            job_event = parse(RowEvent, event.data)
            if job_event.id not in self._received_ids:
                self._received_ids.append(job_event.id)
                self._received.append(job_event)
        self._last_id = event.id or self._last_id


class _IdleWarning:
    """Warns once if a batch makes no progress although it could."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._has_warned = False

    def note(self, batch: Snapshot) -> None:
        """Record the state of the batch."""
        now = time.monotonic()
        self._since = (self._since or now) if batch.moving_count and not batch.tended else None
        if self._since is not None and now - self._since > QUIET_SECONDS and not self._has_warned:
            self._has_warned = True
            click.echo("No worker of the service is running this batch; its rows stay queued.", err=True)
