"""Renews the leases of running jobs, releases jobs of stopping workers, and requeues jobs whose lease has expired."""

from collections.abc import Container
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.orm import Session

from reelq.errors import Poisoned
from reelq.job import Stage, Status
from reelq.store.db.models import Batch, BatchState, Job
from reelq.store.db.statements import parameters
from reelq.store.jobs.completion import reschedule
from reelq.store.jobs.dependents import end
from reelq.store.jobs.scheduler import in_scope_of
from reelq.store.jobs.transitions import AT_POSITION, Position, StaleMove, later, move

# SQLite needs no row lock: it runs one writing transaction at a time.
_LOCK_AT_POSITION: Final = select(Job.id).where(*AT_POSITION).with_for_update(key_share=True)


def fence(session: Session, at: Position) -> bool:
    """Whether the job is still at this position; if so, it is locked there until this transaction ends."""
    return session.connection().execute(_LOCK_AT_POSITION, parameters(at.where())).first() is not None


def is_to_be_cancelled(session: Session, at: Position) -> bool:
    """Whether the job is to be cancelled. The job is locked: no cancellation can come before this transaction ends."""
    query = select(Job.cancel_wished, Batch.state).join(Batch, Batch.id == Job.batch_id).where(Job.id == at.job_id)
    wished = session.execute(query.with_for_update(of=Job, key_share=True)).one_or_none()
    return wished is not None and (wished.cancel_wished or wished.state is BatchState.CANCELLED)


def renew(session: Session, now: datetime, worker: str, held: dict[str, int], seconds: float) -> dict[str, bool]:
    """Renew the leases of the jobs that a worker holds, in one statement.

    `held` maps job ids to runs. Returns the jobs that still belong to the worker, each with whether it is to be
    cancelled.
    """
    if not held:
        return {}
    held_by_worker = (Job.worker == worker, Job.status == Status.RUNNING, Job.id.in_(held))
    session.execute(update(Job).where(*held_by_worker).values(lease_until=later(now, seconds)))
    rows = session.execute(select(Job.id, Job.run, Job.cancel_wished).where(*held_by_worker))
    return {job_id: wished for job_id, run, wished in rows if held[job_id] == run}


def release(session: Session, now: datetime, worker: str, held: dict[str, int]) -> None:
    """Requeue the jobs of a stopping worker, due at once under the next run."""
    query = select(Job).where(Job.worker == worker, Job.status == Status.RUNNING, Job.id.in_(held))
    for job in session.scalars(query).all():
        if job.run == held[job.id]:
            message = "its worker was stopped; requeued"
            reschedule(session, Position.of(job), now, 0, message, run=job.run + 1)


def requeue_expired(
    session: Session,
    now: datetime,
    most: int,
    poll_interval: float,
    lease: float,
    held: Container[str] = (),
    batch_id: str | None = None,
) -> list[str]:
    """Requeue jobs whose lease has expired, at most `most` of them; returns the ids of the jobs that it moved.

    A job that has lost its workers too often fails instead. `held` are the caller's own jobs: they are skipped, since
    their worker is alive even if it was late to renew their leases.
    """
    rescued = []
    for job in session.scalars(_expired(batch_id), {"now": now, "most": most}).all():
        if job.id not in held:
            with suppress(StaleMove):
                _requeue_or_fail(session, job, now, poll_interval, lease)
                rescued.append(job.id)
    return rescued


@cache
def _expired(batch_id: str | None) -> Select[Job]:
    query = select(Job).where(Job.status == Status.RUNNING, Job.lease_until < bindparam("now"), *in_scope_of(batch_id))
    return query.order_by(Job.lease_until).limit(bindparam("most")).with_for_update(skip_locked=True)


_MOST_LAPSES: Final = 10
"""A job fails when this many leases in a row have expired: it probably kills its workers."""


def _requeue_or_fail(session: Session, job: Job, now: datetime, poll_interval: float, lease: float) -> None:
    at, lapses = Position.of(job), job.lapses + 1
    if lapses >= _MOST_LAPSES:
        message = f"{lapses} workers in a row stopped responding during {job.stage}"
        error = {"error_code": Poisoned.code, "error": message, "advice": Poisoned.advice}
        end(session, at, Status.FAILED, now, message, lapses=lapses, **error)
        return
    due = now
    if job.stage is Stage.POLL and job.lease_until and not job.result_url:
        # Keep the interval between polls. The last poll came before the worker died, and that was at least half a lease
        # before this lease's end, as leases are renewed more often than that.
        due = max(now, job.lease_until - timedelta(seconds=lease / 2) + timedelta(seconds=poll_interval))
    changes = {"run": job.run + 1, "lapses": lapses, "due_at": due, "publish_at": due}
    move(session, at, Status.QUEUED, now, "its worker's lease expired; requeued", what="rescued", **changes)
