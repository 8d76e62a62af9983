"""Finds what has to happen now: messages of jobs that are due or whose message was lost, and polls of exports.

A job whose export is under way only needs a poll from time to time, which takes no message. The job is marked as if its
message had been published, and then polled. Until the mark expires the job is not due, so that a stray message does not
start its stage at the same time. If anything prevents the poll, the message is published and the poll stage deals with
it. If a worker dies between marking and polling, the job is dispatched shortly after, like one whose message was lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, Update, and_, bindparam, not_, or_, select, update
from sqlalchemy.orm import Session, aliased

from reelq.job import Cause, Route, Stage, Status
from reelq.store.db.models import Account, Batch, BatchState, Job

FIRST_REPUBLISH: Final = timedelta(seconds=60)
"""How long until a message that no worker took is published again. The wait doubles twice, up to four times this."""
SOON: Final = timedelta(seconds=0.2)
"""How far `due` looks ahead for the time of the next job."""
POLL_SECONDS: Final = 20.0
"""How long a job is reserved for a poll. A poll takes a moment, if the service answers."""
_MOST_DOUBLINGS: Final = 2
"""A job that waits long for a slot is not published again every minute. A job whose message is lost repeatedly is still
published again before long."""
_NEEDS_ONLY_A_POLL: Final = and_(Job.stage == Stage.POLL, Job.publishes == 0, Job.result_url == "")
"""The condition that a job's export is under way, so that the job needs nothing but polls."""
_COLUMNS: Final = (
    Job.id, Job.batch_id, Job.run, Job.route, Job.stage, Job.row, Job.file, Job.instruction, Job.looks, Job.attempts,
    Job.publishes, Job.publish_at, Job.account_id, Job.skill, Job.remote_render_id, Job.cancel_wished,
    Batch.state, Batch.released, Account.parked, Account.blocked_until, _NEEDS_ONLY_A_POLL.label("needs_only_a_poll"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """The contents of a job's message, and its title in Flower."""

    job_id: str
    run: int
    route: Route
    stage: Stage
    title: str
    again: int = 0
    """How often the stage was started before; shown in Flower as well."""

    @classmethod
    def of(cls, job: Job | Row[Any]) -> "Message":
        """The message for this job."""
        # The query of a URL may hold a signature, which must not be shown.
        source = (job.file.partition("?")[0] if "://" in job.file else job.file) or job.instruction
        title = f"row {job.row} · {source[:60]} · {job.batch_id}"
        return cls(job.id, job.run, job.route, job.stage, title, again=job.looks + job.attempts)


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll of an export, and the message to publish if the job's stage has to deal with the result."""

    message: Message
    account_id: str
    skill: str
    render_id: str
    looks: int
    """How often the export was polled before."""


class Due(NamedTuple):
    """Work to do after the commit, and when the next job is due, if that is soon."""

    messages: list[Message]
    polls: list[Poll]
    next_at: datetime | None


def due(session: Session, now: datetime, most: int, batch_id: str | None = None, *, polls: bool = True) -> Due:
    """Mark admitted jobs that have to be published or polled now: a wait is over, or a message was lost.

    Jobs that need only a poll are included if `polls` is true.
    """
    parameters = {"soon": now + SOON, "most": most, "polls": polls}
    rows = session.execute(_due(batch_id), parameters).all()
    due_rows = [row for row in rows if row.publish_at <= now]
    marked = mark_published(session, due_rows, now)
    result = Due([], [], next((row.publish_at for row in rows[len(due_rows) :]), None))
    for row in due_rows:
        if row.id not in marked:
            continue
        if _can_be_polled(row, now):
            result.polls.append(Poll(Message.of(row), row.account_id, row.skill, row.remote_render_id, row.looks))
        else:
            result.messages.append(Message.of(row))
    if result.polls:
        until = now + timedelta(seconds=POLL_SECONDS)
        session.execute(_RESERVE_FOR_POLL, {"ids": [poll.message.job_id for poll in result.polls], "until": until})
    return result


# This query runs five to twenty times a second. Building it takes longer than running it, so it is built once.
@cache
def _due(batch_id: str | None) -> Select[*tuple[Any, ...]]:
    query = select(*_COLUMNS).join(Batch, Batch.id == Job.batch_id).join(Account, Account.id == Job.account_id)
    query = query.where(Job.status == Status.QUEUED, Job.admitted, Job.publish_at <= bindparam("soon"))
    polls_too = bindparam("polls", type_=Job.admitted.type)
    query = query.where(or_(polls_too, not_(_NEEDS_ONLY_A_POLL)), *in_scope_of(batch_id))
    query = query.order_by(Job.publish_at).limit(bindparam("most"))
    return query.with_for_update(skip_locked=True, of=Job)  # no effect on SQLite, which has one writer at a time


_RESERVE_FOR_POLL: Final = (
    update(Job)
    .where(Job.id.in_(bindparam("ids", expanding=True)))
    .values(due_at=bindparam("until"), publish_at=bindparam("until"))
    .execution_options(synchronize_session=False)
)


def _can_be_polled(row: Row[Any], now: datetime) -> bool:
    """Whether the job needs only a poll and nothing holds its stage back.

    Of an account's causes to be parked, only a missing token prevents a poll.
    """
    if not row.needs_only_a_poll or not row.remote_render_id or row.cancel_wished:
        return False
    released = row.released is None or row.row <= row.released
    blocked = row.blocked_until is not None and row.blocked_until > now
    return released and not blocked and row.state is BatchState.ACTIVE and row.parked is not Cause.TOKEN


def mark_published(session: Session, jobs: Sequence[Job | Row[Any]], now: datetime, *, new: bool = False) -> set[str]:
    """Record that the jobs' messages are published, and when to publish each again if no worker takes it.

    Returns the ids of the jobs that were marked; others are locked or have moved. `new` jobs are admitted by this. Jobs
    are marked in bulk: a thousand together take as long as ten one by one.
    """
    marked: set[str] = set()
    publishes = attrgetter("publishes")
    for count, group in groupby(sorted(jobs, key=publishes), key=publishes):
        wait = FIRST_REPUBLISH * 2 ** min(count, _MOST_DOUBLINGS)
        parameters = {"ids": [job.id for job in group], "until": now + wait, "count": count + 1}
        marked |= set(session.scalars(_mark_statement(new), parameters))
    return marked


@cache
def _mark_statement(new: bool) -> Update:
    # Skip jobs that another transaction has locked: it claims or marks them. So no process waits for another.
    queued = select(Job.id).where(Job.id.in_(bindparam("ids", expanding=True)), Job.status == Status.QUEUED)
    if new:
        queued = queued.where(Job.admitted.is_(False))
    statement = update(Job).where(Job.id.in_(queued.with_for_update(skip_locked=True)))
    statement = statement.values(admitted=True, publish_at=bindparam("until"), publishes=bindparam("count"))
    return statement.returning(Job.id).execution_options(synchronize_session=False)


def republish(session: Session, job_id: str, run: int, stage: Stage) -> None:
    """Have the job published again at once: its message was consumed, but no worker has started the stage."""
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.run == run, Job.stage == stage, Job.status == Status.QUEUED)
        .values(publish_at=Job.due_at)
    )


def republish_all(session: Session, batch_id: str | None = None) -> None:
    """Publish all admitted queued jobs again as they fall due: the process that held their messages has ended."""
    _publish_again(session, *in_scope_of(batch_id))


def republish_overdue(session: Session, now: datetime, lease: float, batch_id: str | None = None) -> None:
    """Publish jobs again whose message may be lost with a worker that died.

    Messages that the worker had received and not started are gone, and nothing tells which these are. So every job is
    published again that has been due for half a lease without being claimed. A surplus message does no harm.
    """
    _publish_again(session, Job.due_at <= now - timedelta(seconds=lease / 2), *in_scope_of(batch_id))


def _publish_again(session: Session, *where: ColumnElement[bool]) -> None:
    published = (Job.status == Status.QUEUED, Job.admitted, Job.publish_at > Job.due_at, *where)
    session.execute(
        update(Job)
        .where(*published)
        .values(publish_at=Job.due_at, publishes=0)
        .execution_options(synchronize_session=False)
    )


# Conditions on the jobs that a process is responsible for. A worker is responsible for all jobs. `reelq run` without a
# broker runs one batch, and a job of another batch only if a row of its own waits for that job's result: there may
# never be another process to run it.


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
