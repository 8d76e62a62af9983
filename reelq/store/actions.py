"""What a person asks of one job: to try again, or to end."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from reelq.job import Stage, Status
from reelq.store.jobs import end, followers
from reelq.store.models import Job, Outcome, Send
from reelq.store.moves import Position, move

_FROM_EDIT: Final = frozenset({"no_effect", "agent_failed"})
_FROM_UPLOAD: Final = frozenset({"session_lost", "type_not_accepted", "file_too_large", "file_unreadable"})
_FROM_RENDER: Final = frozenset({"render_failed", "render_stuck", "result_missing", "nothing_to_export"})
_NEW_SESSION: Final = {
    "remote_session_id": "", "remote_task_id": "", "upload_baseline": "", "remote_render_id": "", "renders": 0,
}  # fmt: skip
_CLEAN: Final = {
    "attempts": 0, "looks": 0, "lapses": 0, "error_code": "", "error": "", "advice": "", "raw": "", "finished_at": None,
    "cancel_wished": False,
}  # fmt: skip


def retry(session: Session, job: Job, now: datetime) -> bool:
    """Queue a failed or cancelled job again, from the stage that what failed asks for; whether there was need."""
    if job.status not in {Status.FAILED, Status.CANCELLED}:
        return False
    values: dict[str, Any] = {**_CLEAN, **_where_from(session, job)}
    # The next look at an export keeps its moment, whoever is impatient.
    due = max(job.due_at, now) if values.get("stage", job.stage) is Stage.POLL else now
    move(
        session, Position.of(job), Status.QUEUED, now, "retried", what="retried", run=job.run + 1, due_at=due, **values
    )
    for follower in followers(session, job.id):
        if follower.status is Status.CANCELLED and follower.error_code == "predecessor":
            retry(session, follower, now)
    return True


def _where_from(session: Session, job: Job) -> dict[str, Any]:
    if job.error_code in _FROM_EDIT:
        return {"stage": Stage.EDIT}
    if job.error_code in _FROM_UPLOAD:
        return {"stage": Stage.UPLOAD, **_NEW_SESSION}
    if job.error_code in _FROM_RENDER:
        return {"stage": Stage.RENDER, "remote_render_id": "", "renders": 0, "result_url": ""}
    if _reopen_unconfirmed(session, job):
        return {"stage": Stage.VERIFY, "resend": True}
    return {}


def _reopen_unconfirmed(session: Session, job: Job) -> bool:
    """Whether an instruction may or may not have taken effect: then one more read comes before it goes out anew."""
    if job.stage not in {Stage.EDIT, Stage.VERIFY}:
        return False
    newest = select(func.max(Send.number)).where(Send.job_id == job.id).scalar_subquery()
    reopened: Any = session.execute(
        update(Send)
        .where(Send.job_id == job.id, Send.number == newest, Send.outcome == Outcome.UNCONFIRMED)
        .values(outcome=Outcome.OPEN, settled_at=None, ended_well=False)
    )
    return bool(reopened.rowcount == 1)


def cancel(session: Session, job: Job, now: datetime) -> bool:
    """End a job; one that runs is asked to, and ends at its next event with its costs and words recorded."""
    if job.status in {Status.QUEUED, Status.WAITING}:
        end(session, Position.of(job), Status.CANCELLED, now, "cancelled")
        return True
    asked: Any = session.execute(
        update(Job).where(Job.id == job.id, Job.status == Status.RUNNING).values(cancel_wished=True)
    )
    return bool(asked.rowcount == 1)
