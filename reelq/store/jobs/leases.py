"""What happens to a job under a worker's lease.

The lease is renewed, or released by a worker that stops, or it expires. The stage is finished, or rescheduled.
"""

from collections.abc import Container
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.orm import Session

from reelq.errors import Poisoned
from reelq.job import Stage, Status, stage_after
from reelq.store.db.models import Batch, BatchState, Job
from reelq.store.db.statements import parameters
from reelq.store.jobs.claims import Claimed
from reelq.store.jobs.dependents import end, release_followers
from reelq.store.jobs.scheduler import FIRST_REPUBLISH, in_scope_of
from reelq.store.jobs.transitions import AT_POSITION, RESET_COLUMNS, Position, StaleMove, later, move

# SQLite needs no row lock: it runs one writing transaction at a time.
_LOCK_AT_POSITION: Final = select(Job.id).where(*AT_POSITION).with_for_update(key_share=True)
_NEW_RENDER: Final = (
    update(Job)
    .where(*AT_POSITION)
    .values(remote_render_id=bindparam("render_id"), renders=Job.renders + 1, looks=0, result_url="")
)


def fence(session: Session, at: Position) -> bool:
    """Whether the job is still at this position; if so, it is locked there until this transaction ends."""
    return session.connection().execute(_LOCK_AT_POSITION, parameters(at.where())).first() is not None


def is_to_be_cancelled(session: Session, at: Position) -> bool:
    """Whether the job is to be cancelled. The job is locked: no cancellation can come before this transaction ends."""
    query = select(Job.cancel_wished, Batch.state).join(Batch, Batch.id == Job.batch_id).where(Job.id == at.job_id)
    wished = session.execute(query.with_for_update(of=Job, key_share=True)).one_or_none()
    return wished is not None and (wished.cancel_wished or wished.state is BatchState.CANCELLED)


def record_render(session: Session, at: Position, render_id: str) -> bool:
    """Record another export of the job; returns False if the job is no longer at this position."""
    values = parameters(at.where()) | {"render_id": render_id}
    return session.connection().execute(_NEW_RENDER, values).rowcount == 1


def polls_of(session: Session, at: Position) -> int:
    """How often the job's export has been polled, read anew: it is 0 if another export was started since the claim."""
    return session.execute(select(Job.looks).where(Job.id == at.job_id)).scalar_one()


def advance(session: Session, claimed: Claimed, now: datetime, message: str, **receipt: Any) -> Position:
    """Finish the claimed stage: queue the job for the next one, or end it as succeeded.

    The next message of the Celery chain starts the next stage. `receipt` holds the columns that the stage has set.
    """
    at = claimed.at
    next_stage = stage_after(claimed.job.route, at.stage)
    changes = {"looks": 0, "lapses": 0, **receipt}
    if at.stage is not Stage.UPLOAD:
        # An upload alone is no progress: a job whose session is always lost before the edit has to fail eventually.
        changes["attempts"] = 0
    if next_stage is None:
        return end(session, at, Status.SUCCEEDED, now, message, **changes)
    due = changes.pop("due_at", now)
    # The chain starts a stage that is due now; the scheduler publishes it only if the chain has not by then.
    changes |= {"stage": next_stage, "due_at": due, "publish_at": due if due > now else now + FIRST_REPUBLISH}
    after = move(session, at, Status.QUEUED, now, message, what=f"{at.stage} done", **changes)
    if at.stage is Stage.POLL:
        release_followers(session, claimed.job, now)
    return after


def reschedule(session: Session, at: Position, now: datetime, seconds: float, message: str, **changes: Any) -> Position:
    """Queue the job again, due in so many seconds: for the same stage, or for an earlier one given in `changes`.

    It loses what that earlier stage must not find.
    """
    due = now + timedelta(seconds=seconds)
    lost = RESET_COLUMNS.get(changes["stage"], {}) if "stage" in changes else {}
    changes = {"due_at": due, "publish_at": due, **lost, **changes}
    return move(session, at, Status.QUEUED, now, message, what="again", **changes)


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
