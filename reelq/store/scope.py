"""Which jobs a process looks after: all of them, or those of one batch and the ones whose results it waits for.

A worker looks after everything. `reelq run` without a broker works on its own batch alone, and so on the rows of other
batches only where its own rows would otherwise wait for somebody who may never come.
"""

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import aliased

from reelq.job import Cause, Status
from reelq.store.models import Batch, BatchState, Job


def within(batch_id: str | None) -> tuple[ColumnElement[bool], ...]:
    """The condition on a job, for a query that has few to choose from: it is asked of each."""
    if batch_id is None:
        return ()
    twin = aliased(Job)
    awaited = select(twin.id).where(twin.same_as == Job.id, twin.batch_id == batch_id, *_waits(twin)).exists()
    return (or_(Job.batch_id == batch_id, awaited),)


def awaited_by(batch_id: str) -> ColumnElement[bool]:
    """The jobs whose results a batch waits for, for a query that has many to choose from: it begins with these."""
    twin = aliased(Job)
    return Job.id.in_(select(twin.same_as).where(twin.batch_id == batch_id, *_waits(twin)))


def may_begin(job: type[Job] = Job) -> ColumnElement[bool]:
    """The condition on a job that neither a pause of its batch nor a limit on its rows has it stay where it is."""
    released = or_(Batch.released.is_(None), job.row <= Batch.released)
    return select(Batch.id).where(Batch.id == job.batch_id, Batch.state == BatchState.ACTIVE, released).exists()


def goes_on(job: type[Job] = Job) -> ColumnElement[bool]:
    """The condition on a job that it is at work, or will be without a person."""
    return or_(job.status == Status.RUNNING, and_(job.status == Status.QUEUED, may_begin(job)))


def _waits(twin: type[Job]) -> tuple[ColumnElement[bool], ...]:
    return (and_(twin.status == Status.WAITING, twin.cause == Cause.TWIN, twin.same_as.is_not(None)),)
