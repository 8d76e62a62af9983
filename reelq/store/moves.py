"""The one way in which a job's status changes: compare, set, and the event of it, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import CursorResult, Insert, bindparam, insert, select, update
from sqlalchemy.orm import Session

from reelq.job import FINAL, TRANSITIONS, Stage, Status
from reelq.store import finishes, outbox
from reelq.store.events import event, tell, telling
from reelq.store.models import Job, JobEvent
from reelq.store.statements import change, parameters, update_of

AT: Final = (
    Job.id == bindparam("where_id"),
    Job.run == bindparam("where_run"),
    Job.stage == bindparam("where_stage"),
    Job.status == bindparam("where_status"),
)
"""A job where it is believed to be, by the parameters of `Position.where`."""


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
    after = Position(at.job_id, at.batch_id, values.get("run", at.run), values.get("stage", at.stage), to)
    if not _change_and_tell(
        session, at, values, event(now, what or str(to), after.run, at.stage, at.status, to, words)
    ):
        raise StaleMove(f"{at.job_id} is not {at.status} in {at.stage} under run {at.run} any more")
    if was_finished:
        finishes.reopen(session, at.job_id)
    if to_tell := outbox.event_of(to, values.get("cause")):
        outbox.tell_of_job(session, at.job_id, to_tell, now)
    return after


def move_all(session: Session, ids: Sequence[str], before: Status, to: Status, now: datetime, words: str) -> list[str]:
    """Move those of these jobs that have one status to another, each with its event; the ids of those that were moved.

    A hundred thousand rows are cancelled in seconds by this, and in minutes one by one. It is for moves that nobody
    else has to hear of: neither from an end, nor to a status that endpoints are told of.
    """
    if to not in TRANSITIONS[before] or before in FINAL or outbox.event_of(to, None):
        raise ValueError(f"jobs do not go from {before} to {to} many at once")
    # Held in one order, or two who do this at once could wait for each other.
    there = select(Job.id).where(Job.id.in_(ids), Job.status == before).order_by(Job.id).with_for_update()
    moved = update(Job).where(Job.id.in_(session.scalars(there).all())).values(**_cleared(to, now), status=to)
    moved = moved.returning(Job.id, Job.batch_id, Job.run, Job.stage)
    rows = session.execute(moved.execution_options(synchronize_session=False)).all()
    told = {"at": now, "what": str(to), "before": before, "after": to, "words": words}
    if rows:
        events = [
            {"job_id": job_id, "batch_id": batch, "run": run, "stage": stage, **told}
            for job_id, batch, run, stage in rows
        ]
        session.connection().execute(insert(JobEvent), events)
    return [job_id for job_id, *_ in rows]


def _cleared(to: Status, now: datetime) -> dict[str, Any]:
    return forbidden(to) | ({"finished_at": now} if to in FINAL else {})


def forbidden(to: Status) -> dict[str, Any]:
    """The columns that a status does not allow, as they are under it."""
    values: dict[str, Any] = {}
    if to not in FINAL:
        values |= {"finished_at": None}
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


def _change_and_tell(session: Session, at: Position, values: Mapping[str, Any], told: dict[str, Any]) -> bool:
    """Whether the job was there: if so it has these values now, and that is told of it."""
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        if change(session, Job, at.where(), values) != 1:
            return False
        tell(session, at.job_id, told)
        return True
    # In one round trip: there are more than a dozen of these in a row's life.
    statement = _changing_and_telling(tuple(at.where()), tuple(values))
    done = connection.execute(statement, parameters(at.where(), values) | told)
    return cast("CursorResult[Any]", done).rowcount == 1


@cache
def _changing_and_telling(where: tuple[str, ...], values: tuple[str, ...]) -> Insert:
    moved = update_of(Job, where, values).returning(Job.id, Job.batch_id).cte("moved")
    return telling(moved).execution_options(preserve_rowcount=True)  # of an insert it is usually not kept


def note(session: Session, at: Position, now: datetime, what: str, words: str) -> bool:
    """An event that moves nothing, such as progress, in words; whether the job is there to have one."""
    told = event(now, what, at.run, at.stage, at.status, at.status, words)
    return session.connection().execute(_NOTE, parameters(at.where()) | told).rowcount == 1


_NOTE: Final = telling(select(Job.id, Job.batch_id).where(*AT).subquery()).execution_options(preserve_rowcount=True)
