"""Conditions on the jobs that a process is responsible for: all jobs, or one batch and what that batch waits for.

A worker is responsible for all jobs. `reelq run` without a broker runs one batch. It runs a job of another batch only
if a row of its own waits for that job's result, as there may never be another process to run it.
"""

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import aliased

from reelq.job import Cause, Status
from reelq.store.db.models import Batch, BatchState, Job


def in_scope_of(batch_id: str | None) -> tuple[ColumnElement[bool], ...]:
    """The condition that a job belongs to the batch or is awaited by it; for queries with few candidates.

    The subquery runs for each candidate. See `awaited_by` for queries with many.
    """
    if batch_id is None:
        return ()
    twin = aliased(Job)
    awaited = select(twin.id).where(twin.same_as == Job.id, twin.batch_id == batch_id, *_waits(twin)).exists()
    return (or_(Job.batch_id == batch_id, awaited),)


def awaited_by(batch_id: str) -> ColumnElement[bool]:
    """The condition that the batch waits for a job's result; for queries with many candidates.

    The database evaluates the subquery first and starts from its jobs.
    """
    twin = aliased(Job)
    return Job.id.in_(select(twin.same_as).where(twin.batch_id == batch_id, *_waits(twin)))


def not_held_back(job: type[Job] = Job) -> ColumnElement[bool]:
    """The condition that neither a pause of the batch nor its limit on rows (`Batch.released`) holds a job back."""
    released = or_(Batch.released.is_(None), job.row <= Batch.released)
    return select(Batch.id).where(Batch.id == job.batch_id, Batch.state == BatchState.ACTIVE, released).exists()


def is_active(job: type[Job] = Job) -> ColumnElement[bool]:
    """The condition that a job is running, or will run without anyone's action."""
    return or_(job.status == Status.RUNNING, and_(job.status == Status.QUEUED, not_held_back(job)))


def _waits(twin: type[Job]) -> tuple[ColumnElement[bool], ...]:
    return (and_(twin.status == Status.WAITING, twin.cause == Cause.TWIN, twin.same_as.is_not(None)),)
