"""A manifest is handed in, for the first time or again: what is known goes on, is kept or taken, the rest is new."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from reelq.job import Cause, Stage, Status
from reelq.renaming import Change, rename
from reelq.store import actions
from reelq.store.arrivals import Arrivals
from reelq.store.ids import new_id
from reelq.store.jobs import again
from reelq.store.models import Batch, BatchState, Job, JobEvent, Send
from reelq.store.moves import Position, StaleMove, move
from reelq.store.orders import Fate, LeftBehind, Order, Plan, keys_of
from reelq.store.plans import AT_ONCE, Decision, Step, as_plan, decide, open_rows, pieces, would_be_left
from reelq.store.refinements import refine as refine
from reelq.store.restarts import begin_anew as begin_anew
from reelq.store.session import Store

__all__ = ["Fate", "LeftBehind", "Order", "Plan", "Submitted", "begin_anew", "plan", "refine", "submit"]

_TRIES: Final = 5
_CONTENDED: Final = ("23505", "40001", "40P01")
"""Unique violation, serialization failure, deadlock, as PostgreSQL numbers them: somebody else was there first."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The batch that an order became or goes on in, and what was done about each row."""

    batch_id: str
    plan: Plan
    left_behind: tuple[LeftBehind, ...]
    """Open rows of older batches of the same manifest that it does not have any more; `reelq cancel` drops them."""


def plan(store: Store, order: Order, *, service: str) -> Plan:
    """What `submit` would do with this order now. It reads, and writes nothing."""
    keys = keys_of(order, service)
    with store.read() as session:
        decision = decide(session, order, keys)
        return as_plan(decision, would_be_left(session, decision))


def submit(store: Store, order: Order, *, service: str, account_id: str, window: int = AT_ONCE) -> Submitted:
    """Put an order's rows in the queue. Files are read first, so that the transaction is short.

    Somebody who hands in the same rows at the same moment is one of two; whoever comes second finds them there.
    """
    keys = keys_of(order, service)
    for tries_left in reversed(range(_TRIES)):
        try:
            with store.write() as session:
                done, changes = _submit(session, order, keys, account_id, store.now(session), window)
        except (DBAPIError, StaleMove) as error:
            if not tries_left or not _was_contended(error):
                raise
        else:
            rename(changes)
            return done
    raise AssertionError("the last try returns or raises")


def _was_contended(error: DBAPIError | StaleMove) -> bool:
    if isinstance(error, StaleMove):
        return True
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", "")
    return code in _CONTENDED or code == "SQLITE_CONSTRAINT_UNIQUE"


def _submit(
    session: Session, order: Order, keys: list[str], account_id: str, now: datetime, window: int
) -> tuple[Submitted, list[Change]]:
    _one_at_a_time(session, order.owner)
    if order.batch_id and session.get(Batch, order.batch_id) is not None:  # an earlier try came as far as this
        return Submitted(order.batch_id, Plan((), 0, 0, order.batch_id, ()), ()), []
    decision = decide(session, order, keys)
    batch_id = decision.batch_id or _new_batch(session, order, now)
    if decision.batch_id:
        _renew(session, order, batch_id)
    changes = _take_along(session, order, decision, batch_id, now)
    before: dict[str, str] = {}
    for step in decision.steps:
        _act(session, order, step, now, before.get(step.row.session))
        if step.own and step.row.session:
            before[step.row.session] = step.own.id
    Arrivals(session, batch_id, order, account_id, now).come(decision.steps, window)
    left = tuple(open_rows(session, decision.older))
    return Submitted(batch_id, as_plan(decision, left), left), changes


def _one_at_a_time(session: Session, owner: str) -> None:
    """One submission of an owner's at a time, also where the database lets others write meanwhile."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(owner, 0))))


def _options(order: Order) -> dict[str, Any]:
    return {
        "columns": list(order.columns),
        "options": order.options,
        "state": BatchState.ACTIVE,
        "limit_credits": order.limit_credits,
        "released": order.first,
    }


def _new_batch(session: Session, order: Order, now: datetime) -> str:
    values = {
        "id": order.batch_id or new_id("bat"),
        "owner": order.owner,
        "name": order.name,
        "source": _place(order.source),
        "out": _place(order.out),
        "created_at": now,
    }
    session.execute(insert(Batch).values(**values, **_options(order)))
    return str(values["id"])


def _place(folder: Path) -> str:
    """A folder of this machine; nothing where files and results are in storage."""
    return str(folder) if folder.is_absolute() else ""


def _renew(session: Session, order: Order, batch_id: str) -> None:
    session.execute(update(Batch).where(Batch.id == batch_id).values(**_options(order)))


def _take_along(session: Session, order: Order, decision: Decision, batch_id: str, now: datetime) -> list[Change]:
    """Bring the rows' own jobs into the batch, as the manifest has them now; the files to be renamed for it."""
    own = [step for step in decision.steps if step.own]
    changed = [step for step in own if step.own and (step.own.batch_id != batch_id or _reads_elsewhere(step))]
    for some in pieces(changed):
        session.execute(update(Job), [_as_in_manifest(step, batch_id) for step in some])
        moved = (JobEvent.job_id.in_([step.own.id for step in some if step.own]), JobEvent.batch_id != batch_id)
        session.execute(
            update(JobEvent).where(*moved).values(batch_id=batch_id).execution_options(synchronize_session=False)
        )
        sent = (Send.job_id.in_([step.own.id for step in some if step.own]), Send.batch_id != batch_id)
        session.execute(
            update(Send).where(*sent).values(batch_id=batch_id).execution_options(synchronize_session=False)
        )
    wished = (Job.batch_id == batch_id, Job.status == Status.RUNNING, Job.cancel_wished)
    session.execute(update(Job).where(*wished).values(cancel_wished=False))
    return _renamed(session, order, own, now)


def _reads_elsewhere(step: Step) -> bool:
    job = step.own
    return job is not None and (step.row.file, list(step.row.references)) != (job.file, job.references)


def _as_in_manifest(step: Step, batch_id: str) -> dict[str, Any]:
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


def _renamed(session: Session, order: Order, own: Iterable[Step], now: datetime) -> list[Change]:
    changes = []
    for step in own:
        job = step.own
        if job is None or job.output == step.row.output:
            continue
        if step.fate is Fate.DONE and job.result_path:
            changes.append((Path(order.out, job.result_path), Path(order.out, step.row.output)))
            session.execute(update(Job).where(Job.id == job.id).values(result_path=step.row.output))
        elif job.status is Status.RUNNING and job.stage is Stage.DOWNLOAD:
            at = Position(job.id, job.batch_id, session.get_one(Job, job.id).run, job.stage, job.status)
            again(session, at, now, 0, f"its result is called {step.row.output} now", run=at.run + 1)
    return changes


def _act(session: Session, order: Order, step: Step, now: datetime, before: str | None) -> None:
    """What this row's fate asks for, where it does not go on by itself; `before` stands before it in its session."""
    known = step.own
    if known is None or not _needs_a_push(order, step):
        return
    job = session.get_one(Job, known.id, populate_existing=True)
    if step.fate is Fate.AGAIN:
        # Behind that row, though it may have stood behind a refinement of it: what that did is in another session.
        words = "its session is built up once more, and begins anew"
        actions.begin_anew(session, job, now, words, after_id=before)
    elif step.fate is Fate.FETCHED and job.status is Status.SUCCEEDED:
        actions.fetch_again(session, job, now, "its result is not there any more; it is brought again")
    elif job.status is Status.WAITING and job.cause is Cause.PAUSED:
        move(session, Position.of(job), Status.QUEUED, now, "handed in again", due_at=max(job.due_at, now))
    else:
        actions.retry(session, job, now)


def _needs_a_push(order: Order, step: Step) -> bool:
    if step.fate is not Fate.GOES_ON:
        return step.fate in {Fate.AGAIN, Fate.FETCHED, Fate.RETRIED}
    released = order.first is None or step.row.number <= order.first
    paused = step.own is not None and step.own.cause is Cause.PAUSED
    return (paused and released) or (step.own is not None and step.own.status is Status.CANCELLED)
