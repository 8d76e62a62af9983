"""Finishes a stage: the job advances to the next one, or is rescheduled for the same one."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from reelq.job import Stage, Status, stage_after
from reelq.store.db.models import Job
from reelq.store.db.statements import parameters
from reelq.store.jobs.claims import Claimed
from reelq.store.jobs.dependents import end, release_followers
from reelq.store.jobs.scheduler import FIRST_REPUBLISH
from reelq.store.jobs.transitions import AT_POSITION, RESET_COLUMNS, Position, move

_NEW_RENDER: Final = (
    update(Job)
    .where(*AT_POSITION)
    .values(remote_render_id=bindparam("render_id"), renders=Job.renders + 1, looks=0, result_url="")
)


def record_render(session: Session, at: Position, render_id: str) -> bool:
    """Record another export of the job; returns False if the job is no longer at this position."""
    values = parameters(at.where()) | {"render_id": render_id}
    return session.connection().execute(_NEW_RENDER, values).rowcount == 1


def polls_of(session: Session, at: Position) -> int:
    """How often the job's export has been polled, read anew: it is 0 if another export was started since the claim."""
    return session.execute(select(Job.looks).where(Job.id == at.job_id)).scalar_one()


def republish(session: Session, job_id: str, run: int, stage: Stage) -> None:
    """Have the job published again at once: its message was consumed, but no worker has started the stage."""
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.run == run, Job.stage == stage, Job.status == Status.QUEUED)
        .values(publish_at=Job.due_at)
    )


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
