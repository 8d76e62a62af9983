"""Inserts new jobs: to start at once, to follow another row of their session, or to reuse another manifest's result."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from reelq.job import FINAL, Cause, Stage, Status, starting_stage
from reelq.manifest.columns import INTEGERS
from reelq.manifest.columns import Row as ManifestRow
from reelq.store.db.models import Job
from reelq.store.db.statements import chunks
from reelq.store.db.types import new_id
from reelq.store.jobs import dependents
from reelq.store.jobs.transitions import Position, StaleMove, write_events
from reelq.store.submission.planner import ExistingJob, Step
from reelq.store.submission.refinement import last_in_session
from reelq.store.submission.request import REFINES, RowAction, Submission, inputs_of

_Values = dict[str, Any]
_OriginalRow = Row[Any]
_ORIGINAL_COLUMNS: Final = tuple(
    getattr(Job, name) for name in ("id", "batch_id", "row", "status", *dependents.RESULT_COLUMNS)
)
_WAITS_FOR_SESSION: Final = {"status": Status.WAITING, "cause": Cause.SESSION}


def manifest_columns(row: ManifestRow) -> _Values:
    """The columns that change with the manifest, without making the job another one."""
    return {
        "row": row.number,
        "name": row.id,
        "file": row.file,
        "references": list(row.references),
        "output": row.output,
        "extra": dict(row.extra),
        **{column: getattr(row, column) for column in INTEGERS},
    }


@dataclass(slots=True)
class NewJobs:
    """Inserts the new rows of one submission into a batch, in the order of the manifest."""

    session: Session
    batch_id: str
    submission: Submission
    account_id: str
    now: datetime
    _last_of_session: dict[str, str | ExistingJob] = field(default_factory=dict)
    """The last row so far of each session: a job that existed before, or the id of a new one."""
    _behind_failed: list[tuple[str, Job]] = field(default_factory=list)
    """New rows that follow a failed row of their session: they are cancelled once all rows are inserted."""

    def insert_all(self, steps: Sequence[Step], window: int) -> None:
        """Insert a job for each row that has none yet, at most `window` in one statement."""
        for piece in chunks(steps, window):
            originals = self._lock_originals(piece)
            jobs = [values for step in piece if (values := self._new_job(step, originals))]
            if jobs:
                self.session.execute(insert(Job), jobs)
            events = (
                _reuse_event(values, originals[values["same_as"]]) for values in jobs if values["same_as"] in originals
            )
            write_events(self.session, events)
        for job_id, before in self._behind_failed:
            dependents.cancel_follower(self.session, self.session.get_one(Job, job_id), before, self.now)

    def _lock_originals(self, steps: Sequence[Step]) -> dict[str, _OriginalRow]:
        """Lock the jobs of other manifests whose results these rows reuse: none may change before the commit."""
        wanted = {step.original.id: step.action for step in steps if step.original}
        if not wanted:
            return {}
        query = select(*_ORIGINAL_COLUMNS).where(Job.id.in_(wanted)).order_by(Job.id).with_for_update(read=True)
        originals = {job.id: job for job in self.session.execute(query)}
        for job_id, action in wanted.items():
            job = originals.get(job_id)
            is_taken = action is RowAction.TAKEN
            if job is None or not (job.status is Status.SUCCEEDED if is_taken else job.status not in FINAL):
                raise StaleMove(f"{job_id} has ended in the meantime")
        return originals

    def _new_job(self, step: Step, originals: dict[str, _OriginalRow]) -> _Values | None:
        """The columns of the row's job: always the same set, so that one INSERT can take many jobs."""
        row, job_id = step.row, new_id("job")
        before = self._last_of_session.get(row.session) if row.session else None
        if row.session:
            self._last_of_session[row.session] = step.own or job_id
        if step.own:
            return None
        values = {
            **manifest_columns(row),
            **dict.fromkeys(dependents.RESULT_COLUMNS, ""),
            "id": job_id,
            "batch_id": self.batch_id,
            "account_id": self.account_id,
            "owner": self.submission.owner,
            "key": step.key,
            "inputs": inputs_of(self.submission, row),
            "instruction": row.instruction,
            "language": row.language,
            "skill": row.skill,
            "session": row.session,
            "route": row.route,
            "same_as": job_id if step.exempt_from_key else None,
            "after_id": before.id if isinstance(before, ExistingJob) else before,
            "stage": starting_stage(row.route),
            "status": Status.QUEUED,
            "cause": None,
            "changes": [],
            "due_at": self.now,
            "created_at": self.now,
        }
        if step.original:
            return values | _reuse_values(originals[step.original.id])
        if isinstance(before, ExistingJob):
            return values | self._follow_existing(self.session.get_one(Job, before.id), step, job_id)
        return values | _WAITS_FOR_SESSION if before else values

    def _follow_existing(self, before: Job, step: Step, job_id: str) -> _Values:
        """The columns of a job that follows an existing row of its session."""
        self._cancel_older_followers(before)
        if step.action is RowAction.FAILED:
            self._behind_failed.append((job_id, before))
            return _WAITS_FOR_SESSION
        last = last_in_session(self.session, before)
        self.session.refresh(last, with_for_update=True)  # it may end at any moment, and then starts its followers
        done = dependents.is_done_with_session(last)
        if done or last.status in FINAL:
            # Follow `before` itself if the refinement has just failed: behind a failed row the job would never start.
            return {"after_id": (last if done else before).id, **dependents.session_columns(before)}
        return {"after_id": last.id, **_WAITS_FOR_SESSION}

    def _cancel_older_followers(self, before: Job) -> None:
        """Cancel rows of an older batch that waited behind this one: the manifest has other rows in their place now.

        Rows that were cancelled because of it lose that error code, so that a retry of it does not start them.
        """
        message = f"the manifest now has other rows after row {before.row} in this session"
        for follower in dependents.followers(self.session, before.id):
            if follower.batch_id == self.batch_id or follower.key.startswith(REFINES):
                continue
            if follower.cause is Cause.SESSION:
                dependents.end(self.session, Position.of(follower), Status.CANCELLED, self.now, message, error=message)
            elif follower.error_code == "predecessor":
                follower.error_code, follower.error = "", message


def _reuse_values(original: _OriginalRow) -> _Values:
    if original.status is Status.SUCCEEDED:
        return {**dependents.result_columns(original), "stage": Stage.DOWNLOAD, "same_as": original.id}
    return {"same_as": original.id, "status": Status.WAITING, "cause": Cause.TWIN}


def _reuse_event(values: _Values, original: _OriginalRow) -> tuple[Any, ...]:
    what = "joined" if values["cause"] is Cause.TWIN else "taken"
    job = (values["id"], values["batch_id"], values["created_at"])
    return (*job, what, 1, values["stage"], "", values["status"], dependents.twin_message(original))
