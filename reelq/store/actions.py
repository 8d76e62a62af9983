"""What a person asks of one job: to try again, to bring its result again, to begin anew, or to end."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from reelq.errors import SessionLost
from reelq.job import FINAL, PIPELINE, Cause, Stage, Status
from reelq.storage import Storage
from reelq.store.ends import end, followers, other_at_work, result_of, waits_for
from reelq.store.jobs import starting_stage
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
_NOTHING_DONE: Final = {
    "result_url": "", "to_send": "", "follow_ups": 0, "resend": False, "timeline": "", "reply": "",
}  # fmt: skip


def retry(session: Session, job: Job, now: datetime) -> bool:
    """Queue a failed or cancelled job again, from the stage that what failed asks for; whether there was need."""
    if job.status not in {Status.FAILED, Status.CANCELLED} or builds_on_what_is_gone(session, job):
        return False
    if job.error_code == SessionLost.code:
        _begin_those_before_anew(session, job, now)
    values: dict[str, Any] = {**_CLEAN, **_where_from(session, job)}
    stage = values.get("stage", job.stage)
    if stage is Stage.POLL:
        values["result_url"] = ""  # it may have been seen long ago
    other, values["same_as"] = _standing(session, job, stage)
    # The next look at an export keeps its moment, whoever is impatient.
    due = max(job.due_at, now) if stage is Stage.POLL else now
    at = move(
        session, Position.of(job), Status.QUEUED, now, "retried", what="retried", run=job.run + 1, due_at=due, **values
    )
    if other:
        move(session, at, Status.WAITING, now, waits_for(other.row, other.batch_id), what="joined", cause=Cause.TWIN)
    for follower in followers(session, job.id):
        if follower.status is Status.CANCELLED and follower.error_code == "predecessor":
            retry(session, follower, now)
    return True


def retried_from(error_code: str, stage: Stage) -> Stage:
    """The stage that a retry begins with, by what failed and where."""
    if error_code in _FROM_EDIT:
        return Stage.EDIT
    if error_code in _FROM_UPLOAD:
        return Stage.UPLOAD
    return Stage.RENDER if error_code in _FROM_RENDER else stage


def _where_from(session: Session, job: Job) -> dict[str, Any]:
    if job.error_code in _FROM_EDIT:
        return {"stage": Stage.EDIT}
    if job.error_code in _FROM_UPLOAD:
        if job.after_id and job.error_code != SessionLost.code:
            return {"stage": Stage.UPLOAD, "upload_baseline": ""}  # it was refused in the session that it shares
        return {"stage": Stage.UPLOAD, **_NEW_SESSION}
    if job.error_code in _FROM_RENDER:
        return {"stage": Stage.RENDER, "remote_render_id": "", "renders": 0, "result_url": ""}
    if _reopen_unconfirmed(session, job):
        return {"stage": Stage.VERIFY, "resend": True}
    return {}


def builds_on_what_is_gone(session: Session, job: Job) -> bool:
    """Whether its session is lost, and was one of another batch, whose rows are finished and not this one's to do."""
    if job.error_code != SessionLost.code or job.after_id is None:
        return False
    before = session.get(Job, job.after_id, populate_existing=True)
    return before is None or before.batch_id != job.batch_id


def _begin_those_before_anew(session: Session, job: Job, now: datetime) -> None:
    """The rows that built up the session which is lost: this one builds on them, and waits until they are done."""
    before = session.get(Job, job.after_id, populate_existing=True) if job.after_id else None
    while before and before.remote_session_id == job.remote_session_id and before.batch_id == job.batch_id:
        begin_anew(session, before, now, f"row {job.row} is retried, and what it builds on went with its session")
        before = session.get(Job, before.after_id, populate_existing=True) if before.after_id else None


def _standing(session: Session, job: Job, stage: Stage) -> tuple[Job | None, str | None]:
    """The open job that this one has to wait for, as that has its key; and what to say in `same_as`."""
    if job.same_as == job.id:
        return None, job.same_as
    takes_a_result = job.same_as is not None and PIPELINE.index(stage) >= PIPELINE.index(Stage.RENDER)
    if takes_a_result:
        return None, job.same_as
    other = other_at_work(session, job)
    return other, other.id if other else None


def _reopen_unconfirmed(session: Session, job: Job) -> bool:
    """Whether an instruction may or may not have taken effect: then one more read comes before it goes out anew."""
    if job.stage not in {Stage.EDIT, Stage.VERIFY}:
        return False
    newest = select(func.max(Send.number)).where(Send.job_id == job.id).scalar_subquery()
    reopened: Any = session.execute(
        update(Send)
        .where(Send.job_id == job.id, Send.number == newest, Send.outcome == Outcome.UNCONFIRMED)
        .values(outcome=Outcome.OPEN, settled_at=None, ended_well=False, read_fingerprint="")
    )
    return bool(reopened.rowcount == 1)


def fetch_again(session: Session, job: Job, now: datetime, words: str) -> None:
    """Bring the result of a job that succeeded once more: it is free, and exported again if it has to be."""
    values: dict[str, Any] = {**_CLEAN, "stage": Stage.DOWNLOAD, "renders": 0, "run": job.run + 1, "due_at": now}
    values["same_as"] = job.same_as or _aside(session, job)
    move(session, Position.of(job), Status.QUEUED, now, words, what="fetched again", **values)


def is_without_result(session: Session, job: Job, storage: Storage) -> bool:
    """Whether it brought a result, and that is not where it was put."""
    found = result_of(session, job.owner, job.id)
    return found is not None and found.found(storage) is None


def begin_anew(session: Session, job: Job, now: datetime, words: str, **changes: Any) -> None:
    """Send a job through all its stages again, in a session that is yet to be opened; whatever it did counts as cost.

    What its open decision to send came to can't be read any more, as nobody looks at that session again.
    """
    settled = {"outcome": Outcome.UNCONFIRMED, "settled_at": now, "bears_costs": False}
    session.execute(update(Send).where(Send.job_id == job.id, Send.outcome == Outcome.OPEN).values(**settled))
    values: dict[str, Any] = {**_CLEAN, **_NEW_SESSION, **_NOTHING_DONE, "changes": [], "admitted": False}
    values |= {"stage": starting_stage(job.route), "run": job.run + 1, "due_at": now, "publish_at": None}
    values["same_as"] = _aside(session, job)
    move(session, Position.of(job), Status.QUEUED, now, words, what="begun anew", **values, **changes)


def _aside(session: Session, job: Job) -> str | None:
    """Its own id where another open job has the key, which it can't wait for: its session is not that one's."""
    return job.id if other_at_work(session, job) else None


def cancel(session: Session, job: Job, now: datetime) -> bool:
    """End a job; one that runs is asked to, and ends at its next event with its costs and words recorded."""
    if job.status in FINAL:
        return False
    if job.status is not Status.RUNNING:
        end(session, Position.of(job), Status.CANCELLED, now, "cancelled")
        return True
    asked: Any = session.execute(
        update(Job).where(Job.id == job.id, Job.status == Status.RUNNING).values(cancel_wished=True)
    )
    return bool(asked.rowcount == 1)
