"""Batches: how many of their jobs are where, and what a person asks of all of them at once."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from reelq.job import FINAL, Cause, Status
from reelq.store import accounts
from reelq.store.jobs import end
from reelq.store.models import Batch, BatchState, Job
from reelq.store.moves import Position, StaleMove, move


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


def resume(session: Session, batch_id: str, now: datetime) -> int:
    """Everything of it that waits for a person goes on; how many jobs those are."""
    session.execute(
        update(Batch).where(Batch.id == batch_id, Batch.state == BatchState.PAUSED).values(state=BatchState.ACTIVE)
    )
    session.execute(update(Batch).where(Batch.id == batch_id).values(released=None, limit_credits=None))
    held_off = select(Job.account_id).where(
        Job.batch_id == batch_id, Job.cause.in_((Cause.CREDITS, Cause.PLAN, Cause.TOKEN))
    )
    for account_id in session.scalars(held_off.distinct()).all():
        accounts.unpark(session, account_id)  # if nothing has changed, the first row to go on parks it again
    return _each(session, batch_id, (Status.WAITING,), now, _go_on)


def _go_on(session: Session, job: Job, now: datetime) -> bool:
    if job.cause in {Cause.SESSION, Cause.TWIN}:
        return False  # what it waits for is another row's end
    # A moment that is yet to come stands: an export is not looked at sooner for having been paused.
    move(session, Position.of(job), Status.QUEUED, now, "resumed", due_at=max(job.due_at, now))
    return True


def cancel(session: Session, batch_id: str, now: datetime) -> int:
    """End all of it that has not ended. What runs ends at its next event, its costs and words recorded."""
    session.execute(update(Batch).where(Batch.id == batch_id).values(state=BatchState.CANCELLED))
    session.execute(
        update(Job).where(Job.batch_id == batch_id, Job.status == Status.RUNNING).values(cancel_wished=True)
    )
    return _each(session, batch_id, (Status.QUEUED, Status.WAITING), now, _cancel)


def _cancel(session: Session, job: Job, now: datetime) -> bool:
    end(session, Position.of(job), Status.CANCELLED, now, "cancelled")
    return True


def _each(session: Session, batch_id: str, statuses: Sequence[Status], now: datetime, act: Any) -> int:
    jobs = session.scalars(
        select(Job).where(Job.batch_id == batch_id, Job.status.in_(statuses)).order_by(Job.row)
    ).all()
    done = 0
    for job in jobs:
        if job.status not in statuses:
            continue  # what was done to the row before it in its session has moved it already
        try:
            done += act(session, job, now)
        except StaleMove:
            continue
    return done
