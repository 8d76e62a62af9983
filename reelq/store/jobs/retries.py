"""Starts a job again (a retry, a new download, a new session), or cancels it."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from reelq import errors
from reelq.errors import SessionLost
from reelq.job import FINAL, PIPELINE, Cause, Stage, Status, starting_stage
from reelq.storage import Storage
from reelq.store.db.models import Job, Outcome, Send
from reelq.store.jobs.dependents import (
    end,
    followers,
    open_original,
    result_of,
    result_of_original,
    twin_message,
)
from reelq.store.jobs.scheduler import awaited_by
from reelq.store.jobs.transitions import RESET_COLUMNS, Position, move

_RESTARTS_AT: Final[Mapping[str, Stage]] = MappingProxyType(
    {
        errors.NoEffect.code: Stage.EDIT,
        errors.AgentFailed.code: Stage.EDIT,
        SessionLost.code: Stage.UPLOAD,
        errors.TypeNotAccepted.code: Stage.UPLOAD,
        errors.FileTooLarge.code: Stage.UPLOAD,
        errors.FileUnreadable.code: Stage.UPLOAD,
        errors.RenderFailed.code: Stage.RENDER,
        errors.RenderStuck.code: Stage.RENDER,
        errors.ResultMissing.code: Stage.RENDER,
        errors.NothingToExport.code: Stage.RENDER,
    }
)
"""The stage from which a retry starts, by the error; for any other error, the stage in which it happened."""
_NO_ERROR: Final = {
    "attempts": 0, "looks": 0, "lapses": 0, "error_code": "", "error": "", "advice": "", "raw": "",
    "cancel_wished": False,
}  # fmt: skip
_NO_EDIT: Final = {"to_send": "", "follow_ups": 0, "resend": False, "timeline": "", "reply": ""}


def retry(session: Session, job: Job, now: datetime) -> bool:
    """Queue a failed or cancelled job again, from the stage that its error calls for; returns whether it did."""
    if job.status not in {Status.FAILED, Status.CANCELLED} or needs_lost_session(session, job):
        return False
    if job.error_code == SessionLost.code:
        _restart_predecessors(session, job, now)
    values: dict[str, Any] = {**_NO_ERROR, **_restart_columns(session, job)}
    stage = values.get("stage", job.stage)
    other, values["same_as"] = _find_original(session, job, stage)
    # A retry does not bring the next poll of an export forward.
    values |= {"run": job.run + 1, "due_at": max(job.due_at, now) if stage is Stage.POLL else now}
    at = move(session, Position.of(job), Status.QUEUED, now, "retried", what="retried", **values)
    if other:
        move(session, at, Status.WAITING, now, twin_message(other), what="joined", cause=Cause.TWIN)
    for follower in followers(session, job.id):
        if follower.status is Status.CANCELLED and follower.error_code == "predecessor":
            retry(session, follower, now)
    return True


def retried_from(error_code: str, stage: Stage) -> Stage:
    """The stage from which a retry starts, given the error and the stage in which it happened."""
    return _RESTARTS_AT.get(error_code, stage)


def _restart_columns(session: Session, job: Job) -> dict[str, Any]:
    """The columns to set for a retry: the stage to start from, and what that stage must not find."""
    stage = _RESTARTS_AT.get(job.error_code)
    if stage is Stage.UPLOAD and job.after_id and job.error_code != SessionLost.code:
        return {"stage": stage, "upload_baseline": ""}  # the upload was refused, not the shared session
    if stage:
        return {"stage": stage, **RESET_COLUMNS.get(stage, {})}
    if _reopen_unconfirmed(session, job):
        return {"stage": Stage.VERIFY, "resend": True}
    return dict(RESET_COLUMNS[Stage.POLL]) if job.stage is Stage.POLL else {}


def needs_lost_session(session: Session, job: Job) -> bool:
    """Whether the job's session is lost and was built up by rows of another batch, which a retry must not restart."""
    if job.error_code != SessionLost.code or job.after_id is None:
        return False
    before = session.get(Job, job.after_id, populate_existing=True)
    return before is None or before.batch_id != job.batch_id


def _restart_predecessors(session: Session, job: Job, now: datetime) -> None:
    """Restart the rows that built up the lost session: the job builds on them, and waits until they are done."""
    before = session.get(Job, job.after_id, populate_existing=True) if job.after_id else None
    while before and before.remote_session_id == job.remote_session_id and before.batch_id == job.batch_id:
        restart(session, before, now, f"row {job.row} is retried, and the session that it builds on is lost")
        before = session.get(Job, before.after_id, populate_existing=True) if before.after_id else None


def _find_original(session: Session, job: Job, stage: Stage) -> tuple[Job | None, str | None]:
    """The open job with the same key that the job has to wait for, if there is one; and the value of `same_as`."""
    is_past_edit = PIPELINE.index(stage) >= PIPELINE.index(Stage.RENDER)
    if job.same_as == job.id or (job.same_as is not None and is_past_edit):
        return None, job.same_as
    other = open_original(session, job)
    return other, other.id if other else None


def _reopen_unconfirmed(session: Session, job: Job) -> bool:
    """Reopen the newest send if its outcome is unconfirmed; returns whether it was.

    The state is then read once more before the instruction is sent again.
    """
    if job.stage not in {Stage.EDIT, Stage.VERIFY}:
        return False
    last_number = select(func.max(Send.number)).where(Send.job_id == job.id).scalar_subquery()
    reopened: Any = session.execute(
        update(Send)
        .where(Send.job_id == job.id, Send.number == last_number, Send.outcome == Outcome.UNCONFIRMED)
        .values(outcome=Outcome.OPEN, settled_at=None, ended_well=False, read_fingerprint="")
    )
    return bool(reopened.rowcount == 1)


def download_again(session: Session, job: Job, now: datetime, message: str) -> None:
    """Download the result of a succeeded job again, and export it again if needed. This costs nothing."""
    values: dict[str, Any] = {**_NO_ERROR, **RESET_COLUMNS[Stage.DOWNLOAD], "stage": Stage.DOWNLOAD}
    values |= {"run": job.run + 1, "due_at": now, "same_as": job.same_as or _exempt_from_key(session, job)}
    move(session, Position.of(job), Status.QUEUED, now, message, what="fetched again", **values)


def result_is_missing(session: Session, job: Job, storage: Storage) -> bool:
    """Whether the job produced a result that no longer exists."""
    result = result_of(session, job.owner, job.id)
    return result is not None and result.found(storage) is None


def restart(session: Session, job: Job, now: datetime, message: str, **changes: Any) -> None:
    """Send a job through all its stages again in a new session. What it has cost so far still counts.

    An open send is settled as unconfirmed: its outcome can't be read any more, as the old session is abandoned.
    """
    unconfirmed = {"outcome": Outcome.UNCONFIRMED, "settled_at": now, "bears_costs": False}
    session.execute(update(Send).where(Send.job_id == job.id, Send.outcome == Outcome.OPEN).values(**unconfirmed))
    values: dict[str, Any] = {**_NO_ERROR, **RESET_COLUMNS[Stage.UPLOAD], **_NO_EDIT, "changes": []}
    values |= {"stage": starting_stage(job.route), "run": job.run + 1, "same_as": _exempt_from_key(session, job)}
    values |= {"admitted": False, "due_at": now, "publish_at": None}
    move(session, Position.of(job), Status.QUEUED, now, message, what="begun anew", **values, **changes)


def _exempt_from_key(session: Session, job: Job) -> str | None:
    """The value of `same_as` for a job that must not become a twin: its own id if another open job has its key.

    It can't wait for that job's result, since that job works in another session.
    """
    return job.id if open_original(session, job) else None


def cancel(session: Session, job: Job, now: datetime) -> bool:
    """Cancel a job; returns False if it has already ended.

    A running job is only asked to stop. It ends at its next event, with its costs and the agent's reply recorded.
    """
    if job.status in FINAL:
        return False
    if job.status is not Status.RUNNING:
        end(session, Position.of(job), Status.CANCELLED, now, "cancelled")
        return True
    requested: Any = session.execute(
        update(Job).where(Job.id == job.id, Job.status == Status.RUNNING).values(cancel_wished=True)
    )
    return bool(requested.rowcount == 1)


def restart_on_account(session: Session, account_id: str, batch_id: str, now: datetime) -> int:
    """Move the open rows of the batch, and the rows it waits for, to this account; returns how many were restarted.

    For a new sandbox: it counts as another service, with another account, and has no sessions of the one before.
    Rows that succeeded keep their results, except rows of a session that has to be rebuilt.
    """
    concerned = or_(Job.batch_id == batch_id, awaited_by(batch_id))
    query = select(Job).where(concerned, Job.status.not_in(FINAL), Job.account_id != account_id).order_by(Job.id)
    jobs = session.scalars(query.execution_options(populate_existing=True)).all()
    restarted = {job.id: job for job in jobs if job.remote_session_id and not _only_copies_result(session, job)}
    for job in jobs:
        restarted |= {earlier.id: earlier for earlier in _earlier_in_session(session, job, account_id)}
    for job in restarted.values():
        restart(session, job, now, "the sandbox it ran in has ended; restarted", account_id=account_id)
    not_restarted = [job.id for job in jobs if job.id not in restarted]
    move_to_account = update(Job).where(Job.id.in_(not_restarted)).values(account_id=account_id)
    session.execute(move_to_account.execution_options(synchronize_session=False))
    return len(restarted)


def _only_copies_result(session: Session, job: Job) -> bool:
    """Whether the job only has to copy another row's result, which needs no service."""
    original = result_of_original(session, job.id) if job.stage is Stage.DOWNLOAD else None
    return original is not None and original.is_there


def _earlier_in_session(session: Session, job: Job, account_id: str) -> list[Job]:
    """The earlier rows of the job's session in any status: the job builds on them, so they restart too."""
    rows: list[Job] = []
    while job.after_id and (before := session.get(Job, job.after_id, populate_existing=True)):
        if before.account_id != account_id and before.remote_session_id:
            rows.append(before)
        job = before
    return rows
