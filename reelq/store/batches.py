"""Batches: how many of their jobs are where, and what a person asks of all of them at once."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from reelq.job import FINAL, Cause, Status
from reelq.store import accounts
from reelq.store.models import Batch, BatchState, Job
from reelq.store.moves import Position, move

IDLE: Final = (Job.status.in_((Status.QUEUED, Status.WAITING)),)
"""The jobs that have not ended and are not at work."""
FOR_A_PERSON: Final = (Job.status == Status.WAITING, Job.cause.not_in((Cause.SESSION, Cause.TWIN)))
"""Those that wait for a person; the others wait for another row's end."""


def counts(session: Session, batch_id: str) -> Counter[tuple[str, str]]:
    """How many jobs are where: by stage and status."""
    query = select(Job.stage, Job.status, func.count()).where(Job.batch_id == batch_id).group_by(Job.stage, Job.status)
    return Counter({(str(stage), str(status)): count for stage, status, count in session.execute(query)})


def is_over(session: Session, batch_id: str) -> bool:
    """Whether every job of it has come to a final status."""
    open_job = select(Job.id).where(Job.batch_id == batch_id, Job.status.not_in(FINAL)).limit(1)
    return session.execute(open_job).first() is None


def pause(session: Session, batch_id: str) -> None:
    """No stage of it begins any more; those that run end."""
    session.execute(
        update(Batch).where(Batch.id == batch_id, Batch.state == BatchState.ACTIVE).values(state=BatchState.PAUSED)
    )


def lift(session: Session, batch_id: str) -> None:
    """Neither a pause nor a limit holds the batch any more, nor what its accounts were parked for."""
    session.execute(
        update(Batch).where(Batch.id == batch_id, Batch.state == BatchState.PAUSED).values(state=BatchState.ACTIVE)
    )
    session.execute(update(Batch).where(Batch.id == batch_id).values(released=None, limit_credits=None))
    held_off = select(Job.account_id).where(
        Job.batch_id == batch_id, Job.cause.in_((Cause.CREDITS, Cause.PLAN, Cause.TOKEN))
    )
    for account_id in session.scalars(held_off.distinct()).all():
        accounts.unpark(session, account_id)  # if nothing has changed, the first row to go on parks it again


def go_on(session: Session, job: Job, now: datetime) -> None:
    """A row that waits is queued again."""
    # A moment that is yet to come stands: an export is not looked at sooner for having been paused.
    move(session, Position.of(job), Status.QUEUED, now, "resumed", due_at=max(job.due_at, now))


def close(session: Session, batch_id: str) -> None:
    """No row of it begins any more: whoever takes one ends it. Those at work are told to."""
    session.execute(update(Batch).where(Batch.id == batch_id).values(state=BatchState.CANCELLED))
    session.execute(
        update(Job).where(Job.batch_id == batch_id, Job.status == Status.RUNNING).values(cancel_wished=True)
    )


def ids_of(session: Session, batch_id: str, *where: ColumnElement[bool]) -> Sequence[str]:
    """The ids of its jobs that are so, in the order of the rows."""
    return session.scalars(select(Job.id).where(Job.batch_id == batch_id, *where).order_by(Job.row)).all()
