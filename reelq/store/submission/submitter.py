"""Submits an order: rows that are known continue or keep their results, all others become new jobs."""

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
from reelq.store.jobs.completion import reschedule
from reelq.store.jobs.transitions import Position, StaleMove, move
from reelq.store.submission.new_jobs import NewJobs
from reelq.store.submission.planner import Decision, Step, decide, left_behind, open_rows, plan_of
from reelq.store.submission.request import LeftBehind, Plan, RowAction, Submission, keys_of

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
        if temporary and not (not new.exists() and _rename_one(temporary, new)):
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
    """The batch of a submitted order, and what happened to each row."""

    batch_id: str
    plan: Plan
    left_behind: tuple[LeftBehind, ...]
    """The open rows of older batches that the manifest no longer has; `reelq cancel` cancels them."""


def plan(store: Store, order: Submission, *, service: str) -> Plan:
    """What `submit` would do with this order now. It only reads."""
    keys = keys_of(order, service)
    with store.read() as session:
        decision = decide(session, order, keys)
        return plan_of(decision, left_behind(session, decision))


def submit(store: Store, order: Submission, *, service: str, account_id: str, window: int = PIECE_SIZE) -> Submitted:
    """Queue an order's rows. Their files are hashed first, which keeps the transaction short.

    Of two clients that submit the same rows at the same time, the second finds the rows of the first.
    """
    keys = keys_of(order, service)
    for tries_left in reversed(range(_TRIES)):
        try:
            with store.write() as session:
                submitted, changes = _submit(session, order, keys, account_id, store.now(session), window)
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
    session: Session, order: Submission, keys: list[str], account_id: str, now: datetime, window: int
) -> tuple[Submitted, list[Change]]:
    _lock_owner(session, order.owner)
    if order.batch_id and session.get(Batch, order.batch_id) is not None:  # an earlier try has committed
        return Submitted(order.batch_id, Plan((), 0, 0, order.batch_id, ()), ()), []
    decision = decide(session, order, keys)
    batch_id = decision.batch_id or _new_batch(session, order, now)
    if decision.batch_id:
        _reactivate(session, order, batch_id)
    changes = _adopt_existing(session, order, decision, batch_id, now)
    before: dict[str, str] = {}
    for step in decision.steps:
        _continue_job(session, order, step, now, before.get(step.row.session))
        if step.own and step.row.session:
            before[step.row.session] = step.own.id
    NewJobs(session, batch_id, order, account_id, now).come(decision.steps, window)
    left_behind = tuple(open_rows(session, decision.older))
    return Submitted(batch_id, plan_of(decision, left_behind), left_behind), changes


def _lock_owner(session: Session, owner: str) -> None:
    """Serialize the submissions of an owner, also on PostgreSQL, which allows concurrent writers."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(owner, 0))))


def _options(order: Submission) -> dict[str, Any]:
    return {
        "columns": list(order.columns),
        "options": order.options,
        "state": BatchState.ACTIVE,
        "limit_credits": order.limit_credits,
        "released": order.first,
    }


def _new_batch(session: Session, order: Submission, now: datetime) -> str:
    values = {
        "id": order.batch_id or new_id("bat"),
        "owner": order.owner,
        "name": order.name,
        "source": _stored_path(order.source),
        "out": _stored_path(order.out),
        "created_at": now,
    }
    session.execute(insert(Batch).values(**values, **_options(order)))
    return str(values["id"])


def _stored_path(folder: Path) -> str:
    """A folder on this machine; empty if files and results are in storage."""
    return str(folder) if folder.is_absolute() else ""


def _reactivate(session: Session, order: Submission, batch_id: str) -> None:
    session.execute(update(Batch).where(Batch.id == batch_id).values(**_options(order)))


def _adopt_existing(
    session: Session, order: Submission, decision: Decision, batch_id: str, now: datetime
) -> list[Change]:
    """Move the rows' existing jobs into the batch and update them from the manifest. Returns the files to rename."""
    own = [step for step in decision.steps if step.own]
    changed = [step for step in own if step.own and (step.own.batch_id != batch_id or _has_other_inputs(step))]
    for piece in chunks(changed):
        session.execute(update(Job), [_values_of_row(step, batch_id) for step in piece])
        old_events = (JobEvent.job_id.in_([step.own.id for step in piece if step.own]), JobEvent.batch_id != batch_id)
        session.execute(
            update(JobEvent).where(*old_events).values(batch_id=batch_id).execution_options(synchronize_session=False)
        )
        old_sends = (Send.job_id.in_([step.own.id for step in piece if step.own]), Send.batch_id != batch_id)
        session.execute(
            update(Send).where(*old_sends).values(batch_id=batch_id).execution_options(synchronize_session=False)
        )
    cancelled_while_running = (Job.batch_id == batch_id, Job.status == Status.RUNNING, Job.cancel_wished)
    session.execute(update(Job).where(*cancelled_while_running).values(cancel_wished=False))
    return _apply_renames(session, order, own, now)


def _has_other_inputs(step: Step) -> bool:
    job = step.own
    return job is not None and (step.row.file, list(step.row.references)) != (job.file, job.references)


def _values_of_row(step: Step, batch_id: str) -> dict[str, Any]:
    row = step.row
    return {
        "id": step.own.id if step.own else "",
        "batch_id": batch_id,
        "row": row.number,
        "name": row.id,
        "file": row.file,
        "references": list(row.references),
        "priority": row.priority,
        "output": row.output,
        "extra": dict(row.extra),
    }


def _apply_renames(session: Session, order: Submission, own: Iterable[Step], now: datetime) -> list[Change]:
    changes = []
    for step in own:
        job = step.own
        if job is None or job.output == step.row.output:
            continue
        if step.fate is RowAction.DONE and job.result_path:
            changes.append((Path(order.out, job.result_path), Path(order.out, step.row.output)))
            session.execute(update(Job).where(Job.id == job.id).values(result_path=step.row.output))
        elif job.status is Status.RUNNING and job.stage is Stage.DOWNLOAD:
            position = Position(job.id, job.batch_id, session.get_one(Job, job.id).run, job.stage, job.status)
            reschedule(session, position, now, 0, f"its result is renamed to {step.row.output}", run=position.run + 1)
    return changes


def _continue_job(session: Session, order: Submission, step: Step, now: datetime, before: str | None) -> None:
    """Restart, retry or resume the row's job if its fate asks for it. `before` is the previous job of its session."""
    own_job = step.own
    if own_job is None or not _needs_action(order, step):
        return
    job = session.get_one(Job, own_job.id, populate_existing=True)
    if step.fate is RowAction.AGAIN:
        # It follows that row, even if it followed a refinement of it before: that worked in the old session.
        message = "its session has to be rebuilt; restarted"
        retries.restart(session, job, now, message, after_id=before)
    elif step.fate is RowAction.FETCHED and job.status is Status.SUCCEEDED:
        retries.download_again(session, job, now, "its result is missing; downloading it again")
    elif job.status is Status.WAITING and job.cause is Cause.PAUSED:
        move(session, Position.of(job), Status.QUEUED, now, "submitted again", due_at=max(job.due_at, now))
    else:
        retries.retry(session, job, now)


def _needs_action(order: Submission, step: Step) -> bool:
    if step.fate is not RowAction.GOES_ON:
        return step.fate in {RowAction.AGAIN, RowAction.FETCHED, RowAction.RETRIED}
    released = order.first is None or step.row.number <= order.first
    paused = step.own is not None and step.own.cause is Cause.PAUSED
    return (paused and released) or (step.own is not None and step.own.status is Status.CANCELLED)
