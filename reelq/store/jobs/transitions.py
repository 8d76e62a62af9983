"""The only code that changes a job's status: it compares the position, sets the columns, and writes the event.

All three happen in one transaction. `claims.claim_free` does the same in a statement of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, Final, cast

from sqlalchemy import CursorResult, FromClause, Insert, Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from reelq.job import FINAL, TRANSITIONS, Stage, Status
from reelq.store.db.models import Job, JobEvent
from reelq.store.db.statements import parameters, update_statement, update_where
from reelq.store.webhooks import outbox

_EVENT_COLUMNS: Final = ("at", "what", "run", "stage", "before", "after", "words")
_TABLE: Final = cast("Table", JobEvent.__table__)


def insert_events(of: FromClause) -> Insert:
    """The statement that inserts an event for each job in `of`, which selects the jobs' `id` and `batch_id`.

    Its parameters come from `event_parameters`. The batch comes from the job's row, not from the caller: submitting the
    manifest again may have moved the job to another batch.
    """
    values = (bindparam(f"event_{name}", type_=_TABLE.c[name].type) for name in _EVENT_COLUMNS)
    names = ["job_id", "batch_id", *_EVENT_COLUMNS]
    return insert(_TABLE).from_select(names, select(of.c.id, of.c.batch_id, *values), include_defaults=False)


def event_parameters(
    at: datetime, what: str, run: int, stage: Stage, before: str, after: str, message: str
) -> dict[str, Any]:
    """The parameters of one event for the statement of `insert_events`."""
    values = (at, what, run, stage, before, after, message)
    return {f"event_{name}": value for name, value in zip(_EVENT_COLUMNS, values, strict=True)}


def write_events(session: Session, events: Iterable[tuple[Any, ...]]) -> None:
    """Write events in bulk: each has its job's id and batch, then the same values as for `event_parameters`."""
    names = ("job_id", "batch_id", *_EVENT_COLUMNS)
    if rows := [dict(zip(names, values, strict=True)) for values in events]:
        session.connection().execute(_INSERT_EVENTS, rows)


_INSERT_EVENTS: Final = insert(JobEvent)
_INSERT_EVENT: Final = insert_events(select(Job.id, Job.batch_id).where(Job.id == bindparam("event_of")).subquery())


AT_POSITION: Final = (
    Job.id == bindparam("where_id"),
    Job.run == bindparam("where_run"),
    Job.stage == bindparam("where_stage"),
    Job.status == bindparam("where_status"),
)
"""The condition that a job is at a position; its parameters are `statements.parameters(position.where())`."""


class StaleMove(Exception):
    """The job is no longer at the expected position: another process has moved it. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a job is expected to be: its run, stage and status. A move happens only if the job is there."""

    job_id: str
    batch_id: str
    run: int
    stage: Stage
    status: Status

    @classmethod
    def of(cls, job: Job) -> "Position":
        return cls(job.id, job.batch_id, job.run, job.stage, job.status)

    def where(self) -> dict[str, Any]:
        """The columns to compare, with their values at this position."""
        return {"id": self.job_id, "run": self.run, "stage": self.stage, "status": self.status}


def move(
    session: Session, at: Position, to: Status, now: datetime, message: str, *, what: str = "", **changes: Any
) -> Position:
    """Move a job from its position to another status, stage or run, and write the event.

    Raises StaleMove, and changes nothing, if the job is not at this position.

    `changes` are other columns to set. Columns that the new status does not allow are cleared here, so that no caller
    can forget it: a lease outside of `running`, a cause outside of `waiting`, a publishing time outside of `queued`, an
    end time on a job that is open.
    """
    if to not in TRANSITIONS[at.status]:
        raise ValueError(f"no job goes from {at.status} to {to}")
    values = _cleared(to, now) | changes | {"status": to}
    was_finished = at.status in FINAL and outbox.lock_batch(session, at.job_id)
    after = Position(at.job_id, at.batch_id, values.get("run", at.run), values.get("stage", at.stage), to)
    event = event_parameters(now, what or str(to), after.run, at.stage, at.status, to, message)
    if not _change_and_write_event(session, at, values, event):
        raise StaleMove(f"{at.job_id} is not {at.status} in {at.stage} under run {at.run} any more")
    if was_finished:
        outbox.reopen(session, at.job_id)
    if webhook_event := outbox.event_of(to, values.get("cause")):
        outbox.write_job_event(session, at.job_id, webhook_event, now)
    return after


def move_all(
    session: Session, ids: Sequence[str], before: Status, to: Status, now: datetime, message: str
) -> list[str]:
    """Move those of the jobs that have the status `before`, each with an event; returns the ids of the moved jobs.

    This cancels a hundred thousand rows in seconds, which takes minutes one by one. It is only for moves without
    consequences in the outbox: not out of a final status, and not to a status that webhooks report.
    """
    if to not in TRANSITIONS[before] or before in FINAL or outbox.event_of(to, None):
        raise ValueError(f"jobs can't be moved in bulk from {before} to {to}")
    # Locked in the order of their ids, or two transactions that do this could deadlock.
    to_move = select(Job.id).where(Job.id.in_(ids), Job.status == before).order_by(Job.id).with_for_update()
    moved = update(Job).where(Job.id.in_(session.scalars(to_move).all())).values(**_cleared(to, now), status=to)
    moved = moved.returning(Job.id, Job.batch_id, Job.run, Job.stage)
    rows = session.execute(moved.execution_options(synchronize_session=False)).all()
    write_events(session, ((*job, now, str(to), run, stage, before, to, message) for *job, run, stage in rows))
    return [job_id for job_id, *_ in rows]


def _cleared(to: Status, now: datetime) -> dict[str, Any]:
    return cleared_columns(to) | ({"finished_at": now} if to in FINAL else {})


def cleared_columns(to: Status) -> dict[str, Any]:
    """The columns that a status does not allow, with their cleared values."""
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
        values |= {"admitted": False}  # leaves its place in the account's window to another job
    if to in FINAL:
        values |= {"cancel_wished": False}
    return values


_EXPORT: Final = {"remote_render_id": "", "renders": 0, "looks": 0, "result_url": ""}
RESET_COLUMNS: Final[Mapping[Stage, Mapping[str, Any]]] = MappingProxyType(
    {
        Stage.UPLOAD: {"remote_session_id": "", "remote_task_id": "", "upload_baseline": "", **_EXPORT},
        Stage.RENDER: _EXPORT,
        # A URL from an earlier poll may have expired.
        Stage.POLL: {"result_url": ""},
        # Its export is an old one: without any of its own, the job may export again if the old result is gone.
        Stage.DOWNLOAD: {"renders": 0},
    }
)
"""What a job loses when it goes back to a stage, or starts at one: the stage would take it for the job's own work."""


def _change_and_write_event(session: Session, at: Position, values: Mapping[str, Any], event: dict[str, Any]) -> bool:
    """Set the columns and write the event; returns False, and does neither, if the job is not at this position."""
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        if update_where(session, Job, at.where(), values) != 1:
            return False
        connection.execute(_INSERT_EVENT, {"event_of": at.job_id, **event})
        return True
    # One round trip for both statements: a job moves more than a dozen times.
    statement = _change_and_write_event_statement(tuple(at.where()), tuple(values))
    result = connection.execute(statement, parameters(at.where(), values) | event)
    return cast("CursorResult[Any]", result).rowcount == 1


@cache
def _change_and_write_event_statement(where: tuple[str, ...], values: tuple[str, ...]) -> Insert:
    moved = update_statement(Job, where, values).returning(Job.id, Job.batch_id).cte("moved")
    return insert_events(moved).execution_options(preserve_rowcount=True)  # SQLAlchemy drops it for inserts by default


def write_progress(session: Session, at: Position, now: datetime, what: str, message: str) -> bool:
    """Write an event that moves nothing, such as progress; returns False if the job is not at this position."""
    event = event_parameters(now, what, at.run, at.stage, at.status, at.status, message)
    return session.connection().execute(_INSERT_PROGRESS, parameters(at.where()) | event).rowcount == 1


_INSERT_PROGRESS: Final = insert_events(select(Job.id, Job.batch_id).where(*AT_POSITION).subquery()).execution_options(
    preserve_rowcount=True
)


def change(session: Session, at: Position, **values: Any) -> bool:
    """Set columns other than the position; returns False if the job is not at this position."""
    return update_where(session, Job, at.where(), values) == 1


def postpone(session: Session, at: Position, until: datetime) -> None:
    """Postpone a queued job until then. This writes no event, as the job does not move."""
    where = {**at.where(), "status": Status.QUEUED}
    update_where(session, Job, where, {"due_at": until, "publish_at": until, "publishes": 0})


def later(now: datetime, seconds: float) -> datetime:
    """The time so many seconds after `now`."""
    return now + timedelta(seconds=seconds)
