"""Whose turn it is: which jobs enter the broker."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import zip_longest
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select, true
from sqlalchemy.orm import Session

from reelq.job import Status
from reelq.store.due import Message, mark
from reelq.store.jobs import REPUBLISH_SECONDS
from reelq.store.models import Account, Batch, BatchState, Job
from reelq.store.scope import awaited_by, may_begin

_LET_IN_AT_ONCE: Final = 4
"""Of an account's jobs, some times a second. Those that begin together end each stage together, and wait there for
each other: a window's worth at once had a row wait twice as long between its stages, and was done no sooner."""
_FIRST_WAIT: Final = timedelta(seconds=REPUBLISH_SECONDS)
_LATELY: Final = timedelta(seconds=5)
_OVERDUE: Final = timedelta(seconds=10)
"""Whoever is at a job publishes it within a second of its moment."""
_MAY_WAIT: Final = 0.25
"""Of all that is in flight, the part that waits for a worker. Where it is more, nothing is let in: it would be done no
sooner, and a thousand threads that want the processor have it switch between them half of the time."""
_MAY_ALWAYS_WAIT: Final = 8


def admit(session: Session, now: datetime, batch_id: str | None = None) -> list[Message]:
    """Let jobs in as their accounts have room for them and workers keep up: some at a time, in turn between owners and
    batches.

    With a batch, only what belongs to it, though everything in flight takes up room that somebody is at.
    """
    out: list[Message] = []
    for account_id, room in _rooms(session, now, batch_id):
        chosen = list(_in_turn(_candidates(session, account_id, room, now, batch_id), room))
        ours = mark(session, chosen, now, new=True)
        out += [Message.of(job) for job in chosen if job.id in ours]
    return out


def _rooms(session: Session, now: datetime, batch_id: str | None) -> list[tuple[str, int]]:
    """How many of each account's jobs may be let in now."""
    moments = {"now": now, "lately": now + _FIRST_WAIT - _LATELY, "overdue": now - _OVERDUE}
    accounts = session.execute(_windows(batch_id), moments).all()
    flying, waiting = sum(each.flying for each in accounts), sum(each.waiting for each in accounts)
    if waiting >= max(_MAY_ALWAYS_WAIT, _MAY_WAIT * flying):
        return []
    rooms = [(each.id, min(int(each.window) - each.flying, _LET_IN_AT_ONCE)) for each in accounts]
    return [(account_id, room) for account_id, room in rooms if room > 0]


@cache
def _windows(batch_id: str | None) -> Select[str, float, int, int]:
    """Every account's window, how many of its jobs are in flight, and how many of those wait for a worker.

    Of these only whose message went out lately: an older one is lost, and says nothing of how busy anybody is. To a
    process with a batch of its own, what nobody is at is in flight no more: the run that let it in was killed, or ended
    at a pause, and may never come back.
    """
    tended = or_(
        and_(Job.status == Status.RUNNING, Job.lease_until > bindparam("now")),
        and_(Job.status == Status.QUEUED, Job.publish_at > bindparam("overdue")),
    )
    counted = or_(Job.batch_id == batch_id, tended) if batch_id else true()
    waits = and_(Job.status == Status.QUEUED, Job.due_at <= bindparam("now"), Job.publish_at > bindparam("lately"))
    flying = (
        select(Job.account_id, func.count().label("flying"), func.count().filter(waits).label("waiting"))
        .where(Job.admitted, Job.status.in_((Status.QUEUED, Status.RUNNING)), counted)
        .group_by(Job.account_id)
        .subquery()
    )
    counts = [func.coalesce(flying.c[name], 0).label(name) for name in ("flying", "waiting")]
    query = select(Account.id, Account.window, counts[0], counts[1])
    return query.outerjoin(flying, flying.c.account_id == Account.id)


@cache
def _batches(within_batch: str | None) -> Select[str, str, int | None]:
    """The batches that have rows of an account to let in."""
    here = (Job.batch_id == Batch.id, Job.account_id == bindparam("account_id"))
    waits = select(Job.id).where(*here, Job.status == Status.QUEUED, Job.admitted.is_(False)).exists()
    query = select(Batch.id, Batch.owner, Batch.released).where(Batch.state == BatchState.ACTIVE, waits)
    return query.where(Batch.id == within_batch if within_batch else true()).order_by(Batch.id)


def _candidates(
    session: Session, account_id: str, room: int, now: datetime, within_batch: str | None
) -> dict[str, list[list[Job]]]:
    """For each owner, for each of its batches, the jobs that would come next."""
    waiting = (Job.status == Status.QUEUED, Job.admitted.is_(False), Job.account_id == account_id)
    by_owner: dict[str, list[list[Job]]] = defaultdict(list)
    for batch_id, owner, released in session.execute(_batches(within_batch), {"account_id": account_id}):
        query = select(Job).where(Job.batch_id == batch_id, *waiting, Job.due_at <= now)
        if released is not None:
            query = query.where(Job.row <= released)
        jobs = list(session.scalars(query.order_by(Job.priority.desc(), Job.row).limit(room)))
        if jobs:
            by_owner[owner].append(jobs)
    if within_batch and (awaited := _awaited(session, within_batch, waiting, room, now)):
        by_owner[awaited[0].owner].append(awaited)
    return by_owner


def _awaited(
    session: Session, batch_id: str, waiting: Sequence[ColumnElement[bool]], room: int, now: datetime
) -> list[Job]:
    """The jobs of other batches, allowed to begin there, whose results this one waits for."""
    query = select(Job).where(*waiting, Job.due_at <= now, awaited_by(batch_id), may_begin())
    return list(session.scalars(query.order_by(Job.id).limit(room)))


def _in_turn(by_owner: dict[str, list[list[Job]]], room: int) -> Iterator[Job]:
    """One of each owner, then the next of each; of an owner's, one of each batch, then the next of each."""
    of_owners = [[job for turn in zip_longest(*batches) for job in turn if job] for batches in by_owner.values()]
    taken = 0
    for turn in zip_longest(*of_owners):
        for job in turn:
            if job and taken < room:
                taken += 1
                yield job
