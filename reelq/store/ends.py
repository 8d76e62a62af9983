"""How a job ends, and what that means for others: the rows behind it in its session, and the twins that wait for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row, Select, bindparam, or_, select, update
from sqlalchemy.orm import Session, aliased

from reelq.job import FINAL, ROUTES, Cause, Stage, Status
from reelq.storage import Storage
from reelq.store import sends
from reelq.store.models import Batch, Job
from reelq.store.moves import Position, move, move_all
from reelq.store.taking import Work

TAKEN_ALONG: Final = (
    "account_id", "remote_session_id", "remote_task_id", "remote_user_id", "remote_render_id", "result_url",
    "timeline", "changes", "reply",
)  # fmt: skip

AFRESH: Final = {"populate_existing": True}
# Asked at every job's end: made once, which takes longer than to run them.
_FOLLOWERS: Final = select(Job).where(Job.after_id == bindparam("job_id")).execution_options(populate_existing=True)
_ANY_FOLLOWER: Final = select(Job.id).where(Job.after_id == bindparam("job_id")).limit(1)
_ANYBODY: Final = (
    select(Job.id).where(or_(Job.after_id == bindparam("job_id"), Job.same_as == bindparam("job_id"))).limit(1)
)
"""Who may have waited for a job; most have nobody, and then nothing has to be loaded."""
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
_SAME: Final = aliased(Job)
_OTHER: Final = select(_SAME.same_as).where(_SAME.id == bindparam("id"), _SAME.same_as != _SAME.id).scalar_subquery()
_OF_OTHER: Final = _RESULT.where(Job.id == _OTHER)
_OF_OWN: Final = _RESULT.where(
    Job.id == bindparam("id"), Job.owner == bindparam("owner"), Job.status == Status.SUCCEEDED
)


def end(session: Session, at: Position, to: Status, now: datetime, words: str, **changes: Any) -> Position:
    """A final status; what that means for the rows behind it in its session, and for its twins."""
    after = move(session, at, to, now, words, **changes)
    if to is not Status.SUCCEEDED:
        sends.let_be(session, [at.job_id], now)
    if session.connection().execute(_ANYBODY, {"job_id": at.job_id}).first():
        _heed(session, session.get_one(Job, at.job_id, populate_existing=True), now)
    return after


def cancel_all(session: Session, ids: Sequence[str], before: Status, now: datetime) -> int:
    """Cancel those of these jobs that have this status, all at once; how many that were."""
    moved = move_all(session, ids, before, Status.CANCELLED, now, "cancelled")
    sends.let_be(session, moved, now)
    # Looked for now that nobody can come to rely on them any more.
    relied_on = (
        select(Job.after_id).where(Job.after_id.in_(moved)).union(select(Job.same_as).where(Job.same_as.in_(moved)))
    )
    for job in session.scalars(select(Job).where(Job.id.in_(relied_on)).order_by(Job.row), execution_options=AFRESH):
        _heed(session, job, now)
    return len(moved)


def _heed(session: Session, job: Job, now: datetime) -> None:
    """What a job's end means for those who wait for it."""
    if job.status is Status.SUCCEEDED:
        release_followers(session, job, now)
    else:
        cancel_followers(session, job, now)
    _end_wait_of_twins(session, job, now)


def followers(session: Session, job_id: str) -> list[Job]:
    """The rows that wait for this one in its session."""
    if session.connection().execute(_ANY_FOLLOWER, {"job_id": job_id}).first() is None:
        return []
    return list(session.scalars(_FOLLOWERS, {"job_id": job_id}))


def release_followers(session: Session, job: Job | Work, now: datetime) -> None:
    """The session is free for the next row: its render is done."""
    for follower in followers(session, job.id):
        if follower.status is Status.WAITING and follower.cause is Cause.SESSION:
            words = f"row {job.row} is done with the session"
            move(session, Position.of(follower), Status.QUEUED, now, words, due_at=now, **session_of(job))


def cancel_followers(session: Session, job: Job, now: datetime) -> None:
    """Rows that build on one that did not end well do not run, until that one is retried."""
    for follower in followers(session, job.id):
        if follower.status is Status.WAITING and follower.cause is Cause.SESSION:
            cancel_behind(session, follower, job, now)


def cancel_behind(session: Session, follower: Job, job: Job, now: datetime) -> None:
    """This row does not run, as the one before it in its session did not end well."""
    words = f"row {job.row} of its session {job.status}; `reelq retry` on that row queues this one again"
    end(session, Position.of(follower), Status.CANCELLED, now, words, error_code="predecessor", error=words)


def session_of(job: Job | Work) -> dict[str, Any]:
    """What the next row needs to work in this one's session."""
    return {
        "remote_session_id": job.remote_session_id,
        "remote_task_id": job.remote_task_id,
        "remote_user_id": job.remote_user_id,
        "account_id": job.account_id,
    }


def is_done_with_session(job: Job | None) -> bool:
    """Whether the next row may work in its session: its render is done, or all of it."""
    return job is None or job.status is Status.SUCCEEDED or job.stage is Stage.DOWNLOAD


def brings_video(job: Job) -> bool:
    """Whether a file comes home in the end, that a twin could take."""
    return ROUTES[job.route][-1] is Stage.DOWNLOAD


def taken_along(job: "Job | Row[Any]") -> dict[str, Any]:
    """What a twin needs to bring the same video home, and to tell the same of it."""
    return {name: getattr(job, name) for name in TAKEN_ALONG}


def waits_for(row: int, batch_id: str) -> str:
    """A twin's cause, for people."""
    return f"the same row is under way in {batch_id}, row {row}; its result will be taken from there"


def takes_from(row: int, batch_id: str) -> str:
    """Where a twin's result comes from, for people."""
    return f"the same row succeeded in {batch_id}, row {row}; its result is taken from there"


def other_at_work(session: Session, job: Job) -> Job | None:
    """Another open job under this one's key, that does the work itself: there is at most one."""
    mine = (Job.owner == job.owner, Job.key == job.key, Job.id != job.id)
    query = select(Job).where(*mine, Job.status.not_in(FINAL), Job.same_as.is_(None))
    query = query.with_for_update(read=True)  # it may end at any moment, and tells those who wait for it then
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


@dataclass(frozen=True, slots=True)
class Result:
    """A finished file, where it was put and as it was then."""

    path: Path | None
    """None where it is kept in storage, by its hash."""
    size: int
    sha256: str

    @property
    def is_there(self) -> bool:
        """Whether a file of its size is at its place. Only its hash would tell whether it is the same."""
        try:
            return self.path is not None and self.path.stat().st_size == self.size
        except OSError:
            return False

    def found(self, storage: Storage) -> Path | None:
        """The file, where it is still there as it was, as far as its size tells."""
        if self.path is not None:
            return self.path if self.is_there and self.path.is_file() else None
        kept = storage.stat(self.sha256)
        return storage.path(self.sha256) if kept and kept.size == self.size else None


def result_of_other(session: Session, job_id: str) -> Result | None:
    """The result of the job that this one takes it from, if that one is still known and came to one."""
    return _result(session, _OF_OTHER, {"id": job_id})


def result_of(session: Session, owner: str, job_id: str) -> Result | None:
    """The result of the owner's job, if that succeeded and brought one."""
    return _result(session, _OF_OWN, {"id": job_id, "owner": owner})


def _result(session: Session, query: Select[str, str, int | None, str], told: dict[str, Any]) -> Result | None:
    found = session.connection().execute(query, told).one_or_none()
    if found is None:
        return None
    path = Path(found.out, found.result_path) if found.out else None
    return Result(path, found.result_size, found.result_sha256)


def _twins(session: Session, job: Job) -> list[Job]:
    return list(session.scalars(_TWINS, {"job_id": job.id}))


def _end_wait_of_twins(session: Session, job: Job, now: datetime) -> None:
    twins = _twins(session, job)
    if twins and job.status is Status.SUCCEEDED and brings_video(job):
        for twin in twins:
            _take(session, twin, job, now)
    elif twins:
        _promote(session, twins, job, now)


def _take(session: Session, twin: Job, job: Job, now: datetime) -> None:
    words = takes_from(job.row, job.batch_id)
    values = {**taken_along(job), "stage": Stage.DOWNLOAD, "renders": 0, "due_at": now}
    move(session, Position.of(twin), Status.QUEUED, now, words, what="taken", **values)
    release_followers(session, session.get_one(Job, twin.id, populate_existing=True), now)


def _promote(session: Session, twins: list[Job], job: Job, now: datetime) -> None:
    """The first does the work itself; the others wait for it instead."""
    first, *others = twins
    words = f"row {job.row} of {job.batch_id}, which it waited for, {job.status}; it goes on by itself"
    values: dict[str, Any] = {"same_as": None, "due_at": now}
    before = session.get(Job, first.after_id) if first.after_id else None
    if before and is_done_with_session(before) and not first.remote_session_id:
        values |= session_of(before)
    move(session, Position.of(first), Status.QUEUED, now, words, what="goes on", **values)
    moved = update(Job).where(Job.id.in_([twin.id for twin in others])).values(same_as=first.id)
    session.execute(moved.execution_options(synchronize_session=False))
