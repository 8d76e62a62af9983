"""Live events of a batch or a row, as server-sent events. A client that reconnects misses none.

The `id` of each event marks a position. A client that reconnects with the last one in `Last-Event-ID` continues right
after it. The database is polled about once a second, and the only state kept for a client is its position.
"""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import Header, Query
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from api.deps import Service
from reelq.job import Status
from reelq.store import api_keys, commands
from reelq.store.api_keys import Holder
from reelq.store.db.engine import Store, is_unavailable
from reelq.store.queries import events
from reelq.store.queries.events import START, Cursor, EventPage, RowEvent, has_ended, is_moving, row_is_moving
from reelq.store.queries.lookup import Target

POLL_SECONDS: Final = 1.0
KEEP_ALIVE: Final = 15.0
_CONFIRM_AFTER: Final = 0.2
_STOP_CHECK: Final = 0.2
"""How often a waiting stream checks whether the process is stopping, in seconds."""
MOST_AT_ONCE: Final = 200
"""The most events to read at once."""
_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_THREADS: Final = CapacityLimiter(8)
"""Limits the threads that poll for streams, so that other requests always have threads left."""
After = Annotated[
    Literal["latest"] | None,
    Query(description="`latest`: only new events. By default, the stream starts at the beginning."),
]
LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        max_length=5000,
        description="The `id` of the last event received. The stream continues after it. An unknown id starts it from "
        "the beginning.",
    ),
]
EVENT: Final = {
    "type": "object",
    "description": "`begin` first, `job` for each event, `end` when nothing more happens by itself.",
    "properties": {
        "event": {"enum": ["begin", "job", "end"]},
        "id": {"type": "string", "description": "The position in the stream, for `Last-Event-ID`."},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "id", "data"],
}
"""The OpenAPI schema of one event."""
_EVENT_JSON: Final = TypeAdapter(RowEvent)


@dataclass(frozen=True, slots=True)
class _Poll:
    """The result of one poll of the database."""

    news: EventPage
    goes_on: bool
    ended: bool
    """Whether everything has finished. If so, the stream can end after the first poll."""
    key_is_valid: bool
    """Whether the key that opened the stream is still valid."""


def stream(
    service: Service, caller: Holder, source: Target, after: Literal["latest"] | None, last_event_id: str
) -> StreamingResponse:
    """Return the event stream. It ends when nothing more happens without an action by the user."""
    mark = _start_position(service.store, source, after, last_event_id)
    content = _events(service, caller.key_id, source, mark)
    return StreamingResponse(content, media_type="text/event-stream", headers=_HEADERS)


def _start_position(store: Store, source: Target, after: str | None, last_event_id: str) -> Cursor:
    """Return the position to start from.

    A client that reconnects repeats its URL, and thus `after`, so `Last-Event-ID` takes precedence.
    """
    if last_event_id:
        return Cursor.parse(last_event_id) or START
    if after is None:
        return START
    with store.read() as session:
        return events.newest_event(session, source.batch_id)


async def _events(service: Service, key_id: str, source: Target, mark: Cursor) -> AsyncIterator[str]:
    """Yield the text of the stream.

    Between two transactions a batch can seem to be at rest, so the stream ends only if two polls in a row see that.
    """
    yield _block("begin", {"batch": source.batch_id, "job": source.job_id or None}, mark)
    last_sent, at_rest = time.monotonic(), False
    while not service.stopping.is_set():
        poll = await to_thread.run_sync(_poll, service.store, source, mark, key_id, limiter=_THREADS)
        if poll is not None and not poll.key_is_valid:
            return
        if poll is not None and poll.news.events:
            mark, last_sent = poll.news.mark, time.monotonic()
            read = zip(poll.news.events, poll.news.marks, strict=True)
            yield "".join(_block("job", _EVENT_JSON.dump_python(event, mode="json"), at) for event, at in read)
        if poll is not None and not poll.news.more:
            if poll.ended or (at_rest and not poll.goes_on):
                yield await to_thread.run_sync(_end_block, service.store, source, mark, limiter=_THREADS)
                return
            at_rest = not poll.goes_on
        if time.monotonic() - last_sent >= KEEP_ALIVE:
            last_sent = time.monotonic()
            yield ": still here\n\n"
        pause = 0 if poll is not None and poll.news.more else _CONFIRM_AFTER if at_rest else POLL_SECONDS
        await _wait(service, pause)


async def _wait(service: Service, seconds: float) -> None:
    """Wait, or return early if the process is stopping. If the client disconnects, the server cancels the task."""
    deadline = time.monotonic() + seconds
    while not service.stopping.is_set() and (remaining := deadline - time.monotonic()) > 0:
        await anyio.sleep(min(remaining, _STOP_CHECK))


def _poll(store: Store, source: Target, mark: Cursor, key_id: str) -> _Poll | None:
    """Poll the database. Return None if it is unavailable.

    The status is read before the events, so that no event is missed when the status says that nothing more happens.
    """
    try:
        with store.read() as session:
            key_is_valid = api_keys.is_valid(session, key_id)
            active = row_is_moving(session, source.job_id) if source.job_id else is_moving(session, source.batch_id)
            ended = not active and has_ended(session, source.batch_id, source.job_id)
        with store.read() as session:
            read = events.row_events_after if source.job_id else events.events_after
            news = read(session, source.job_id or source.batch_id, mark, MOST_AT_ONCE)
        return _Poll(news, active, ended, key_is_valid)
    except Exception as error:
        if not is_unavailable(error):
            raise
        return None


def _end_block(store: Store, source: Target, mark: Cursor) -> str:
    with store.read() as session:
        counts = commands.job_counts(session, source.batch_id)
    by_status = {str(status): counts[status] for status in Status}
    subject = {"batch": source.batch_id, "job": source.job_id or None}
    return _block("end", {**subject, "total": counts.total(), "counts": by_status}, mark)


def _block(event: str, data: Any, mark: Cursor) -> str:
    return f"event: {event}\nid: {mark}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
