"""When a batch has finished: all its rows have ended, and whoever wanted to be told is told of it once."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, bindparam, func, select, update
from sqlalchemy.orm import InstrumentedAttribute

from reelq.job import FINAL, Status
from reelq.store import outbox
from reelq.store.models import Batch, Job, JobEvent
from reelq.store.session import Transaction

_OPEN: Final = tuple(status for status in Status if status not in FINAL)


def newest_event(session: Transaction) -> int:
    """The number of the last event of all; what happens from now on has a higher one, but for what is under way."""
    return session.execute(select(func.max(JobEvent.id))).scalar_one() or 0


def ended(session: Transaction, most: int, since: int | None = None, batch_id: str | None = None) -> list[str]:
    """Unfinished batches all of whose rows have ended; of those alone in which something happened after an event.

    Without one, all of them are looked at, each with one look at an index.
    """
    query = select(Batch.id).where(Batch.finished_at.is_(None), *_over(Batch.id))
    if since is not None:
        query = query.where(Batch.id.in_(select(JobEvent.batch_id).where(JobEvent.id > since)))
    if batch_id is not None:
        query = query.where(Batch.id == batch_id)
    return list(session.scalars(query.order_by(Batch.id).limit(most)))


def finish(session: Transaction, batch_id: str, now: datetime) -> bool:
    """Note that the batch has finished, and tell of it; False where it has not, or was noted before."""
    held = select(Batch.id).where(Batch.id == batch_id, Batch.finished_at.is_(None))
    if session.execute(held.with_for_update(skip_locked=True, key_share=True)).first() is None:
        return False
    # A statement of its own: only now is it sure that nobody opens the batch again while we look.
    done = update(Batch).where(Batch.id == batch_id, *_over(Batch.id)).values(finished_at=now).returning(Batch.id)
    if session.execute(done.execution_options(synchronize_session=False)).first() is None:
        return False
    outbox.tell_of_batch(session, batch_id, now)
    return True


def hold_open(session: Transaction, job_id: str) -> bool:
    """Keep anybody from finishing the job's batch before this transaction ends; whether it had finished.

    To be called before a job leaves its end. The batch's row first, the job's after it: so does whoever locks both.
    """
    mine = select(Job.batch_id).where(Job.id == bindparam("job_id")).scalar_subquery()
    query = select(Batch.finished_at).where(Batch.id == mine).with_for_update(key_share=True)
    return session.execute(query, {"job_id": job_id}).scalar_one_or_none() is not None


def reopen(session: Transaction, job_id: str) -> None:
    """A job of it goes on after its end: the batch has not finished, and will be told of again when it has."""
    mine = select(Job.batch_id).where(Job.id == job_id).scalar_subquery()
    again = update(Batch).where(Batch.id == mine).values(finished_at=None)
    session.execute(again.execution_options(synchronize_session=False))


def _over(batch_id: InstrumentedAttribute[str]) -> tuple[ColumnElement[bool], ...]:
    """It has rows, and none that is open."""
    rows = select(Job.id).where(Job.batch_id == batch_id)
    return ~rows.where(Job.status.in_(_OPEN)).exists(), rows.exists()
