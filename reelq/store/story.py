"""What happened: the events of a batch as they come, and all that is known of one row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select

from reelq.job import Stage
from reelq.store.models import Batch, Job, JobEvent, Send
from reelq.store.session import Transaction

_AT_ONCE: Final = 5000


@dataclass(frozen=True, slots=True)
class Told:
    """One event, and which row it is of."""

    id: int
    at: datetime
    job_id: str
    row: int
    name: str
    file: str
    instruction: str
    what: str
    stage: Stage
    before: str
    after: str
    words: str


@dataclass(frozen=True, slots=True)
class Story:
    """A row from its beginning to now."""

    job: Job
    batch: Batch
    events: tuple[JobEvent, ...]
    sends: tuple[Send, ...]
    before: Job | None
    """The row before it in its session."""
    same_as: Job | None
    """The same row of another batch, whose result it takes."""


def newest_event(session: Transaction, batch_id: str) -> int:
    """The number of the last event so far; 0 where nothing has happened yet."""
    query = select(func.max(JobEvent.id)).where(JobEvent.batch_id == batch_id)
    return session.execute(query).scalar_one() or 0


def told_since(session: Transaction, batch_id: str, after: int) -> list[Told]:
    """The events after this one, the oldest first; where there are very many, the first few thousand of them."""
    of_row = (Job.id, Job.row, Job.name, Job.file, Job.instruction)
    of_event = (JobEvent.what, JobEvent.stage, JobEvent.before, JobEvent.after, JobEvent.words)
    query = select(JobEvent.id, JobEvent.at, *of_row, *of_event).join(Job, Job.id == JobEvent.job_id)
    query = query.where(JobEvent.batch_id == batch_id, JobEvent.id > after).order_by(JobEvent.id).limit(_AT_ONCE)
    rows: Any = session.execute(query).all()
    return [Told(*row) for row in rows]


def story(session: Transaction, job_id: str) -> Story:
    """Everything about a row."""
    job = session.get_one(Job, job_id)
    events = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)).all()
    sends = session.scalars(select(Send).where(Send.job_id == job_id).order_by(Send.number)).all()
    return Story(
        job=job,
        batch=session.get_one(Batch, job.batch_id),
        events=tuple(events),
        sends=tuple(sends),
        before=session.get(Job, job.after_id) if job.after_id else None,
        same_as=session.get(Job, job.same_as) if job.same_as and job.same_as != job.id else None,
    )
