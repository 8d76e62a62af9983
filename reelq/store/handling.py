"""What a person asks of a batch or a row, and how many rows it met: in pieces, so that work goes on between them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from reelq.errors import CannotRefine
from reelq.job import FINAL, Cause, Route, Status
from reelq.storage import Storage
from reelq.store import accounts, actions, batches, refinements
from reelq.store.ends import cancel_all, end
from reelq.store.models import Batch, BatchState, Job
from reelq.store.moves import Position, StaleMove
from reelq.store.orders import REFINES
from reelq.store.overview import FOR_THE_USER
from reelq.store.session import Store, Transaction

AT_ONCE: Final = 250
AT_ONCE_ALIKE: Final = 2500
"""Of rows that need no look at each."""
_ROOM: Final = 0.1
"""SQLite's one writer has no queue: who waits looks again this often, and would find the next piece begun."""


@dataclass(frozen=True, slots=True)
class Handled:
    """How many rows did what was asked, how many will soon, and how many it did not apply to."""

    done: int
    not_so: int = 0
    soon: int = 0


def retry_batch(store: Store, batch_id: str, *, at_once: int = AT_ONCE) -> Handled:
    """Every failed row of it goes again; rows that ended because of one of those follow it."""
    pieces = _pieces(store, batch_id, Job.status == Status.FAILED, most=at_once)
    done = sum(_retry_some(store, batch_id, rows) for rows in pieces)
    with store.read() as session:
        total = select(func.count()).where(Job.batch_id == batch_id)
        return Handled(done, not_so=session.execute(total).scalar_one() - done)


def _retry_some(store: Store, batch_id: str, ids: Sequence[str]) -> int:
    with store.write() as session:
        _open_again(session, batch_id)
        return _each(session, ids, store.now(session), actions.retry)


def retry_row(store: Store, job_id: str, storage: Storage | None = None) -> bool:
    """A failed or cancelled row goes again; whether there was need.

    With its storage named, a finished one whose result is gone from there brings it again.
    """
    with store.write() as session:
        job, now = session.get_one(Job, job_id), store.now(session)
        if actions.builds_on_what_is_gone(session, job):
            raise CannotRefine(f"The session that row {job.row} builds on is gone")
        if storage and actions.is_without_result(session, job, storage):
            actions.fetch_again(session, job, now, "its result is not there any more; it is brought again")
            done = True
        else:
            done = actions.retry(session, job, now)
        if done:
            _open_again(session, job.batch_id)
        return done


def cancel_batch(store: Store, batch_id: str, *, at_once: int = AT_ONCE_ALIKE) -> Handled:
    """No row of it goes on; those at work end at their next event.

    Cut short, it can be asked for again: the batch is closed from the first moment on.
    """
    with store.write() as session:
        before = batches.counts(session, batch_id)
        batches.close(session, batch_id)
    done = 0
    for ids in _pieces(store, batch_id, *batches.IDLE, most=at_once):
        with store.write() as session:
            done += _drop_some(session, ids, store.now(session))
    running = sum(count for (_, status), count in before.items() if status == Status.RUNNING)
    return Handled(done, soon=running, not_so=before.total() - done - running)


def _drop_some(session: Transaction, ids: Sequence[str], now: datetime) -> int:
    """Those that build on no other row at once, and then, with more to be said of each, what is left of the others."""
    on_others = select(Job.id).where(Job.id.in_(ids), or_(Job.after_id.is_not(None), Job.same_as.is_not(None)))
    bound = set(session.scalars(on_others))
    free = [job_id for job_id in ids if job_id not in bound]
    done = sum(cancel_all(session, free, before, now) for before in (Status.QUEUED, Status.WAITING))
    return done + _each(session, [job_id for job_id in ids if job_id in bound], now, _drop)


def cancel_row(store: Store, job_id: str) -> Handled:
    """The row ends: now, or at its next event where it is at work."""
    with store.write() as session:
        job = session.get_one(Job, job_id)
        running = job.status is Status.RUNNING
        asked = actions.cancel(session, job, store.now(session))
    return Handled(int(asked and not running), soon=int(asked and running), not_so=int(not asked))


def pause_batch(store: Store, batch_id: str) -> tuple[BatchState, Handled]:
    """No stage of it begins any more: what the batch is now, and how many rows that holds up and are yet at work."""
    with store.write() as session:
        batches.pause(session, batch_id)
        state = session.execute(select(Batch.state).where(Batch.id == batch_id)).scalar_one()
        counts = batches.counts(session, batch_id)
    of = {word: sum(count for (_, status), count in counts.items() if status == word) for word in Status}
    return state, Handled(of[Status.QUEUED] + of[Status.WAITING], soon=of[Status.RUNNING])


def resume_batch(store: Store, batch_id: str, *, at_once: int = AT_ONCE) -> Handled:
    """Everything of it that a person held up goes on; its limits are lifted."""
    with store.write() as session:
        batch = session.get_one(Batch, batch_id)
        done = _held_up(session, batch)
        batches.lift(session, batch_id)
    for ids in _pieces(store, batch_id, *batches.FOR_A_PERSON, most=at_once):
        with store.write() as session:
            done += _each(session, ids, store.now(session), _wake)
    return Handled(done)


def _held_up(session: Transaction, batch: Batch) -> int:
    """Queued rows that a pause or `--first` kept from beginning."""
    if batch.state is BatchState.CANCELLED:
        return 0
    query = select(func.count()).where(Job.batch_id == batch.id, Job.status == Status.QUEUED)
    if batch.state is BatchState.ACTIVE:
        query = query.where(Job.row > (batch.released if batch.released is not None else Job.row))
    return int(session.execute(query).scalar_one())


def resume_row(store: Store, job_id: str) -> bool:
    """A row that waits for something a person can change tries again at once; whether it did."""
    with store.write() as session:
        job = session.get_one(Job, job_id)
        if job.status is not Status.WAITING or job.cause not in FOR_THE_USER:
            return False
        if job.cause is not Cause.PAUSED:
            accounts.unpark(session, job.account_id)  # if nothing has changed, this row parks it again
        batches.go_on(session, job, store.now(session))
        return True


def would_send(store: Store, job_id: str, instruction: str) -> bool:
    """Whether a refinement would send an instruction, which can cost credits; CannotRefine where none is possible."""
    with store.read() as session:
        job = session.get_one(Job, job_id)
        route = refinements.route_of(job, instruction)
        return route is Route.EDIT and _same_refinement(session, job, instruction) is None


def refine_row(store: Store, job_id: str, instruction: str, new: str = "") -> tuple[str, bool]:
    """The batch of the row that says more in this one's session; False where the same was asked and is under way.

    `new` is the id that it is to have; asked for again under it, it is made once.
    """
    with store.write() as session:
        if new and (made := session.get(Job, new)):
            return made.batch_id, True
        job = session.get_one(Job, job_id)
        found = _same_refinement(session, job, instruction)
        if found is not None:
            return found, False
        made_id = refinements.refine(session, job, instruction, store.now(session), new)
        return session.get_one(Job, made_id).batch_id, True


def _same_refinement(session: Transaction, job: Job, instruction: str) -> str | None:
    its_own = (Job.owner == job.owner, Job.key.startswith(REFINES), Job.status.not_in(FINAL))
    in_session = and_(Job.remote_session_id != "", Job.remote_session_id == job.remote_session_id)
    same = (Job.instruction == instruction.strip(), or_(Job.after_id == job.id, in_session))
    query = select(Job.batch_id).where(*its_own, *same)
    return session.execute(query.limit(1)).scalar_one_or_none()


def _open_again(session: Transaction, batch_id: str) -> None:
    """A batch that was cancelled would cancel whatever is queued in it."""
    cancelled = (Batch.id == batch_id, Batch.state == BatchState.CANCELLED)
    session.execute(update(Batch).where(*cancelled).values(state=BatchState.ACTIVE))


def _pieces(store: Store, batch_id: str, *where: ColumnElement[bool], most: int) -> Iterator[Sequence[str]]:
    """The ids of the rows that are so now, some at a time: those that come to be so meanwhile were not meant."""
    with store.read() as session:
        ids = batches.ids_of(session, batch_id, *where)
    for at in range(0, len(ids), most):
        if at and store.is_sqlite:
            time.sleep(_ROOM)
        yield ids[at : at + most]


def _each(
    session: Transaction, ids: Sequence[str], now: datetime, act: Callable[[Transaction, Job, datetime], bool]
) -> int:
    done = 0
    for job in session.scalars(select(Job).where(Job.id.in_(ids)).order_by(Job.row)).all():
        try:
            done += act(session, job, now)
        except StaleMove:
            continue  # somebody else was quicker
    return done


def _drop(session: Transaction, job: Job, now: datetime) -> bool:
    if job.status in {Status.QUEUED, Status.WAITING}:
        end(session, Position.of(job), Status.CANCELLED, now, "cancelled")
        return True
    return job.status is Status.CANCELLED  # it ended with the row before it in its session


def _wake(session: Transaction, job: Job, now: datetime) -> bool:
    if job.status is not Status.WAITING or job.cause in {Cause.SESSION, Cause.TWIN}:
        return False
    batches.go_on(session, job, now)
    return True
