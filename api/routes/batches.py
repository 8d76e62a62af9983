"""Batches: the list, one of them as it stands, its rows, its results, and what can be asked of it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Annotated, Final

from fastapi import Path, Query, Request
from fastapi.responses import StreamingResponse

from api.auth import Caller
from api.live import After as AfterEvent
from api.live import LastEventId, Tail, stream
from api.pages import After, AfterRow, Limit, Page, page, row_after
from api.problems import not_found
from api.schemas import BatchHandled, BatchListed, BatchShown, JobShown
from api.service import Here, Service
from reelq.job import Cause, Stage, Status
from reelq.results import Form, lines_of_results
from reelq.store import batchlist, handling, outcomes, rows
from reelq.store.apikeys import Holder
from reelq.store.handling import Handled
from reelq.store.overview import Costs, costs_of, snapshot
from reelq.store.session import Store

BatchId = Annotated[str, Path(pattern=r"^bat_[0-9a-z]{22}$", examples=["bat_01k9z3c0q2m4x6v8b1n5s7"])]
_JSONL: Final = "application/jsonl"
_BESIDE: Final = ThreadPoolExecutor(4, "costs")
_Code = Annotated[str | None, Query(pattern=r"^[a-z_]{1,40}$", description="Only rows that ended with this error.")]

_Called = Annotated[
    str | None,
    Query(pattern=r"^[^\x00-\x1f\x7f]{1,200}$", description="Only the row with this number, or this id of yours."),
]


def list_batches(here: Here, caller: Caller, limit: Limit = 50, cursor: After = None) -> Page[BatchListed]:
    """Your batches, the newest first."""
    with here.store.read() as session:
        found = batchlist.standings(session, caller.owner, limit + 1, cursor)
    return page(found, limit, BatchListed.of, lambda one: one.batch.id)


def show_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchShown:
    """A batch as it stands: how many rows are where, which move, what holds them up, why some failed."""
    return shown(here.store, caller.owner, batch_id)


def list_jobs(
    here: Here,
    caller: Caller,
    batch_id: BatchId,
    limit: Limit = 50,
    cursor: AfterRow = None,
    status: Status | None = None,
    stage: Stage | None = None,
    error_code: _Code = None,
    cause: Cause | None = None,
    called: _Called = None,
) -> Page[JobShown]:
    """The batch's rows in order; with filters, those that are so in all that is named."""
    sieve = rows.Sieve(status, stage, error_code, cause, called)
    with here.store.read() as session:
        if not batchlist.is_of(session, caller.owner, batch_id):
            raise not_found("batch")
        found = rows.rows_of(session, batch_id, row_after(cursor), limit + 1, sieve)
    return page(found, limit, JobShown.of, lambda one: f"row_{one.row}")


def batch_results(here: Here, caller: Caller, request: Request, batch_id: BatchId) -> StreamingResponse:
    """The result manifest: your columns, then what came of each row; as JSON Lines for `Accept: application/jsonl`."""
    _own(here, caller, batch_id)
    form = Form.JSONL if _JSONL in request.headers.get("accept", "") else Form.CSV
    headers = {"Content-Disposition": f'attachment; filename="{batch_id}-results.{form}"'}
    media = _JSONL if form is Form.JSONL else "text/csv; charset=utf-8"
    return StreamingResponse(lines_of_results(here.store, batch_id, form), media_type=media, headers=headers)


def batch_events(
    here: Here,
    caller: Caller,
    batch_id: BatchId,
    after: AfterEvent = None,
    last_event_id: LastEventId = "",
) -> StreamingResponse:
    """What happens in the batch, as it happens (server-sent events), until nothing goes on by itself any more."""
    _own(here, caller, batch_id)
    return stream(here, caller, Tail(batch_id), after, last_event_id)


def cancel_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchHandled:
    """No row of it goes on; those at work end at their next event."""
    return _handled(here, caller, batch_id, handling.cancel_batch)


def pause_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchHandled:
    """No stage of it begins any more; those at work end."""
    return _handled(here, caller, batch_id, lambda store, one: handling.pause_batch(store, one)[1])


def resume_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchHandled:
    """All of it that a person held up goes on, and its limits are lifted."""
    return _handled(here, caller, batch_id, handling.resume_batch)


def retry_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchHandled:
    """Every failed row of it goes again, and those that ended because of one."""
    return _handled(here, caller, batch_id, handling.retry_batch)


def shown(store: Store, owner: str, batch_id: str) -> BatchShown:
    """The owner's batch as it goes out; a problem where there is none."""
    with store.read() as session:
        if not batchlist.is_of(session, owner, batch_id):
            raise not_found("batch")
        # Of a huge batch this takes as long as most of the rest: it is read beside it.
        costs = _BESIDE.submit(_costs, store, batch_id)
        seen = snapshot(session, batch_id, store.now(session), costs=Costs(0, shared=False))
        failed = outcomes.failures(session, batch_id) if seen.count(Status.FAILED, Status.CANCELLED) else ()
        waiting = outcomes.waits(session, batch_id) if seen.count(Status.WAITING) else ()
    # Waited for with no connection in hand: who holds one and waits for another may wait for ever.
    spent = costs.result()
    return BatchShown.at_this_moment(replace(seen, credits=spent.credits, shared=spent.shared), failed, waiting)


def _costs(store: Store, batch_id: str) -> Costs:
    with store.read() as session:
        return costs_of(session, batch_id)


def _handled(here: Service, caller: Holder, batch_id: str, act: Callable[[Store, str], Handled]) -> BatchHandled:
    _own(here, caller, batch_id)
    done = act(here.store, batch_id)
    return BatchHandled.of(done, shown(here.store, caller.owner, batch_id))


def _own(here: Service, caller: Holder, batch_id: str) -> None:
    with here.store.read() as session:
        if not batchlist.is_of(session, caller.owner, batch_id):
            raise not_found("batch")
