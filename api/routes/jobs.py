"""Jobs: one row's whole story, and what can be asked of it."""

from typing import Annotated

from fastapi import Path
from fastapi.responses import StreamingResponse

from api.auth import Caller
from api.live import After as AfterEvent
from api.live import LastEventId, Tail, stream
from api.problems import not_found
from api.schemas import JobHandled, JobWhole
from api.service import Here, Service
from reelq.storage import Storage
from reelq.store import handling, rows
from reelq.store.apikeys import Holder
from reelq.store.handling import Handled
from reelq.store.rows import JobRead
from reelq.store.session import Store

JobId = Annotated[str, Path(pattern=r"^job_[0-9a-z]{22}$", examples=["job_01k9z3c0q2m4x6v8b1n5s7"])]


def show_job(here: Here, caller: Caller, job_id: JobId) -> JobWhole:
    """A row's whole story: what was asked, what went out, what happened, what came of it."""
    return shown(here.store, caller.owner, job_id)


def job_events(
    here: Here,
    caller: Caller,
    job_id: JobId,
    after: AfterEvent = None,
    last_event_id: LastEventId = "",
) -> StreamingResponse:
    """What happens to the row, as it happens (server-sent events), until it goes on by itself no more."""
    job = own(here, caller, job_id)
    return stream(here, caller, Tail(job.batch_id, job_id), after, last_event_id)


def cancel_job(here: Here, caller: Caller, job_id: JobId) -> JobHandled:
    """The row ends: now, or at its next event where it is at work."""
    own(here, caller, job_id)
    done = handling.cancel_row(here.store, job_id)
    return JobHandled.of(done, shown(here.store, caller.owner, job_id))


def retry_job(here: Here, caller: Caller, job_id: JobId) -> JobHandled:
    """A failed or cancelled row goes again."""
    own(here, caller, job_id)
    done = handling.retry_row(here.store, job_id, Storage.of(here.settings))
    told = Handled(int(done), not_so=int(not done))
    return JobHandled.of(told, shown(here.store, caller.owner, job_id))


def shown(store: Store, owner: str, job_id: str) -> JobWhole:
    """The owner's row as it goes out; a problem where there is none."""
    with store.read() as session:
        found = rows.whole(session, owner, job_id)
    if found is None:
        raise not_found("job")
    return JobWhole.whole(found)


def own(here: Service, caller: Holder, job_id: str) -> JobRead:
    """The caller's row; a problem where there is none."""
    with here.store.read() as session:
        found = rows.row_of(session, caller.owner, job_id)
    if found is None:
        raise not_found("job")
    return found
