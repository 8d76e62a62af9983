"""Jobs: a row with its history, and the actions on it."""

from typing import Annotated

from fastapi import Path
from fastapi.responses import StreamingResponse

from api.deps import Caller, Here, Service
from api.errors import not_found
from api.event_stream import After as AfterEvent
from api.event_stream import EventSource, LastEventId, stream
from api.schemas import JobHandled, JobWhole
from reelq.storage import Storage
from reelq.store import commands
from reelq.store.api_keys import Holder
from reelq.store.commands import ActionCounts
from reelq.store.db.engine import Store
from reelq.store.queries import rows
from reelq.store.queries.rows import RowDetail

JobId = Annotated[str, Path(pattern=r"^job_[0-9a-z]{22}$", examples=["job_01k9z3c0q2m4x6v8b1n5s7"])]


def show_job(here: Here, caller: Caller, job_id: JobId) -> JobWhole:
    """A row with its input, its instructions, its history and its result."""
    return shown(here.store, caller.owner, job_id)


def job_events(
    here: Here,
    caller: Caller,
    job_id: JobId,
    after: AfterEvent = None,
    last_event_id: LastEventId = "",
) -> StreamingResponse:
    """Live events of the row (server-sent events). The stream ends when nothing more happens by itself."""
    job = own(here, caller, job_id)
    return stream(here, caller, EventSource(job.batch_id, job_id), after, last_event_id)


def cancel_job(here: Here, caller: Caller, job_id: JobId) -> JobHandled:
    """Cancel the row: at once, or soon if a stage is running."""
    own(here, caller, job_id)
    counts = commands.cancel_row(here.store, job_id)
    return JobHandled.of(counts, shown(here.store, caller.owner, job_id))


def retry_job(here: Here, caller: Caller, job_id: JobId) -> JobHandled:
    """Retry a failed or cancelled row."""
    own(here, caller, job_id)
    retried = commands.retry_row(here.store, job_id, Storage.of(here.settings))
    counts = ActionCounts(int(retried), not_so=int(not retried))
    return JobHandled.of(counts, shown(here.store, caller.owner, job_id))


def shown(store: Store, owner: str, job_id: str) -> JobWhole:
    """Return the owner's row for a response. Raise a problem if there is no such row."""
    with store.read() as session:
        found = rows.row_with_history(session, owner, job_id)
    if found is None:
        raise not_found("job")
    return JobWhole.whole(found)


def own(here: Service, caller: Holder, job_id: str) -> RowDetail:
    """Return the caller's row. Raise a problem if there is no such row."""
    with here.store.read() as session:
        found = rows.row_of(session, caller.owner, job_id)
    if found is None:
        raise not_found("job")
    return found
