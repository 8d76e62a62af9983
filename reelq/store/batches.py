"""Batches: a checked manifest becomes jobs, all in one transaction; and what a person asks of all its jobs at once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from reelq.job import FINAL, Cause, Status
from reelq.keys import Contents, key_of, ordinals
from reelq.manifest import Row
from reelq.store import accounts
from reelq.store.ids import new_id
from reelq.store.jobs import end, starting_stage
from reelq.store.models import Batch, BatchState, Job
from reelq.store.moves import Position, StaleMove, move
from reelq.store.session import Store

_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Order:
    """A manifest as it is handed in: whose it is, where its files are and its results go."""

    owner: str
    name: str
    source: Path
    out: Path
    rows: Sequence[Row]
    columns: Sequence[str] = ()
    limit_credits: int | None = None
    first: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The batch that an order became, and the rows of it whose work was under way elsewhere already."""

    batch_id: str
    jobs: int
    joined: tuple[str, ...] = ()


def submit(store: Store, order: Order, *, service: str, account_id: str, window: int = _AT_ONCE) -> Submitted:
    """Put an order's rows in the queue. Files are read first, so that the transaction is short."""
    keys = _keys(order, service)
    batch_id = new_id("bat")
    with store.write() as session:
        now = store.now(session)
        open_keys = _open_keys(session, order.owner, keys)
        session.execute(insert(Batch).values(**_batch(order, batch_id, now)))
        fresh = [(row, key) for row, key in zip(order.rows, keys, strict=True) if key not in open_keys]
        jobs = list(_jobs(order, fresh, batch_id, account_id, now))
        for some in _pieces(jobs, window):
            session.execute(insert(Job), some)
    return Submitted(batch_id, len(jobs), tuple(open_keys[key] for key in keys if key in open_keys))


def _pieces(jobs: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for at in range(0, len(jobs), size):
        yield jobs[at : at + size]


def _keys(order: Order, service: str) -> list[str]:
    contents = Contents()

    def key(row: Row, ordinal: int) -> str:
        files = [name if _is_url(name) else contents.of(order.source / name) for name in _files(row)]
        words = [row.instruction, row.skill, row.language, row.session]
        return key_of(service, order.owner, files, words, ordinal)

    plain = [key(row, 0) for row in order.rows]
    return [key(row, ordinal) for row, ordinal in zip(order.rows, ordinals(plain), strict=True)]


def _files(row: Row) -> list[str]:
    return [name for name in (row.file, *row.references) if name]


def _is_url(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def _open_keys(session: Session, owner: str, keys: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    not_final = [status for status in Status if status not in FINAL]
    for at in range(0, len(keys), _AT_ONCE):
        some = keys[at : at + _AT_ONCE]
        query = select(Job.key, Job.id).where(Job.owner == owner, Job.key.in_(some), Job.status.in_(not_final))
        found.update((row.key, row.id) for row in session.execute(query))
    return found


def _batch(order: Order, batch_id: str, now: datetime) -> dict[str, Any]:
    return {
        "id": batch_id,
        "owner": order.owner,
        "name": order.name,
        "source": str(order.source),
        "out": str(order.out),
        "columns": list(order.columns),
        "options": order.options,
        "state": BatchState.ACTIVE,
        "limit_credits": order.limit_credits,
        "released": order.first,
        "created_at": now,
    }


def _jobs(
    order: Order, rows: Sequence[tuple[Row, str]], batch_id: str, account_id: str, now: datetime
) -> Iterator[dict[str, Any]]:
    last_in: dict[str, str] = {}
    for row, key in rows:
        job_id = new_id("job")
        after_id = last_in.get(row.session) if row.session else None
        if row.session:
            last_in[row.session] = job_id
        yield {
            "id": job_id,
            "batch_id": batch_id,
            "account_id": account_id,
            "owner": order.owner,
            "row": row.number,
            "name": row.id,
            "key": key,
            "file": row.file,
            "references": list(row.references),
            "instruction": row.instruction,
            "language": row.language,
            "skill": row.skill,
            "session": row.session,
            "priority": row.priority,
            "output": row.output,
            "extra": dict(row.extra),
            "route": row.route,
            "after_id": after_id,
            "stage": starting_stage(row.route),
            "status": Status.WAITING if after_id else Status.QUEUED,
            "cause": Cause.SESSION if after_id else None,
            "changes": [],
            "due_at": now,
            "created_at": now,
        }


def counts(session: Session, batch_id: str) -> Counter[tuple[str, str]]:
    """How many jobs are where: by stage and status."""
    query = select(Job.stage, Job.status, func.count()).where(Job.batch_id == batch_id).group_by(Job.stage, Job.status)
    return Counter({(str(stage), str(status)): count for stage, status, count in session.execute(query)})


def is_over(session: Session, batch_id: str) -> bool:
    """Whether every job of it has come to a final status."""
    open_job = select(Job.id).where(Job.batch_id == batch_id, Job.status.not_in(FINAL)).limit(1)
    return session.execute(open_job).first() is None


def pause(session: Session, batch_id: str) -> None:
    """No stage of it begins any more; those that run end."""
    session.execute(
        update(Batch).where(Batch.id == batch_id, Batch.state == BatchState.ACTIVE).values(state=BatchState.PAUSED)
    )


def resume(session: Session, batch_id: str, now: datetime) -> int:
    """Everything of it that waits for a person goes on; how many jobs those are."""
    session.execute(
        update(Batch).where(Batch.id == batch_id, Batch.state == BatchState.PAUSED).values(state=BatchState.ACTIVE)
    )
    session.execute(update(Batch).where(Batch.id == batch_id).values(released=None, limit_credits=None))
    held_off = select(Job.account_id).where(
        Job.batch_id == batch_id, Job.cause.in_((Cause.CREDITS, Cause.PLAN, Cause.TOKEN))
    )
    for account_id in session.scalars(held_off.distinct()).all():
        accounts.unpark(session, account_id)  # if nothing has changed, the first row to go on parks it again
    return _each(session, batch_id, (Status.WAITING,), now, _go_on)


def _go_on(session: Session, job: Job, now: datetime) -> bool:
    if job.cause is Cause.SESSION:
        return False
    # A moment that is yet to come stands: an export is not looked at sooner for having been paused.
    move(session, Position.of(job), Status.QUEUED, now, "resumed", due_at=max(job.due_at, now))
    return True


def cancel(session: Session, batch_id: str, now: datetime) -> int:
    """End all of it that has not ended. What runs ends at its next event, its costs and words recorded."""
    session.execute(update(Batch).where(Batch.id == batch_id).values(state=BatchState.CANCELLED))
    session.execute(
        update(Job).where(Job.batch_id == batch_id, Job.status == Status.RUNNING).values(cancel_wished=True)
    )
    return _each(session, batch_id, (Status.QUEUED, Status.WAITING), now, _cancel)


def _cancel(session: Session, job: Job, now: datetime) -> bool:
    end(session, Position.of(job), Status.CANCELLED, now, "cancelled")
    return True


def _each(session: Session, batch_id: str, statuses: Sequence[Status], now: datetime, act: Any) -> int:
    jobs = session.scalars(
        select(Job).where(Job.batch_id == batch_id, Job.status.in_(statuses)).order_by(Job.row)
    ).all()
    done = 0
    for job in jobs:
        if job.status not in statuses:
            continue  # what was done to the row before it in its session has moved it already
        try:
            done += act(session, job, now)
        except StaleMove:
            continue
    return done
