"""Submits a manifest: rows that are known continue or keep their results, all others become new jobs."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from reelq.job import Cause, Stage, Status
from reelq.store.db.engine import Store
from reelq.store.db.models import Batch, BatchState, Job, JobEvent, Send
from reelq.store.db.statements import PIECE_SIZE, chunks
from reelq.store.db.types import new_id
from reelq.store.jobs import retries
from reelq.store.jobs.leases import reschedule
from reelq.store.jobs.transitions import Position, StaleMove, move
from reelq.store.submission.new_jobs import NewJobs, manifest_columns
from reelq.store.submission.planner import Decision, ExistingJob, Step, decide, left_behind, open_rows, plan_of
from reelq.store.submission.request import Plan, RowAction, Submission, keys_of

log = logging.getLogger(__name__)
Change = tuple[Path, Path]
"""The current path of a file, and its new one."""


def rename(changes: Sequence[Change]) -> None:
    """Rename files in two steps, because one's new name can be another's old name. Other files are never overwritten.

    A file that can't be renamed keeps its old name. Its row then counts as without result, and downloads it again for
    free.
    """
    moved_aside = [(_rename_one(old, new.with_name(f"{new.name}.moved")), old, new) for old, new in changes]
    for temporary, old, new in moved_aside:
        if temporary and (new.exists() or not _rename_one(temporary, new)):
            _rename_one(temporary, old)


def _rename_one(old: Path, new: Path) -> Path | None:
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        return old.rename(new)
    except OSError as error:
        log.warning("%s can't be renamed to %s: %s", old, new.name, error.strerror)
        return None


_TRIES: Final = 5
_CONTENDED: Final = ("23505", "40001", "40P01")
"""Unique violation, serialization failure, deadlock, as PostgreSQL numbers them: another transaction was faster."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The batch of a submission, and what happened to each row."""

    batch_id: str
    plan: Plan


def plan(store: Store, submission: Submission, *, service: str) -> Plan:
    """What `submit` would do now. It only reads."""
    keys = keys_of(submission, service)
    with store.read() as session:
        decision = decide(session, submission, keys)
        return plan_of(decision, left_behind(session, decision))


def submit(
    store: Store, submission: Submission, *, service: str, account_id: str, window: int = PIECE_SIZE
) -> Submitted:
    """Queue the rows. Their files are hashed first, which keeps the transaction short.

    Of two clients that submit the same rows at the same time, the second finds the rows of the first.
    """
    keys = keys_of(submission, service)
    for tries_left in reversed(range(_TRIES)):
        try:
            with store.write() as session:
                submitted, changes = _submit(session, submission, keys, account_id, store.now(session), window)
        except (DBAPIError, StaleMove) as error:
            if not tries_left or not _was_contended(error):
                raise
        else:
            rename(changes)
            return submitted
    raise AssertionError("the last try returns or raises")


def _was_contended(error: DBAPIError | StaleMove) -> bool:
    if isinstance(error, StaleMove):
        return True
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", "")
    return code in _CONTENDED or code == "SQLITE_CONSTRAINT_UNIQUE"


def _submit(
    session: Session, submission: Submission, keys: list[str], account_id: str, now: datetime, window: int
) -> tuple[Submitted, list[Change]]:
    if session.get_bind().dialect.name == "postgresql":
        # Serialize the submissions of an owner: PostgreSQL allows concurrent writers.
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(submission.owner, 0))))
    if submission.batch_id and session.get(Batch, submission.batch_id) is not None:  # an earlier try has committed
        return Submitted(submission.batch_id, Plan((), 0, 0, submission.batch_id, ())), []
    decision = decide(session, submission, keys)
    batch_id = decision.batch_id or _new_batch(session, submission, now)
    if decision.batch_id:
        session.execute(update(Batch).where(Batch.id == batch_id).values(**_options(submission)))
    changes = _adopt_existing(session, submission, decision, batch_id, now)
    before: dict[str, str] = {}
    for step in decision.steps:
        if step.own:
            _continue_job(session, submission, step, step.own, now, before.get(step.row.session))
            if step.row.session:
                before[step.row.session] = step.own.id
    NewJobs(session, batch_id, submission, account_id, now).insert_all(decision.steps, window)
    return Submitted(batch_id, plan_of(decision, open_rows(session, decision.older))), changes


def _options(submission: Submission) -> dict[str, Any]:
    return {
        "columns": list(submission.columns),
        "options": submission.options,
        "state": BatchState.ACTIVE,
        "limit_credits": submission.limit_credits,
        "released": submission.first,
    }


def _new_batch(session: Session, submission: Submission, now: datetime) -> str:
    batch_id = submission.batch_id or new_id("bat")
    values = {
        "id": batch_id,
        "owner": submission.owner,
        "name": submission.name,
        "source": _stored_path(submission.source),
        "out": _stored_path(submission.out),
        "created_at": now,
    }
    session.execute(insert(Batch).values(**values, **_options(submission)))
    return batch_id


def _stored_path(folder: Path) -> str:
    """A folder on this machine; empty if files and results are in storage."""
    return str(folder) if folder.is_absolute() else ""


def _adopt_existing(
    session: Session, submission: Submission, decision: Decision, batch_id: str, now: datetime
) -> list[Change]:
    """Move the rows' existing jobs into the batch and update them from the manifest. Returns the files to rename."""
    own = [(step, step.own) for step in decision.steps if step.own]
    changed = [
        (step, job)
        for step, job in own
        if (batch_id, step.row.file, list(step.row.references)) != (job.batch_id, job.file, job.references)
    ]
    for piece in chunks(changed):
        values = [{"id": job.id, "batch_id": batch_id, **manifest_columns(step.row)} for step, job in piece]
        session.execute(update(Job), values)
        for table in (JobEvent, Send):
            of_older_batch = (table.job_id.in_([job.id for _, job in piece]), table.batch_id != batch_id)
            moved = update(table).where(*of_older_batch).values(batch_id=batch_id)
            session.execute(moved.execution_options(synchronize_session=False))
    cancelled_while_running = (Job.batch_id == batch_id, Job.status == Status.RUNNING, Job.cancel_wished)
    session.execute(update(Job).where(*cancelled_while_running).values(cancel_wished=False))
    return _apply_renames(session, submission, own, now)


def _apply_renames(
    session: Session, submission: Submission, own: Iterable[tuple[Step, ExistingJob]], now: datetime
) -> list[Change]:
    changes = []
    for step, job in own:
        output = step.row.output
        if job.output == output:
            continue
        if step.action is RowAction.DONE and job.result_path:
            changes.append((Path(submission.out, job.result_path), Path(submission.out, output)))
            session.execute(update(Job).where(Job.id == job.id).values(result_path=output))
        elif job.status is Status.RUNNING and job.stage is Stage.DOWNLOAD:
            position = Position(job.id, job.batch_id, session.get_one(Job, job.id).run, job.stage, job.status)
            reschedule(session, position, now, 0, f"its result is renamed to {output}", run=position.run + 1)
    return changes


def _continue_job(
    session: Session, submission: Submission, step: Step, own: ExistingJob, now: datetime, before: str | None
) -> None:
    """Restart, retry or resume the row's job if its action asks for it. `before` is the previous job of its session."""
    if not _needs_action(submission, step, own):
        return
    job = session.get_one(Job, own.id, populate_existing=True)
    if step.action is RowAction.AGAIN:
        # It follows that row, even if it followed a refinement of it before: that worked in the old session.
        retries.restart(session, job, now, "its session has to be rebuilt; restarted", after_id=before)
    elif step.action is RowAction.FETCHED and job.status is Status.SUCCEEDED:
        retries.download_again(session, job, now, "its result is missing; downloading it again")
    elif job.status is Status.WAITING and job.cause is Cause.PAUSED:
        move(session, Position.of(job), Status.QUEUED, now, "submitted again", due_at=max(job.due_at, now))
    else:
        retries.retry(session, job, now)


def _needs_action(submission: Submission, step: Step, own: ExistingJob) -> bool:
    if step.action is not RowAction.GOES_ON:
        return step.action in {RowAction.AGAIN, RowAction.FETCHED, RowAction.RETRIED}
    released = submission.first is None or step.row.number <= submission.first
    return (own.cause is Cause.PAUSED and released) or own.status is Status.CANCELLED
