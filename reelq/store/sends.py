"""Decisions to send: written before anything goes out, settled by what is read, never carried out twice."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from reelq.store.models import Job, Outcome, Send


def open_send(session: Session, job_id: str) -> Send | None:
    """The job's decision whose outcome is not known; the database allows one."""
    return session.scalars(select(Send).where(Send.job_id == job_id, Send.outcome == Outcome.OPEN)).one_or_none()


def intend(
    session: Session, job: Job, now: datetime, text: str, baseline: dict[str, Any] | None, fingerprint: str
) -> Send:
    """Write down that `text` is about to go out for this job."""
    count: int = session.execute(select(func.count()).where(Send.job_id == job.id)).scalar_one()
    why = "follow_up" if job.to_send else "retry" if count else "instruction"
    values = {
        "job_id": job.id,
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
    session.execute(update(Send).where(Send.id == send_id, Send.outcome == Outcome.OPEN).values(**values))
    return session.scalars(select(Send).where(Send.id == send_id)).one()


def read_again(session: Session, send_id: int, reads: int, fingerprint: str) -> None:
    """The state was looked at and settled nothing yet."""
    session.execute(update(Send).where(Send.id == send_id).values(reads=reads, read_fingerprint=fingerprint))


def settle(session: Session, send_id: int, outcome: Outcome, now: datetime) -> bool:
    """Close an open decision, once; whether it was still open."""
    values = {"outcome": outcome, "settled_at": now, "bears_costs": False}
    done: Any = session.execute(update(Send).where(Send.id == send_id, Send.outcome == Outcome.OPEN).values(**values))
    return bool(done.rowcount == 1)


def anything_sent(session: Session, remote_session_id: str) -> bool:
    """Whether an instruction went out, or may have, in this remote session, from whichever of its rows."""
    out = (Outcome.NOT_SENT, Outcome.REFUSED)
    query = (
        select(Send.id)
        .join(Job, Job.id == Send.job_id)
        .where(Job.remote_session_id == remote_session_id, Send.outcome.not_in(out))
        .limit(1)
    )
    return session.execute(query).first() is not None
