"""Sends: the record of an instruction, written before it is sent and settled by reading, so that none is sent twice.

A send is open until its outcome is known. A job has at most one open send, by a partial unique index.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Table, bindparam, case, func, insert, literal, select, update
from sqlalchemy.orm import Session

from reelq.job import ClaimedJob, OpenSend
from reelq.store.db.models import Job, Outcome, Send
from reelq.store.db.statements import update_where

_FREE_OUTCOMES: Final = (Outcome.NOT_SENT, Outcome.REFUSED)
_MAY_HAVE_BEEN_SENT: Final = Send.outcome.not_in(_FREE_OUTCOMES)
_SEND: Final = cast("Table", Send.__table__).c
# Locked in the same order as by a reading of the balance, which locks all sends that bear costs.
_LOCK_LOST: Final = (
    select(Send.id)
    .where(
        Send.job_id.in_(bindparam("job_ids", expanding=True)), Send.outcome == Outcome.OPEN, Send.ended_well.is_(False)
    )
    .order_by(Send.id)
    .with_for_update()
)
_MARK_UNCONFIRMED: Final = (
    update(Send)
    .where(Send.id.in_(_LOCK_LOST))
    .values(outcome=Outcome.UNCONFIRMED, settled_at=bindparam("now", type_=Send.settled_at.type))
)


_OPEN: Final = select(*(_SEND[name] for name in OpenSend._fields[:-1]), _SEND.sent_at).where(
    _SEND.job_id == bindparam("job_id"), _SEND.outcome == Outcome.OPEN
)
_EARLIER_SENDS: Final = select(func.count()).where(Send.job_id == Job.id).correlate(Job).scalar_subquery()
_NEW_SEND: Final[dict[Any, Any]] = {
    Send.job_id: Job.id,
    # Read from the job's row, not from the job as it was loaded: submitting the manifest again may have moved it to
    # another batch.
    Send.batch_id: Job.batch_id,
    Send.account_id: Job.account_id,
    Send.number: _EARLIER_SENDS + 1,
    Send.run: Job.run,
    Send.text: case((Job.to_send != "", Job.to_send), else_=Job.instruction),
    Send.why: case((Job.to_send != "", "follow_up"), (_EARLIER_SENDS > 0, "retry"), else_="instruction"),
    Send.baseline: bindparam("seen_baseline", type_=Send.baseline.type),
    Send.fingerprint: bindparam("seen_fingerprint", type_=Send.fingerprint.type),
    Send.sent_at: bindparam("now", type_=Send.sent_at.type),
    Send.outcome: literal(Outcome.OPEN, Send.outcome.type),
}
_INSERT_SEND: Final = (
    insert(Send)
    .from_select(list(_NEW_SEND), select(*_NEW_SEND.values()).where(Job.id == bindparam("intended_for")))
    .returning(Send.text)
)


def open_send(session: Session, job_id: str, now: datetime) -> OpenSend | None:
    """The job's open send, if it has one."""
    found = session.connection().execute(_OPEN, {"job_id": job_id}).one_or_none()
    return OpenSend._make((*found[:-1], (now - found.sent_at).total_seconds())) if found else None


def record(session: Session, job_id: str, now: datetime, baseline: dict[str, Any] | None, fingerprint: str) -> str:
    """Record that the job's instruction, or its follow-up, is about to be sent; returns its text."""
    values = {"intended_for": job_id, "now": now, "seen_baseline": baseline, "seen_fingerprint": fingerprint}
    return session.connection().execute(_INSERT_SEND, values).scalar_one()


def record_end(session: Session, job_id: str, reply: str, agent_error: str) -> None:
    """Record that the stream of the open send ended properly, with what the agent said."""
    values = {"ended_well": True, "reply": reply, "agent_error": agent_error}
    update_where(session, Send, {"job_id": job_id, "outcome": Outcome.OPEN}, values)


def read_again(session: Session, send_id: int, reads: int, fingerprint: str) -> None:
    """Record that the state was read without settling the send."""
    update_where(session, Send, {"id": send_id}, {"reads": reads, "read_fingerprint": fingerprint})


def settle(session: Session, job_id: str, outcome: Outcome, now: datetime) -> bool:
    """Close the job's open send; returns whether there was one.

    Unless its outcome costs nothing, the send bears costs until a reading of the balance.
    """
    values: dict[str, Any] = {"outcome": outcome, "settled_at": now}
    if outcome in _FREE_OUTCOMES:
        values["bears_costs"] = False
    return update_where(session, Send, {"job_id": job_id, "outcome": Outcome.OPEN}, values) == 1


def mark_unconfirmed(session: Session, job_ids: Sequence[str], now: datetime) -> None:
    """Mark the open sends of jobs that have ended as unconfirmed; a retry finds out what became of them.

    A send whose stream ended properly is left as it is: its cost is known.
    """
    session.connection().execute(_MARK_UNCONFIRMED, {"job_ids": job_ids, "now": now})


def anything_sent(session: Session, remote_session_id: str) -> bool:
    """Whether an instruction was or may have been sent in this remote session, by any of its jobs."""
    query = (
        select(Send.id)
        .join(Job, Job.id == Send.job_id)
        .where(Job.remote_session_id == remote_session_id, Job.remote_session_id != "", _MAY_HAVE_BEEN_SENT)
        .limit(1)
    )
    return session.execute(query).first() is not None


def session_moved_on(session: Session, job: ClaimedJob) -> bool:
    """Whether another instruction was sent in the job's remote session after its own.

    If the job sent none, the last one of the jobs before it in the session counts instead.
    """
    before: Job | ClaimedJob | None = job
    last: int | None = None
    while before and last is None:
        # By key, not by id: a job that took a twin's result has sent nothing itself.
        last = _last_send(session, job.remote_session_id, Job.key == before.key)
        before = session.get(Job, before.after_id) if before.after_id else None
    newest = _last_send(session, job.remote_session_id)
    return newest is not None and newest > (last or 0)


def _last_send(session: Session, remote_session_id: str, *where: ColumnElement[bool]) -> int | None:
    in_session = (Job.remote_session_id == remote_session_id, Job.remote_session_id != "")
    query = select(func.max(Send.id)).join(Job, Job.id == Send.job_id).where(*in_session, *where, _MAY_HAVE_BEEN_SENT)
    return session.execute(query).scalar_one()
