"""Commands for a batch or a row: retry, cancel, pause, resume, refine. Large batches are changed in pieces."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from reelq.errors import CannotRefine
from reelq.job import FINAL, USER_CAUSES, Cause, Route, Status
from reelq.storage import Storage
from reelq.store.billing import throttling
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Batch, BatchState, Job
from reelq.store.jobs import retries
from reelq.store.jobs.dependents import cancel_all, end
from reelq.store.jobs.transitions import Position, StaleMove, move
from reelq.store.submission import refinement
from reelq.store.submission.request import REFINES

_AT_ONCE: Final = 250
"""The number of rows changed in one transaction, so that workers can write in between."""
_AT_ONCE_IN_BULK: Final = 2500
"""The same for rows that are changed together in one statement."""
_PAUSE_SECONDS: Final = 0.1
"""The pause between transactions on SQLite: its waiting writers poll, and would always find the next one begun."""


@dataclass(frozen=True, slots=True)
class ActionCounts:
    """The number of rows that a command changed, that will follow soon, and that it did not apply to."""

    done: int
    not_so: int = 0
    soon: int = 0


def retry_batch(store: Store, batch_id: str, *, at_once: int = _AT_ONCE) -> ActionCounts:
    """Retry all failed rows of a batch; rows that were cancelled because of them follow."""
    done = 0
    for ids in _pieces(store, batch_id, Job.status == Status.FAILED, most=at_once):
        with store.write() as session:
            _reactivate(session, batch_id)
            done += _apply_to_each(session, ids, store.now(session), retries.retry)
    with store.read() as session:
        return ActionCounts(done, not_so=job_counts(session, batch_id).total() - done)


def retry_row(store: Store, job_id: str, storage: Storage | None = None) -> bool:
    """Retry a failed or cancelled row; returns whether there was anything to do.

    With `storage`, a row that succeeded downloads its result again if it is missing there.
    """
    with store.write() as session:
        job, now = session.get_one(Job, job_id), store.now(session)
        if retries.needs_lost_session(session, job):
            raise CannotRefine(f"The session that row {job.row} builds on is lost")
        if storage and retries.result_is_missing(session, job, storage):
            retries.download_again(session, job, now, "its result is missing; downloading it again")
            done = True
        else:
            done = retries.retry(session, job, now)
        if done:
            _reactivate(session, job.batch_id)
        return done


def cancel_batch(store: Store, batch_id: str, *, at_once: int = _AT_ONCE_IN_BULK) -> ActionCounts:
    """Cancel a batch. Rows that are running end at their next event.

    If this is interrupted, it can be repeated: the batch is marked as cancelled first, so no more rows start.
    """
    with store.write() as session:
        before = job_counts(session, batch_id)
        # From now on a row that is claimed ends, and running rows are asked to end.
        session.execute(update(Batch).where(Batch.id == batch_id).values(state=BatchState.CANCELLED))
        running_jobs = (Job.batch_id == batch_id, Job.status == Status.RUNNING)
        session.execute(update(Job).where(*running_jobs).values(cancel_wished=True))
    done = 0
    for ids in _pieces(store, batch_id, Job.status.in_((Status.QUEUED, Status.WAITING)), most=at_once):
        with store.write() as session:
            done += _cancel_some(session, ids, store.now(session))
    running = before[Status.RUNNING]
    return ActionCounts(done, soon=running, not_so=before.total() - done - running)


def _cancel_some(session: Transaction, ids: Sequence[str], now: datetime) -> int:
    """Cancel rows that depend on no other row in one statement, then the others one by one, each with a message."""
    dependents = select(Job.id).where(Job.id.in_(ids), or_(Job.after_id.is_not(None), Job.same_as.is_not(None)))
    dependent = set(session.scalars(dependents))
    independent = [job_id for job_id in ids if job_id not in dependent]
    done = sum(cancel_all(session, independent, status, now) for status in (Status.QUEUED, Status.WAITING))
    return done + _apply_to_each(session, [job_id for job_id in ids if job_id in dependent], now, _cancel)


def cancel_row(store: Store, job_id: str) -> ActionCounts:
    """Cancel a row: at once, or at its next event if it is running."""
    with store.write() as session:
        job = session.get_one(Job, job_id)
        running = job.status is Status.RUNNING
        cancelled = retries.cancel(session, job, store.now(session))
    return ActionCounts(int(cancelled and not running), soon=int(cancelled and running), not_so=int(not cancelled))


def pause_batch(store: Store, batch_id: str) -> tuple[BatchState, ActionCounts]:
    """Pause a batch: no stage starts any more. Returns its state, and how many rows are held up and still running."""
    with store.write() as session:
        active = (Batch.id == batch_id, Batch.state == BatchState.ACTIVE)
        session.execute(update(Batch).where(*active).values(state=BatchState.PAUSED))
        state = session.execute(select(Batch.state).where(Batch.id == batch_id)).scalar_one()
        counts = job_counts(session, batch_id)
    return state, ActionCounts(counts[Status.QUEUED] + counts[Status.WAITING], soon=counts[Status.RUNNING])


def resume_batch(store: Store, batch_id: str, *, at_once: int = _AT_ONCE) -> ActionCounts:
    """Resume everything in a batch that waits for the user, and lift its limits."""
    with store.write() as session:
        batch = session.get_one(Batch, batch_id)
        done = _held_up(session, batch)
        _lift_limits(session, batch_id)
    for ids in _pieces(store, batch_id, Job.status == Status.WAITING, Job.cause.in_(USER_CAUSES), most=at_once):
        with store.write() as session:
            done += _apply_to_each(session, ids, store.now(session), _resume)
    return ActionCounts(done)


def _held_up(session: Transaction, batch: Batch) -> int:
    """The number of queued rows that a pause or `--first` keeps from starting."""
    if batch.state is BatchState.CANCELLED:
        return 0
    query = select(func.count()).where(Job.batch_id == batch.id, Job.status == Status.QUEUED)
    if batch.state is BatchState.ACTIVE:
        query = query.where(Job.row > (batch.released if batch.released is not None else Job.row))
    return int(session.execute(query).scalar_one())


def resume_row(store: Store, job_id: str) -> bool:
    """Resume a row that waits for the user; returns whether it did."""
    with store.write() as session:
        job = session.get_one(Job, job_id)
        if job.status is Status.WAITING and job.cause in USER_CAUSES - {Cause.PAUSED}:
            throttling.unpark(session, job.account_id)  # if nothing has changed, this row parks it again
        return _resume(session, job, store.now(session))


def would_send(store: Store, job_id: str, instruction: str) -> bool:
    """Whether a refinement would send an instruction, which can cost credits. May raise CannotRefine."""
    with store.read() as session:
        job = session.get_one(Job, job_id)
        route = refinement.route_of(job, instruction)
        return route is Route.EDIT and _same_refinement(session, job, instruction) is None


def refine_row(store: Store, job_id: str, instruction: str, new: str = "") -> tuple[str, bool]:
    """Refine a row. Returns the new row's batch and True, or the batch of an equal refinement in progress and False.

    `new` is the id of the new row; a second call with the same id does not insert another.
    """
    with store.write() as session:
        if new and (existing := session.get(Job, new)):
            return existing.batch_id, True
        job = session.get_one(Job, job_id)
        found = _same_refinement(session, job, instruction)
        if found is not None:
            return found, False
        new_id = refinement.refine(session, job, instruction, store.now(session), new)
        return session.get_one(Job, new_id).batch_id, True


def _same_refinement(session: Transaction, job: Job, instruction: str) -> str | None:
    open_refinements = (Job.owner == job.owner, Job.key.startswith(REFINES), Job.status.not_in(FINAL))
    in_session = and_(Job.remote_session_id != "", Job.remote_session_id == job.remote_session_id)
    same = (Job.instruction == instruction.strip(), or_(Job.after_id == job.id, in_session))
    query = select(Job.batch_id).where(*open_refinements, *same)
    return session.execute(query.limit(1)).scalar_one_or_none()


def _reactivate(session: Transaction, batch_id: str) -> None:
    """Reactivate a cancelled batch, which would otherwise cancel the rows that are queued again."""
    cancelled = (Batch.id == batch_id, Batch.state == BatchState.CANCELLED)
    session.execute(update(Batch).where(*cancelled).values(state=BatchState.ACTIVE))


def _pieces(store: Store, batch_id: str, *where: ColumnElement[bool], most: int) -> Iterator[Sequence[str]]:
    """The ids of the rows that match now, in pieces. Rows that match only later are left out, as nobody meant them."""
    with store.read() as session:
        query = select(Job.id).where(Job.batch_id == batch_id, *where).order_by(Job.row)
        ids = session.scalars(query).all()
    for start in range(0, len(ids), most):
        if start and store.is_sqlite:
            time.sleep(_PAUSE_SECONDS)
        yield ids[start : start + most]


def _apply_to_each(
    session: Transaction, ids: Sequence[str], now: datetime, act: Callable[[Transaction, Job, datetime], bool]
) -> int:
    done = 0
    for job in session.scalars(select(Job).where(Job.id.in_(ids)).order_by(Job.row)).all():
        try:
            done += act(session, job, now)
        except StaleMove:
            continue  # another transaction was faster
    return done


def _cancel(session: Transaction, job: Job, now: datetime) -> bool:
    if job.status in {Status.QUEUED, Status.WAITING}:
        end(session, Position.of(job), Status.CANCELLED, now, "cancelled")
        return True
    return job.status is Status.CANCELLED  # it was cancelled with the previous row of its session


def _resume(session: Transaction, job: Job, now: datetime) -> bool:
    if job.status is not Status.WAITING or job.cause not in USER_CAUSES:
        return False
    # A later due time stays: a pause must not make an export be polled sooner.
    move(session, Position.of(job), Status.QUEUED, now, "resumed", due_at=max(job.due_at, now))
    return True


def _lift_limits(session: Transaction, batch_id: str) -> None:
    """Lift a batch's pause and limits, and unpark its accounts."""
    paused = (Batch.id == batch_id, Batch.state == BatchState.PAUSED)
    session.execute(update(Batch).where(*paused).values(state=BatchState.ACTIVE))
    session.execute(update(Batch).where(Batch.id == batch_id).values(released=None, limit_credits=None))
    parked = (Job.batch_id == batch_id, Job.cause.in_((Cause.CREDITS, Cause.PLAN, Cause.TOKEN)))
    for account_id in session.scalars(select(Job.account_id).where(*parked).distinct()).all():
        throttling.unpark(session, account_id)  # if nothing has changed, the first row that continues parks it again


def job_counts(session: Transaction, batch_id: str) -> Counter[Status]:
    """The number of a batch's jobs, by status."""
    query = select(Job.status, func.count()).where(Job.batch_id == batch_id).group_by(Job.status)
    return Counter(dict(session.execute(query).all()))
