"""Jobs: a row with its history, and the actions on it."""

from dataclasses import asdict
from typing import Annotated

from fastapi import Path
from fastapi.responses import StreamingResponse

from api.deps import Caller, Here, Service
from api.errors import not_found
from api.event_stream import After as AfterEvent
from api.event_stream import LastEventId, stream
from api.schemas import JobHandled
from reelq.storage import Storage
from reelq.store import commands
from reelq.store.api_keys import Holder
from reelq.store.db.engine import Store
from reelq.store.queries import rows
from reelq.store.queries.lookup import Target
from reelq.store.queries.rows import Row, RowWithHistory

JobId = Annotated[str, Path(pattern=r"^job_[0-9a-z]{22}$", examples=["job_01k9z3c0q2m4x6v8b1n5s7"])]


def show_job(here: Here, caller: Caller, job_id: JobId) -> RowWithHistory:
    """A row with its input, its instructions, its history and its result."""
    return shown(here.store, caller.owner, job_id)


def job_events(
    here: Here, caller: Caller, job_id: JobId, after: AfterEvent = None, last_event_id: LastEventId = ""
) -> StreamingResponse:
    """Live events of the row (server-sent events). The stream ends when nothing more happens by itself."""
    job = own(here, caller, job_id)
    return stream(here, caller, Target(job.batch, job_id), after, last_event_id)


def cancel_job(here: Here, caller: Caller, job_id: JobId) -> JobHandled:
    """Cancel the row: at once, or soon if a stage is running."""
    own(here, caller, job_id)
    counts = commands.cancel_row(here.store, job_id)
    return JobHandled(**asdict(counts), job=shown(here.store, caller.owner, job_id))


def retry_job(here: Here, caller: Caller, job_id: JobId) -> JobHandled:
    """Retry a failed or cancelled row."""
    own(here, caller, job_id)
    retried = commands.retry_row(here.store, job_id, Storage.of(here.settings))
    return JobHandled(done=int(retried), soon=0, not_so=int(not retried), job=shown(here.store, caller.owner, job_id))


def shown(store: Store, owner: str, job_id: str) -> RowWithHistory:
    """Return the owner's row with its history. Raise a problem if there is no such row."""
    with store.read() as session:
        found = rows.row_with_history(session, owner, job_id)
    if found is None:
        raise not_found("job")
    return found


def own(here: Service, caller: Holder, job_id: str) -> Row:
    """Return the caller's row. Raise a problem if there is no such row."""
    with here.store.read() as session:
        found = rows.row_of(session, caller.owner, job_id)
    if found is None:
        raise not_found("job")
    return found
