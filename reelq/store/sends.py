"""Decisions to send: written before anything goes out, settled by what is read, never carried out twice."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, func, insert, select
from sqlalchemy.orm import Session

from reelq.store.models import Job, Outcome, Send
from reelq.store.statements import change

_OPEN: Final = select(Send).where(Send.job_id == bindparam("job_id"), Send.outcome == Outcome.OPEN)


def open_send(session: Session, job_id: str) -> Send | None:
    """The job's decision whose outcome is not known; the database allows one."""
    return session.scalars(_OPEN, {"job_id": job_id}).one_or_none()


def intend(
    session: Session, job: Job, now: datetime, text: str, baseline: dict[str, Any] | None, fingerprint: str
) -> Send:
    """Write down that `text` is about to go out for this job."""
    count: int = session.execute(select(func.count()).where(Send.job_id == job.id)).scalar_one()
    why = "follow_up" if job.to_send else "retry" if count else "instruction"
    values = {
        "job_id": job.id,
        # Not as the job was loaded: a manifest handed in again may have taken it along into another batch.
        "batch_id": select(Job.batch_id).where(Job.id == job.id).scalar_subquery(),
        "account_id": job.account_id,
        "number": count + 1,
        "run": job.run,
        "text": text,
        "why": why,
        "baseline": baseline,
        "fingerprint": fingerprint,
        "sent_at": now,
        "outcome": Outcome.OPEN,
    }
    return session.scalars(insert(Send).values(**values).returning(Send)).one()


def ended_well(session: Session, send_id: int, reply: str, agent_error: str) -> Send:
    """Its stream came to a proper end, with these words."""
    values = {"ended_well": True, "reply": reply, "agent_error": agent_error}
    change(session, Send, {"id": send_id, "outcome": Outcome.OPEN}, values)
    return session.scalars(select(Send).where(Send.id == send_id)).one()


def read_again(session: Session, send_id: int, reads: int, fingerprint: str) -> None:
    """The state was looked at and settled nothing yet."""
    change(session, Send, {"id": send_id}, {"reads": reads, "read_fingerprint": fingerprint})


def settle(session: Session, send_id: int, outcome: Outcome, now: datetime) -> bool:
    """Close an open decision, once; whether it was still open."""
    values = {"outcome": outcome, "settled_at": now, "bears_costs": False}
    return change(session, Send, {"id": send_id, "outcome": Outcome.OPEN}, values) == 1


def anything_sent(session: Session, remote_session_id: str) -> bool:
    """Whether an instruction went out, or may have, in this remote session, from whichever of its rows."""
    out = (Outcome.NOT_SENT, Outcome.REFUSED)
    query = (
        select(Send.id)
        .join(Job, Job.id == Send.job_id)
        .where(Job.remote_session_id == remote_session_id, Job.remote_session_id != "", Send.outcome.not_in(out))
        .limit(1)
    )
    return session.execute(query).first() is not None


def went_on(session: Session, job: Job) -> bool:
    """Whether another instruction has gone out in the job's remote session since its own, or since those before it."""
    before: Job | None = job
    last: int | None = None
    while before and last is None:
        # Whoever has the same key did the same: a row that took another's result did none of it itself.
        last = _newest(session, job.remote_session_id, Job.key == before.key)
        before = session.get(Job, before.after_id) if before.after_id else None
    newest = _newest(session, job.remote_session_id)
    return newest is not None and newest > (last or 0)


def _newest(session: Session, remote_session_id: str, *whose: ColumnElement[bool]) -> int | None:
    out = (Outcome.NOT_SENT, Outcome.REFUSED)
    here = (Job.remote_session_id == remote_session_id, Job.remote_session_id != "")
    query = select(func.max(Send.id)).join(Job, Job.id == Send.job_id).where(*here, *whose, Send.outcome.not_in(out))
    return session.execute(query).scalar_one()
