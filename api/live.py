"""Live events: what happens in a batch or to a row, sent as it happens, and never missed by whoever comes back.

Each event's `id` is a mark in the story: a client that comes back with the last one in `Last-Event-ID` goes on right
behind it. The database is asked about once a second; nothing is kept for a client but its mark.
"""

import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import Header, Query
from fastapi.responses import StreamingResponse

from api.schemas import Counts, EventShown
from api.service import Service
from reelq.store import apikeys, batches, story
from reelq.store.apikeys import Holder
from reelq.store.overview import goes_on, has_ended, row_goes_on
from reelq.store.session import Store, is_away
from reelq.store.story import BEGINNING, Mark, News

LOOK_EVERY: Final = 1.0
KEEP_ALIVE: Final = 15.0
_SECOND_LOOK: Final = 0.2
_STEP: Final = 0.2
"""How soon an end of the process is seen."""
MOST_AT_ONCE: Final = 200
"""Events that one look brings."""
_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_THREADS: Final = CapacityLimiter(8)
"""Threads that look for streams: however many there are, other requests have threads left."""

After = Annotated[
    Literal["latest"] | None, Query(description="`latest`: only what happens from now on; else from the beginning.")
]
LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        max_length=5000,
        description="The `id` of the last event that was received: the stream goes on right behind it. With a word "
        "that is no such id it begins anew, as nothing may be missed.",
    ),
]


EVENT: Final = {
    "type": "object",
    "description": "`begin` at once, `job` for each thing that happens, `end` when nothing goes on by itself any more.",
    "properties": {
        "event": {"enum": ["begin", "job", "end"]},
        "id": {"type": "string", "description": "Where the stream stands: for `Last-Event-ID`."},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "id", "data"],
}
"""One event, as OpenAPI describes it."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Whose events are told: a batch's, or those of one row."""

    batch_id: str
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class _Look:
    """What is new, and whether more will come."""

    news: News
    goes_on: bool
    ended: bool
    """Whether all has come to its end: that is so at the first look already."""
    admitted: bool
    """Whether the key that opened the stream is still good."""


def stream(
    here: Service, caller: Holder, tail: Tail, after: Literal["latest"] | None, last_event_id: str
) -> StreamingResponse:
    """The answer that goes on until nothing goes on by itself any more."""
    mark = _beginning(here.store, tail, after, last_event_id)
    sent = _sent(here, caller.key_id, tail, mark)
    return StreamingResponse(sent, media_type="text/event-stream", headers=_HEADERS)


def _beginning(store: Store, tail: Tail, after: str | None, last_event_id: str) -> Mark:
    """A client that comes back repeats its address, and so `after`: where it has been goes before where it began."""
    if last_event_id:
        return Mark.parse(last_event_id) or BEGINNING
    if after is None:
        return BEGINNING
    with store.read() as session:
        return story.newest_event(session, tail.batch_id)


async def _sent(here: Service, key_id: str, tail: Tail, mark: Mark) -> AsyncIterator[str]:
    """The stream's text. A row's end can fall between two transactions: it counts when it was seen twice."""
    yield _block("begin", {"batch": tail.batch_id, "job": tail.job_id or None}, mark)
    spoke, over = time.monotonic(), False
    while not here.stopping.is_set():
        look = await to_thread.run_sync(_look, here.store, tail, mark, key_id, limiter=_THREADS)
        if look is not None and not look.admitted:
            return
        if look is not None and look.news.told:
            mark, spoke = look.news.mark, time.monotonic()
            yield "".join(_blocks(look.news))
        if look is not None and not look.news.more:
            if look.ended or (over and not look.goes_on):
                yield await to_thread.run_sync(_end, here.store, tail, mark, limiter=_THREADS)
                return
            over = not look.goes_on
        if time.monotonic() - spoke >= KEEP_ALIVE:
            spoke = time.monotonic()
            yield ": still here\n\n"
        pause = 0 if look is not None and look.news.more else _SECOND_LOOK if over else LOOK_EVERY
        if not await _waited(here, pause):
            return


async def _waited(here: Service, seconds: float) -> bool:
    """Wait; False where the process ends meanwhile. (Whose client is gone is cancelled from outside.)"""
    until = time.monotonic() + seconds
    while True:
        if here.stopping.is_set():
            return False
        left = until - time.monotonic()
        if left <= 0:
            return True
        await anyio.sleep(min(left, _STEP))


def _look(store: Store, tail: Tail, mark: Mark, key_id: str) -> _Look | None:
    """First whether it goes on, then what is new: so nothing is left untold when it does not. None: database away."""
    try:
        with store.read() as session:
            admitted = apikeys.is_good(session, key_id)
            more = row_goes_on(session, tail.job_id) if tail.job_id else goes_on(session, tail.batch_id)
            ended = not more and has_ended(session, tail.batch_id, tail.job_id)
        with store.read() as session:
            read = story.row_told_since if tail.job_id else story.told_since
            return _Look(read(session, tail.job_id or tail.batch_id, mark, MOST_AT_ONCE), more, ended, admitted)
    except Exception as error:
        if not is_away(error):
            raise
        return None


def _end(store: Store, tail: Tail, mark: Mark) -> str:
    with store.read() as session:
        found = batches.counts(session, tail.batch_id)
    counts = Counts()
    for (_, status), count in found.items():
        setattr(counts, status, getattr(counts, status) + count)
    told = {"batch": tail.batch_id, "job": tail.job_id or None, "total": found.total(), "counts": counts.model_dump()}
    return _block("end", told, mark)


def _blocks(news: News) -> Iterator[str]:
    for told, mark in zip(news.told, news.marks, strict=True):
        yield _block("job", EventShown.of(told).model_dump(mode="json"), mark)


def _block(event: str, data: Any, mark: Mark) -> str:
    return f"event: {event}\nid: {mark}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
