"""Batches: the list, the state of one batch, its rows and results, and the actions on it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Annotated, Final

from fastapi import Path, Query, Request
from fastapi.responses import StreamingResponse

from api.deps import After, AfterRow, Caller, Here, Limit, Page, Service, page
from api.errors import not_found
from api.event_stream import After as AfterEvent
from api.event_stream import LastEventId, stream
from api.schemas import BatchHandled, BatchListed, JobShown
from reelq.job import Cause, Stage, Status
from reelq.results import Form, result_lines
from reelq.store import commands
from reelq.store.api_keys import Holder
from reelq.store.billing.ledger import Costs, costs_of
from reelq.store.commands import ActionCounts
from reelq.store.db.engine import Store, Transaction
from reelq.store.queries import lookup, rows
from reelq.store.queries.batch_status import Snapshot, snapshot
from reelq.store.queries.lookup import Target

BatchId = Annotated[str, Path(pattern=r"^bat_[0-9a-z]{22}$", examples=["bat_01k9z3c0q2m4x6v8b1n5s7"])]
_JSONL: Final = "application/jsonl"
_COSTS_THREADS: Final = ThreadPoolExecutor(4, "costs")
_Code = Annotated[str | None, Query(pattern=r"^[a-z_]{1,40}$", description="Only rows that ended with this error.")]
_Called = Annotated[
    str | None,
    Query(
        pattern=r"^[^\x00-\x1f\x7f]{1,200}$",
        description="Only the row with this number, or with this id in your manifest.",
    ),
]


def list_batches(here: Here, caller: Caller, limit: Limit = 50, cursor: After = None) -> Page[BatchListed]:
    """Your batches, newest first."""
    with here.store.read() as session:
        found = lookup.list_with_counts(session, caller.owner, limit + 1, cursor)
    return page(found, limit, BatchListed.model_validate, lambda batch: batch.id)


def show_batch(here: Here, caller: Caller, batch_id: BatchId) -> Snapshot:
    """The state of a batch: the counts of rows, the rows in progress, what holds them up, and why some failed."""
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
    """The rows of the batch in order. With several filters, only rows that match all of them."""
    filters = rows.RowFilter(status, stage, error_code, cause, called)
    with here.store.read() as session:
        _check_owner(session, caller.owner, batch_id)
        after = int(cursor.removeprefix("row_")) if cursor else 0
        found = rows.rows_of(session, batch_id, after, limit + 1, filters)
    return page(found, limit, JobShown.model_validate, lambda row: f"row_{row.row}")


def batch_results(here: Here, caller: Caller, request: Request, batch_id: BatchId) -> StreamingResponse:
    """The result manifest: your columns and the result of each row. As JSON Lines with `Accept: application/jsonl`."""
    _own(here, caller, batch_id)
    form = Form.JSONL if _JSONL in request.headers.get("accept", "") else Form.CSV
    headers = {"Content-Disposition": f'attachment; filename="{batch_id}-results.{form}"'}
    media = _JSONL if form is Form.JSONL else "text/csv; charset=utf-8"
    return StreamingResponse(result_lines(here.store, batch_id, form), media_type=media, headers=headers)


def batch_events(
    here: Here, caller: Caller, batch_id: BatchId, after: AfterEvent = None, last_event_id: LastEventId = ""
) -> StreamingResponse:
    """Live events of the batch (server-sent events). The stream ends when nothing more happens by itself."""
    _own(here, caller, batch_id)
    return stream(here, caller, Target(batch_id), after, last_event_id)


def cancel_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchHandled:
    """Cancel a batch. Rows in a running stage end soon, all others at once."""
    return _apply(here, caller, batch_id, commands.cancel_batch)


def pause_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchHandled:
    """Pause a batch: running stages finish, no new ones start."""
    return _apply(here, caller, batch_id, lambda store, one: commands.pause_batch(store, one)[1])


def resume_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchHandled:
    """Resume what you have paused or limited, and lift the batch's limits."""
    return _apply(here, caller, batch_id, commands.resume_batch)


def retry_batch(here: Here, caller: Caller, batch_id: BatchId) -> BatchHandled:
    """Retry every failed row, and the rows that were cancelled because of one."""
    return _apply(here, caller, batch_id, commands.retry_batch)


def shown(store: Store, owner: str, batch_id: str) -> Snapshot:
    """Return the state of the owner's batch. Raise a problem if there is no such batch."""
    with store.read() as session:
        _check_owner(session, owner, batch_id)
        # For a huge batch, the costs take as long to read as the rest, so both are read in parallel.
        costs = _COSTS_THREADS.submit(_costs, store, batch_id)
        now = store.now(session)
        state = rows.with_reasons(session, snapshot(session, batch_id, now, costs=Costs(0, shared=False)))
    # Wait only after releasing the connection. Holding one while waiting for another could deadlock.
    return replace(state, **costs.result()._asdict())


def _costs(store: Store, batch_id: str) -> Costs:
    with store.read() as session:
        return costs_of(session, batch_id)


def _apply(here: Service, caller: Holder, batch_id: str, act: Callable[[Store, str], ActionCounts]) -> BatchHandled:
    _own(here, caller, batch_id)
    counts = act(here.store, batch_id)
    return BatchHandled(**asdict(counts), batch=shown(here.store, caller.owner, batch_id))


def _own(here: Service, caller: Holder, batch_id: str) -> None:
    with here.store.read() as session:
        _check_owner(session, caller.owner, batch_id)


def _check_owner(session: Transaction, owner: str, batch_id: str) -> None:
    if not lookup.is_owned_by(session, owner, batch_id):
        raise not_found("batch")
