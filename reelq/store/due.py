"""What has to go out now: messages, of jobs whose stage is due or whose message was lost, and looks at exports.

A row that waits for its export needs nothing but a look every so often. It is marked as if its message had gone out,
and then looked at without one; it is not due meanwhile, so that no stray message has it looked at beside that. Whatever
stands in the way of a look is for its stage to deal with: then the message does go out. So one that was marked and not
looked at, as its worker died, comes to its stage a moment later, like a row whose message was lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, Update, and_, bindparam, not_, or_, select, update
from sqlalchemy.orm import Session

from reelq.job import Cause, Route, Stage, Status
from reelq.store.jobs import REPUBLISH_SECONDS
from reelq.store.models import Account, Batch, BatchState, Job
from reelq.store.scope import within

SOON: Final = timedelta(seconds=0.2)
LOOK_SECONDS: Final = 20.0
"""How long a look has its row to itself; it takes a moment, if the service answers."""
_MOST_DOUBLINGS: Final = 2
"""Who waits long for a slot is not sent again each minute; but what a broker lost again and again is, before long."""
_ONLY_WAITS: Final = and_(Job.stage == Stage.POLL, Job.publishes == 0, Job.result_url == "")
"""On a job whose export is under way, and wants nothing but a look now and then."""
_READ: Final = (
    Job.id, Job.batch_id, Job.run, Job.route, Job.stage, Job.row, Job.file, Job.instruction, Job.looks, Job.attempts,
    Job.publishes, Job.publish_at, Job.account_id, Job.skill, Job.remote_render_id, Job.cancel_wished,
    Batch.state, Batch.released, Account.parked, Account.blocked_until, _ONLY_WAITS.label("only_waits"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """All that a message says of a job, and what it is called in Flower."""

    job_id: str
    run: int
    route: Route
    stage: Stage
    title: str
    again: int = 0
    """How often the stage was begun before, to be shown there as well."""

    @classmethod
    def of(cls, job: Job | Row[Any]) -> "Message":
        """What goes out for this one."""
        # What follows the question mark of an address may be a signature, and is for nobody to read.
        what = (job.file.partition("?")[0] if "://" in job.file else job.file) or job.instruction
        title = f"row {job.row} · {what[:60]} · {job.batch_id}"
        return cls(job.id, job.run, job.route, job.stage, title, again=job.looks + job.attempts)


@dataclass(frozen=True, slots=True)
class Look:
    """An export to be looked at, and the message that goes out for its row if that does not settle it."""

    message: Message
    account_id: str
    skill: str
    render_id: str
    looks: int
    """How often it was looked at before."""


class Due(NamedTuple):
    """What is to be done after the commit, and when there is more to do, if that is soon."""

    messages: list[Message]
    looks: list[Look]
    soon: datetime | None


def due(session: Session, now: datetime, most: int, batch_id: str | None = None, *, looks: bool = True) -> Due:
    """Admitted jobs whose message, or whose look, has to go out now: a wait is over, or a message was lost."""
    told = {"soon": now + SOON, "most": most, "looks": looks}
    rows = session.execute(_due(batch_id), told).all()
    ripe = [row for row in rows if row.publish_at <= now]
    ours = mark(session, ripe, now)
    messages, looked_at = [], []
    for row in ripe:
        if row.id not in ours:
            continue
        if _wants_a_look(row, now):
            looked_at.append(Look(Message.of(row), row.account_id, row.skill, row.remote_render_id, row.looks))
        else:
            messages.append(Message.of(row))
    if looked_at:
        until = now + timedelta(seconds=LOOK_SECONDS)
        session.execute(_LOOKED_AT, {"these": [look.message.job_id for look in looked_at], "until": until})
    return Due(messages, looked_at, next((row.publish_at for row in rows[len(ripe) :]), None))


# Asked five to twenty times a second, for ever: it is made once, which takes longer than to run it.
@cache
def _due(batch_id: str | None) -> Select[*tuple[Any, ...]]:
    query = select(*_READ).join(Batch, Batch.id == Job.batch_id).join(Account, Account.id == Job.account_id)
    query = query.where(Job.status == Status.QUEUED, Job.admitted, Job.publish_at <= bindparam("soon"))
    query = query.where(or_(bindparam("looks", type_=Job.admitted.type), not_(_ONLY_WAITS)), *within(batch_id))
    query = query.order_by(Job.publish_at).limit(bindparam("most"))
    return query.with_for_update(skip_locked=True, of=Job)  # nothing on SQLite, where nobody else writes meanwhile


_LOOKED_AT: Final = (
    update(Job)
    .where(Job.id.in_(bindparam("these", expanding=True)))
    .values(due_at=bindparam("until"), publish_at=bindparam("until"))
    .execution_options(synchronize_session=False)
)


def _wants_a_look(row: Row[Any], now: datetime) -> bool:
    """Whether it only waits, and nothing holds its stage off; of what an account is parked for, its token does."""
    if not row.only_waits or not row.remote_render_id or row.cancel_wished:
        return False
    released = row.released is None or row.row <= row.released
    blocked = row.blocked_until is not None and row.blocked_until > now
    return released and not blocked and row.state is BatchState.ACTIVE and row.parked is not Cause.TOKEN


def mark(session: Session, jobs: Sequence[Job | Row[Any]], now: datetime, *, new: bool = False) -> set[str]:
    """Note that their messages go out, and when each goes out again if nobody takes it; those that were ours to note.

    New are those that are let in by this. A thousand at once take as long as ten one by one.
    """
    ours: set[str] = set()
    publishes = attrgetter("publishes")
    for count, alike in groupby(sorted(jobs, key=publishes), key=publishes):
        wait = timedelta(seconds=REPUBLISH_SECONDS * 2 ** min(count, _MOST_DOUBLINGS))
        told = {"ids": [job.id for job in alike], "until": now + wait, "count": count + 1}
        ours |= set(session.scalars(_marking(new), told))
    return ours


@cache
def _marking(new: bool) -> Update:
    # Whoever has one of them in hand, or marks it at this moment, keeps it; nobody waits for anybody.
    there = select(Job.id).where(Job.id.in_(bindparam("ids", expanding=True)), Job.status == Status.QUEUED)
    if new:
        there = there.where(Job.admitted.is_(False))
    marks = update(Job).where(Job.id.in_(there.with_for_update(skip_locked=True)))
    marks = marks.values(admitted=True, publish_at=bindparam("until"), publishes=bindparam("count"))
    return marks.returning(Job.id).execution_options(synchronize_session=False)


def all_lost(session: Session, batch_id: str | None = None) -> None:
    """No message is left, as the process that kept them has ended: what waits for nothing else is published again."""
    _publish_again(session, *within(batch_id))


def lost_with_the_silent(session: Session, now: datetime, lease: float, batch_id: str | None = None) -> None:
    """A worker fell silent, and messages that it had taken and not begun are gone with it; whose, nobody knows.

    What is due, and was not begun for as long as a worker takes to fall silent, is published again: one message too
    many does no harm.
    """
    _publish_again(session, Job.due_at <= now - timedelta(seconds=lease / 2), *within(batch_id))


def _publish_again(session: Session, *where: ColumnElement[bool]) -> None:
    waits = (Job.status == Status.QUEUED, Job.admitted, Job.publish_at > Job.due_at, *where)
    session.execute(
        update(Job)
        .where(*waits)
        .values(publish_at=Job.due_at, publishes=0)
        .execution_options(synchronize_session=False)
    )
