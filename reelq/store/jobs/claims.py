"""Claims a job for one stage: in one statement where nothing can hold it back, else after checking what does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import Select, Table, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from reelq.job import FINAL, ROUTES, Cause, ClaimedJob, Stage, Status, start_message, starting_stage
from reelq.store.billing.accounts import AccountView
from reelq.store.db.engine import SKEW
from reelq.store.db.models import Account, Batch, BatchState, Job
from reelq.store.jobs.dependents import RELOAD, cancel_follower, end, is_done_with_session, session_columns
from reelq.store.jobs.transitions import (
    Position,
    change,
    cleared_columns,
    event_parameters,
    insert_events,
    later,
    move,
    postpone,
)

_StoppedStages = Mapping[Cause, frozenset[Stage]]
"""The stages that an account may not run while it is parked, by the cause it is parked for."""
_BATCH_COLUMNS: Final = ("source", "out")
"""The columns of `ClaimedJob` that are the batch's: its last ones."""
_JOB_COLUMNS: Final = ClaimedJob._fields[: -len(_BATCH_COLUMNS)]
_JOB_WITH_BATCH_AND_ACCOUNT: Final = (
    select(Job, Batch, Account)
    .join(Batch, Batch.id == Job.batch_id)
    .join(Account, Account.id == Job.account_id)
    .where(Job.id == bindparam("job_id"))
)


class NotClaimed(StrEnum):
    """Why a message leads to no work."""

    GONE = "no such job"
    STALE = "the job has moved on or was restarted"
    PASSED = "the stage is already done"
    NOT_DUE = "not due yet"
    HELD = "held back"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that this worker has claimed for one stage."""

    job: ClaimedJob
    account: AccountView
    at: Position


@dataclass(frozen=True, slots=True)
class Lease:
    """The worker that claims a job, and for how long the claim lasts unless it is renewed."""

    worker: str
    seconds: float


def claim_free(session: Session, now: datetime, job_id: str, run: int, stage: Stage, lease: Lease) -> Claimed | None:
    """Claim a job that nothing can hold back, in one statement; None where `claim` has to look closer.

    PostgreSQL only: on SQLite it is always None.
    """
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        return None
    event = (now, str(Status.RUNNING), run, stage, Status.QUEUED, Status.RUNNING, start_message(stage))
    parameters = event_parameters(*event)
    parameters |= {"claimed_id": job_id, "expected_run": run, "expected_stage": stage, "now": now}
    # Allow for skew: the clock of the process that published the message may be ahead.
    parameters |= {"due": now + SKEW, "lease_end": later(now, lease.seconds), "claimant": lease.worker}
    found = connection.execute(_claim_statement(), parameters).one_or_none()
    if found is None:
        return None
    job = ClaimedJob._make(found[: len(ClaimedJob._fields)])
    account = AccountView._make(found[len(ClaimedJob._fields) :])
    return Claimed(job, account, Position(job_id, job.batch_id, run, stage, Status.RUNNING))


@cache
def _claim_statement() -> Select[*tuple[Any, ...]]:
    """Claims a free job, writes the event, and returns the columns of the views, all in one round trip."""
    job, batch, account = (cast("Table", each.__table__).c for each in (Job, Batch, Account))
    now = bindparam("now", type_=job.due_at.type)
    free = (
        job.cancel_wished.is_(False),
        job.after_id.is_(None),
        batch.state == BatchState.ACTIVE,
        batch.released.is_(None),
        account.parked.is_(None),
        or_(account.blocked_until.is_(None), account.blocked_until <= now),
    )
    claimed = {
        "status": Status.RUNNING,
        "lease_until": bindparam("lease_end"),
        "worker": bindparam("claimant"),
        "started_at": func.coalesce(job.started_at, now),
        "publishes": 0,
    }
    columns = (
        *(job[name] for name in _JOB_COLUMNS),
        *(batch[name] for name in _BATCH_COLUMNS),
        *(account[name].label(f"payer_{name}") for name in AccountView._fields),
    )
    claimed_row = (
        update(job.id.table)
        .where(job.id == bindparam("claimed_id"))
        .where(job.run == bindparam("expected_run"), job.stage == bindparam("expected_stage"))
        .where(job.status == Status.QUEUED, job.due_at <= bindparam("due"))
        .where(batch.id == job.batch_id, account.id == job.account_id, *free)
        .values(cleared_columns(Status.RUNNING) | claimed)
        .returning(*columns)
        .cte("claimed")
    )
    return select(claimed_row).add_cte(insert_events(claimed_row).cte("event"))


def claim(
    session: Session, now: datetime, job_id: str, run: int, stage: Stage, lease: Lease, parked: _StoppedStages
) -> Claimed | NotClaimed:
    """Claim a job for a stage, or return why it can't be claimed.

    A job that something holds back is moved accordingly: to `waiting`, to `cancelled`, or to a later time.
    """
    found = session.execute(_JOB_WITH_BATCH_AND_ACCOUNT, {"job_id": job_id}).one_or_none()
    if found is None:
        return NotClaimed.GONE
    job, batch, account = found
    if job.run != run or job.stage is not stage or job.status is not Status.QUEUED:
        return NotClaimed.PASSED if _is_past(job, run, stage) else NotClaimed.STALE
    if _inherit_session(session, job):
        reloaded = session.execute(_JOB_WITH_BATCH_AND_ACCOUNT, {"job_id": job_id}, execution_options=RELOAD)
        job, batch, account = reloaded.one()
    at = Position.of(job)
    if missed := _hold_back(session, at, now, job, batch, account, parked):
        return missed
    claimed: dict[str, Any] = {"lease_until": later(now, lease.seconds), "worker": lease.worker, "publishes": 0}
    at = move(session, at, Status.RUNNING, now, start_message(stage), started_at=job.started_at or now, **claimed)
    columns = (getattr(job, name) for name in _JOB_COLUMNS)
    view = ClaimedJob._make((*columns, batch.source, batch.out))
    return Claimed(view, AccountView._make(getattr(account, name) for name in AccountView._fields), at)


def _is_past(job: Job, run: int, stage: Stage) -> bool:
    """Whether the job has finished this stage in this run, so that the rest of the Celery chain may continue."""
    if job.run != run or job.status in FINAL - {Status.SUCCEEDED}:
        return False
    stages = ROUTES[job.route]
    return stage in stages and stages.index(stage) < stages.index(job.stage)


def _inherit_session(session: Session, job: Job) -> bool:
    """Give the job the remote session of the row before it, if that row is done with it; returns whether it did.

    This happens where the session became free before the job began to wait for it. In a session of its own, the job
    would have nothing to build on.
    """
    if not job.after_id or job.remote_session_id:
        return False
    before = _lock_for_share(session, job.after_id)
    if before is None or not before.remote_session_id or not is_done_with_session(before):
        return False
    return change(session, Position.of(job), **session_columns(before))


def _hold_back(
    session: Session, at: Position, now: datetime, job: Job, batch: Batch, account: Account, parked: _StoppedStages
) -> NotClaimed | None:
    """Move the job on if something holds it back: a cancellation, a pause, its session, or its account."""
    if job.cancel_wished or batch.state is BatchState.CANCELLED:
        end(session, at, Status.CANCELLED, now, "cancelled")
        return NotClaimed.HELD
    if batch.state is BatchState.PAUSED or (batch.released is not None and job.row > batch.released):
        move(session, at, Status.WAITING, now, "paused: `reelq resume` continues it", cause=Cause.PAUSED)
        return NotClaimed.HELD
    at_start = job.stage is starting_stage(job.route)
    before = _lock_for_share(session, job.after_id) if job.after_id and at_start else None
    if before and not is_done_with_session(before):
        if before.status in FINAL:
            cancel_follower(session, job, before, now)
        else:
            move(session, at, Status.WAITING, now, "waiting for the previous row of its session", cause=Cause.SESSION)
        return NotClaimed.HELD
    if account.parked and job.stage in parked[account.parked] and account.probe_job_id != job.id:
        move(session, at, Status.WAITING, now, account.parked_why, cause=account.parked)
        return NotClaimed.HELD
    if account.blocked_until and account.blocked_until > now:
        postpone(session, at, max(job.due_at, account.blocked_until))
        return NotClaimed.HELD
    return NotClaimed.NOT_DUE if job.due_at > now + SKEW else None  # the publisher's clock may be ahead of ours


def _lock_for_share(session: Session, job_id: str) -> Job | None:
    """Reload a job and lock it against changes until this transaction ends.

    The job can then only end after the commit, when it sees the jobs that wait for it by then.
    """
    query = select(Job).where(Job.id == job_id).with_for_update(read=True)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()
