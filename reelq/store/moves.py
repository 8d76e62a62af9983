"""The one way in which a job's status changes: compare, set, and the event of it, in one transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from reelq.job import FINAL, TRANSITIONS, Stage, Status
from reelq.store import finishes, outbox
from reelq.store.models import Job, JobEvent
from reelq.store.statements import change

_EVENT: Final = insert(JobEvent).values(
    # Not as the mover knows it: a manifest handed in again may have taken the job along into another batch.
    batch_id=select(Job.batch_id).where(Job.id == bindparam("of_job")).scalar_subquery()
)


class StaleMove(Exception):
    """The job is not where the mover thought: somebody else moved it, or the mover is too late. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a job is believed to be; a move happens only if it is there."""

    job_id: str
    batch_id: str
    run: int
    stage: Stage
    status: Status

    @classmethod
    def of(cls, job: Job) -> "Position":
        return cls(job.id, job.batch_id, job.run, job.stage, job.status)

    def where(self) -> dict[str, Any]:
        """The columns to compare, with what they hold while the job is here."""
        return {"id": self.job_id, "run": self.run, "stage": self.stage, "status": self.status}


def move(
    session: Session, at: Position, to: Status, now: datetime, words: str, *, what: str = "", **changes: Any
) -> Position:
    """Move a job from where it is to another status, or on to another stage or run; StaleMove if it is not there.

    `changes` are other columns set with it. Whatever a status forbids (a lease outside of `running`, a cause outside
    of `waiting`, a message to be published for a job that is not queued, an end of a job that goes on) is cleared here,
    so that nobody forgets.
    """
    if to not in TRANSITIONS[at.status]:
        raise ValueError(f"no job goes from {at.status} to {to}")
    values = _cleared(to, now) | changes | {"status": to}
    was_finished = at.status in FINAL and finishes.hold_open(session, at.job_id)
    if change(session, Job, at.where(), values) != 1:
        raise StaleMove(f"{at.job_id} is not {at.status} in {at.stage} under run {at.run} any more")
    after = Position(at.job_id, at.batch_id, values.get("run", at.run), values.get("stage", at.stage), to)
    _tell(session, at, after, now, what or str(to), words)
    if was_finished:
        finishes.reopen(session, at.job_id)
    if event := outbox.event_of(to, values.get("cause")):
        outbox.tell_of_job(session, at.job_id, event, now)
    return after


def _cleared(to: Status, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {"finished_at": now if to in FINAL else None}
    if to is not Status.RUNNING:
        values |= {"lease_until": None, "worker": ""}
    if to is not Status.WAITING:
        values |= {"cause": None}
    if to is not Status.QUEUED:
        values |= {"publish_at": None}
    if to is Status.WAITING or to in FINAL:
        values |= {"admitted": False}  # it makes room for another
    if to in FINAL:
        values |= {"cancel_wished": False}
    return values


def _tell(session: Session, at: Position, after: Position, now: datetime, what: str, words: str) -> None:
    event = {
        "job_id": at.job_id,
        "of_job": at.job_id,
        "at": now,
        "what": what,
        "run": after.run,
        "stage": at.stage,
        "before": at.status,
        "after": after.status,
        "words": words,
    }
    session.connection().execute(_EVENT, event)


def note(session: Session, at: Position, now: datetime, what: str, words: str) -> None:
    """An event that moves nothing: progress, in words."""
    _tell(session, at, at, now, what, words)
