"""Decisions to send: written before anything goes out, settled by what is read, never carried out twice."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import ColumnElement, Row, Table, bindparam, case, func, insert, literal, select, update
from sqlalchemy.orm import Session

from reelq.store.models import Job, Outcome, Send
from reelq.store.statements import change
from reelq.store.taking import Work

_COST_NOTHING: Final = (Outcome.NOT_SENT, Outcome.REFUSED)
_MAY_HAVE_GONE_OUT: Final = Send.outcome.not_in(_COST_NOTHING)
_SEND: Final = cast("Table", Send.__table__).c


# Held in the order in which a reading of the balance holds all that bear costs.
_LEFT_OPEN: Final = (
    select(Send.id)
    .where(
        Send.job_id.in_(bindparam("those", expanding=True)), Send.outcome == Outcome.OPEN, Send.ended_well.is_(False)
    )
    .order_by(Send.id)
    .with_for_update()
)
_LET_BE: Final = (
    update(Send)
    .where(Send.id.in_(_LEFT_OPEN))
    .values(outcome=Outcome.UNCONFIRMED, settled_at=bindparam("now", type_=Send.settled_at.type))
)


class Open(NamedTuple):
    """A decision whose outcome is not known."""

    id: int
    text: str
    baseline: dict[str, Any] | None
    fingerprint: str
    ended_well: bool
    reply: str
    agent_error: str
    reads: int
    read_fingerprint: str
    sent_at: datetime


_OPEN: Final = select(*(_SEND[name] for name in Open._fields)).where(
    _SEND.job_id == bindparam("job_id"), _SEND.outcome == Outcome.OPEN
)

_BEFORE: Final = select(func.count()).where(Send.job_id == Job.id).correlate(Job).scalar_subquery()
_INTENDED: Final[dict[Any, Any]] = {
    Send.job_id: Job.id,
    # Not as the job was loaded: a manifest handed in again may have taken it along into another batch.
    Send.batch_id: Job.batch_id,
    Send.account_id: Job.account_id,
    Send.number: _BEFORE + 1,
    Send.run: Job.run,
    Send.text: case((Job.to_send != "", Job.to_send), else_=Job.instruction),
    Send.why: case((Job.to_send != "", "follow_up"), (_BEFORE > 0, "retry"), else_="instruction"),
    Send.baseline: bindparam("seen", type_=Send.baseline.type),
    Send.fingerprint: bindparam("print", type_=Send.fingerprint.type),
    Send.sent_at: bindparam("at", type_=Send.sent_at.type),
    Send.outcome: literal(Outcome.OPEN, Send.outcome.type),
}
_INTEND: Final = (
    insert(Send)
    .from_select(list(_INTENDED), select(*_INTENDED.values()).where(Job.id == bindparam("intended_for")))
    .returning(Send.id, Send.text)
)


def open_send(session: Session, job_id: str) -> Open | None:
    """The job's decision whose outcome is not known; the database allows one."""
    found = session.connection().execute(_OPEN, {"job_id": job_id}).one_or_none()
    return Open._make(found) if found else None


def intend(
    session: Session, job_id: str, now: datetime, baseline: dict[str, Any] | None, fingerprint: str
) -> "Row[int, str]":
    """Write down that the job's instruction, or what it is to send instead, is about to go out: the decision's id, and
    the text."""
    told = {"intended_for": job_id, "at": now, "seen": baseline, "print": fingerprint}
    return session.connection().execute(_INTEND, told).one()


def ended_well(session: Session, job_id: str, reply: str, agent_error: str) -> None:
    """The open decision's stream came to a proper end, with these words."""
    values = {"ended_well": True, "reply": reply, "agent_error": agent_error}
    change(session, Send, {"job_id": job_id, "outcome": Outcome.OPEN}, values)


def read_again(session: Session, send_id: int, reads: int, fingerprint: str) -> None:
    """The state was looked at and settled nothing yet."""
    change(session, Send, {"id": send_id}, {"reads": reads, "read_fingerprint": fingerprint})


def settle(session: Session, job_id: str, outcome: Outcome, now: datetime) -> bool:
    """Close the job's open decision; whether there was one. It bears costs until they are read, if it may have any."""
    values: dict[str, Any] = {"outcome": outcome, "settled_at": now}
    if outcome in _COST_NOTHING:
        values["bears_costs"] = False
    return change(session, Send, {"job_id": job_id, "outcome": Outcome.OPEN}, values) == 1


def let_be(session: Session, job_ids: Sequence[str], now: datetime) -> None:
    """Rows that do not go on leave no stream open that was lost: what became of it is found out when they are retried.

    One that ended well stays as it is: what it cost is known.
    """
    session.connection().execute(_LET_BE, {"those": job_ids, "now": now})


def anything_sent(session: Session, remote_session_id: str) -> bool:
    """Whether an instruction went out, or may have, in this remote session, from whichever of its rows."""
    query = (
        select(Send.id)
        .join(Job, Job.id == Send.job_id)
        .where(Job.remote_session_id == remote_session_id, Job.remote_session_id != "", _MAY_HAVE_GONE_OUT)
        .limit(1)
    )
    return session.execute(query).first() is not None


def went_on(session: Session, job: Work) -> bool:
    """Whether another instruction has gone out in the job's remote session since its own, or since those before it."""
    before: Job | Work | None = job
    last: int | None = None
    while before and last is None:
        # Whoever has the same key did the same: a row that took another's result did none of it itself.
        last = _newest(session, job.remote_session_id, Job.key == before.key)
        before = session.get(Job, before.after_id) if before.after_id else None
    newest = _newest(session, job.remote_session_id)
    return newest is not None and newest > (last or 0)


def _newest(session: Session, remote_session_id: str, *whose: ColumnElement[bool]) -> int | None:
    here = (Job.remote_session_id == remote_session_id, Job.remote_session_id != "")
    query = select(func.max(Send.id)).join(Job, Job.id == Send.job_id).where(*here, *whose, _MAY_HAVE_GONE_OUT)
    return session.execute(query).scalar_one()
