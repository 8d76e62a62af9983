"""Ends a job, and moves the jobs that depend on it.

Followers are the next rows of its session: they start once its render is done. Twins are jobs of other batches with the
same key: they wait for its result instead of doing the same work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row, Select, bindparam, or_, select, update
from sqlalchemy.orm import Session, aliased

from reelq.job import FINAL, Cause, ClaimedJob, Stage, Status, is_rendered, makes_video
from reelq.storage import Storage
from reelq.store.db.models import Batch, Job
from reelq.store.jobs import sends
from reelq.store.jobs.transitions import RESET_COLUMNS, Position, move, move_all

RESULT_COLUMNS: Final = (
    "account_id", "remote_session_id", "remote_task_id", "remote_user_id", "remote_render_id", "result_url",
    "timeline", "changes", "reply",
)  # fmt: skip
RELOAD: Final = {"populate_existing": True}
# These run at the end of every job. Building a statement takes longer than running it, so they are built once.
_FOLLOWERS: Final = select(Job).where(Job.after_id == bindparam("job_id")).execution_options(populate_existing=True)
_ANY_FOLLOWER: Final = select(Job.id).where(Job.after_id == bindparam("job_id")).limit(1)
_ANY_DEPENDENT: Final = (
    select(Job.id).where(or_(Job.after_id == bindparam("job_id"), Job.same_as == bindparam("job_id"))).limit(1)
)
"""Any job that may have waited for this one. Most jobs have none, and then nothing has to be loaded."""
_TWINS: Final = (
    select(Job)
    .where(Job.same_as == bindparam("job_id"), Job.status == Status.WAITING, Job.cause == Cause.TWIN)
    .order_by(Job.id)
    .execution_options(populate_existing=True)
)
_RESULT: Final = (
    select(Batch.out, Job.result_path, Job.result_size, Job.result_sha256)
    .join(Batch, Batch.id == Job.batch_id)
    .where(Job.result_size.is_not(None))
)
_TWIN: Final = aliased(Job)
_ORIGINAL_ID: Final = (
    select(_TWIN.same_as).where(_TWIN.id == bindparam("id"), _TWIN.same_as != _TWIN.id).scalar_subquery()
)
_RESULT_OF_ORIGINAL: Final = _RESULT.where(Job.id == _ORIGINAL_ID)
_RESULT_OF_OWNED: Final = _RESULT.where(
    Job.id == bindparam("id"), Job.owner == bindparam("owner"), Job.status == Status.SUCCEEDED
)


def end(session: Session, at: Position, to: Status, now: datetime, message: str, **changes: Any) -> Position:
    """Move a job to a final status, and release or cancel its followers and twins."""
    after = move(session, at, to, now, message, **changes)
    if to is not Status.SUCCEEDED:
        sends.mark_unconfirmed(session, [at.job_id], now)
    if session.connection().execute(_ANY_DEPENDENT, {"job_id": at.job_id}).first():
        _move_dependents(session, session.get_one(Job, at.job_id, populate_existing=True), now)
    return after


def cancel_all(session: Session, ids: Sequence[str], before: Status, now: datetime) -> int:
    """Cancel those of the jobs that have this status, in bulk; returns how many."""
    moved = move_all(session, ids, before, Status.CANCELLED, now, "cancelled")
    sends.mark_unconfirmed(session, moved, now)
    # Only now: no job can begin to depend on one that is cancelled.
    with_dependents = (
        select(Job.after_id).where(Job.after_id.in_(moved)).union(select(Job.same_as).where(Job.same_as.in_(moved)))
    )
    query = select(Job).where(Job.id.in_(with_dependents)).order_by(Job.row)
    for job in session.scalars(query, execution_options=RELOAD):
        _move_dependents(session, job, now)
    return len(moved)


def _move_dependents(session: Session, job: Job, now: datetime) -> None:
    """Release the jobs that wait for one that has ended; cancel its followers if it has not succeeded.

    A retry of the job queues those again.
    """
    if job.status is Status.SUCCEEDED:
        release_followers(session, job, now)
    else:
        for follower in _waiting_followers(session, job.id):
            cancel_follower(session, follower, job, now)
    twins = session.scalars(_TWINS, {"job_id": job.id}).all()
    has_result = job.status is Status.SUCCEEDED and makes_video(job.route)
    if twins and has_result:
        for twin in twins:
            _give_result(session, twin, job, now)
    elif twins:
        _promote(session, twins, job, now)


def followers(session: Session, job_id: str) -> list[Job]:
    """The rows that come directly after this one in its session, whatever their status."""
    if session.connection().execute(_ANY_FOLLOWER, {"job_id": job_id}).first() is None:
        return []
    return list(session.scalars(_FOLLOWERS, {"job_id": job_id}))


def release_followers(session: Session, job: Job | ClaimedJob, now: datetime) -> None:
    """Queue the next rows of the session: this row's render is done, so the session is free."""
    for follower in _waiting_followers(session, job.id):
        message = f"row {job.row} has finished with the session"
        move(session, Position.of(follower), Status.QUEUED, now, message, due_at=now, **session_columns(job))


def _waiting_followers(session: Session, job_id: str) -> list[Job]:
    return [follower for follower in followers(session, job_id) if follower.cause is Cause.SESSION]


def cancel_follower(session: Session, follower: Job, job: Job, now: datetime) -> None:
    """Cancel a row because the one before it in its session failed or was cancelled."""
    message = f"row {job.row} of the same session {job.status}; `reelq retry` on that row queues this one again"
    end(session, Position.of(follower), Status.CANCELLED, now, message, error_code="predecessor", error=message)


def session_columns(job: Job | ClaimedJob) -> dict[str, Any]:
    """The columns that the next row takes over to work in this job's session."""
    return {
        "remote_session_id": job.remote_session_id,
        "remote_task_id": job.remote_task_id,
        "remote_user_id": job.remote_user_id,
        "account_id": job.account_id,
    }


def is_done_with_session(job: Job) -> bool:
    """Whether the next row may work in the job's session: its render is done, or the whole job."""
    return is_rendered(job.stage) or job.status is Status.SUCCEEDED


def result_columns(job: Job | Row[Any]) -> dict[str, Any]:
    """The columns that a twin takes over to download the same video and report the same about it."""
    return {name: getattr(job, name) for name in RESULT_COLUMNS}


def twin_message(original: Job | Row[Any]) -> str:
    """The event message of a twin that takes a job's result, or waits for it."""
    is_over = original.status is Status.SUCCEEDED
    state = "succeeded; reusing its result" if is_over else "is in progress; waiting to reuse its result"
    return f"same as row {original.row} of {original.batch_id}, which {state}"


def open_original(session: Session, job: Job) -> Job | None:
    """The other open job with the same owner and key that does the work itself; there is at most one."""
    same_key = (Job.owner == job.owner, Job.key == job.key, Job.id != job.id)
    query = select(Job).where(*same_key, Job.status.not_in(FINAL), Job.same_as.is_(None))
    query = query.with_for_update(read=True)  # it must not end before the caller's wait for it is committed
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


@dataclass(frozen=True, slots=True)
class Result:
    """A downloaded file: where it was stored, and its size and hash at that time."""

    path: Path | None
    """None if the file is in content-addressed storage."""
    size: int
    sha256: str

    @property
    def is_there(self) -> bool:
        """Whether a file of the recorded size is at the path. The hash is not checked."""
        try:
            return self.path is not None and self.path.stat().st_size == self.size
        except OSError:
            return False

    def found(self, storage: Storage) -> Path | None:
        """The path of the file if it still exists with the recorded size; else None."""
        if self.path is not None:
            return self.path if self.is_there and self.path.is_file() else None
        kept = storage.stat(self.sha256)
        return storage.path(self.sha256) if kept and kept.size == self.size else None


def result_of_original(session: Session, job_id: str) -> Result | None:
    """The result of the job that this twin takes it from, if that job still exists and has one."""
    return _result(session, _RESULT_OF_ORIGINAL, {"id": job_id})


def result_of(session: Session, owner: str, job_id: str) -> Result | None:
    """The result of the owner's job, if it succeeded and has one."""
    return _result(session, _RESULT_OF_OWNED, {"id": job_id, "owner": owner})


def _result(session: Session, query: Select[str, str, int | None, str], values: dict[str, Any]) -> Result | None:
    found = session.connection().execute(query, values).one_or_none()
    if found is None:
        return None
    path = Path(found.out, found.result_path) if found.out else None
    return Result(path, found.result_size, found.result_sha256)


def _give_result(session: Session, twin: Job, job: Job, now: datetime) -> None:
    values = {**result_columns(job), **RESET_COLUMNS[Stage.DOWNLOAD], "stage": Stage.DOWNLOAD, "due_at": now}
    move(session, Position.of(twin), Status.QUEUED, now, twin_message(job), what="taken", **values)
    release_followers(session, session.get_one(Job, twin.id, populate_existing=True), now)


def _promote(session: Session, twins: Sequence[Job], job: Job, now: datetime) -> None:
    """Queue the first twin to do the work itself, and let the others wait for it."""
    first, *others = twins
    message = f"waited for row {job.row} of {job.batch_id}, which {job.status}; running this row instead"
    values: dict[str, Any] = {"same_as": None, "due_at": now}
    before = session.get(Job, first.after_id) if first.after_id else None
    if before and is_done_with_session(before) and not first.remote_session_id:
        values |= session_columns(before)
    move(session, Position.of(first), Status.QUEUED, now, message, what="goes on", **values)
    redirected = update(Job).where(Job.id.in_([twin.id for twin in others])).values(same_as=first.id)
    session.execute(redirected.execution_options(synchronize_session=False))
