"""Admits jobs to the broker: as many as accounts have room for and workers keep up with.

The next job is one of the owner who has the fewest in flight, and of that owner's batch with the fewest.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import Select, and_, bindparam, func, or_, select, true
from sqlalchemy.orm import Session

from reelq.job import Status
from reelq.store.db.models import Account, Batch, BatchState, Job
from reelq.store.jobs.scheduler import FIRST_REPUBLISH, Message, awaited_by, mark_published, not_held_back

_ADMITTED_AT_ONCE: Final = 4
"""Jobs to admit per account and pass; there are several passes a second. Jobs that start together finish each stage
together, and then wait for each other: when a whole window was admitted at once, rows waited twice as long between
stages and the batch finished no sooner."""
_RECENT: Final = timedelta(seconds=5)
_OVERDUE: Final = timedelta(seconds=10)
"""A process that is responsible for a job publishes it within a second of `publish_at`."""
_BACKLOG_SHARE: Final = 0.25
"""The share of jobs in flight that may wait for a worker. Above it nothing is admitted: more jobs would finish no
sooner, and with a thousand runnable threads the processor spends half of its time switching between them."""
_MIN_BACKLOG: Final = 8
"""This many jobs may wait for a worker, however few are in flight."""


class _Queue(NamedTuple):
    """The next jobs of a batch."""

    owner: str
    batch_id: str
    jobs: deque[Job]


def admit(session: Session, now: datetime, batch_id: str | None = None) -> list[Message]:
    """Admit due jobs as far as their accounts have room and workers keep up, fairly between owners and batches.

    Returns the messages to publish. With `batch_id`, admit only jobs of that batch and those whose results it waits
    for. Jobs of other batches still take up room while a process is responsible for them.
    """
    messages: list[Message] = []
    for account_id, room in _rooms(session, now, batch_id):
        queues = _candidates(session, account_id, room, now, batch_id)
        in_flight = _in_flight(session, account_id) if len(queues) > 1 else Counter()
        chosen = list(_choose(queues, in_flight, room))
        marked = mark_published(session, chosen, now, new=True)
        messages += [Message.of(job) for job in chosen if job.id in marked]
    return messages


def _rooms(session: Session, now: datetime, batch_id: str | None) -> list[tuple[str, int]]:
    """The accounts that may admit jobs now, each with how many."""
    moments = {"now": now, "recent": now + FIRST_REPUBLISH - _RECENT, "overdue": now - _OVERDUE}
    accounts = session.execute(_windows(batch_id), moments).all()
    in_flight, waiting = sum(each.in_flight for each in accounts), sum(each.waiting for each in accounts)
    if waiting >= max(_MIN_BACKLOG, _BACKLOG_SHARE * in_flight):
        return []
    rooms = [(each.id, min(int(each.window) - each.in_flight, _ADMITTED_AT_ONCE)) for each in accounts]
    return [(account_id, room) for account_id, room in rooms if room > 0]


@cache
def _windows(batch_id: str | None) -> Select[str, float, int, int]:
    """Every account's window, how many of its jobs are in flight, and how many of those wait for a worker.

    A job counts as waiting only if its message was published recently: an older message is lost, and does not tell how
    busy the workers are. A process that runs one batch ignores jobs of other batches that no process is responsible
    for: the run that admitted them was killed, or ended at a pause, and may never come back.
    """
    attended = or_(
        and_(Job.status == Status.RUNNING, Job.lease_until > bindparam("now")),
        and_(Job.status == Status.QUEUED, Job.publish_at > bindparam("overdue")),
    )
    counted = or_(Job.batch_id == batch_id, attended) if batch_id else true()
    waits = and_(Job.status == Status.QUEUED, Job.due_at <= bindparam("now"), Job.publish_at > bindparam("recent"))
    in_flight = (
        select(Job.account_id, func.count().label("in_flight"), func.count().filter(waits).label("waiting"))
        .where(Job.admitted, Job.status.in_((Status.QUEUED, Status.RUNNING)), counted)
        .group_by(Job.account_id)
        .subquery()
    )
    counts = [func.coalesce(in_flight.c[name], 0).label(name) for name in ("in_flight", "waiting")]
    query = select(Account.id, Account.window, counts[0], counts[1])
    return query.outerjoin(in_flight, in_flight.c.account_id == Account.id)


@cache
def _batches(within_batch: str | None) -> Select[str, str, int | None]:
    """The active batches that have jobs of an account to admit."""
    of_batch = (Job.batch_id == Batch.id, Job.account_id == bindparam("account_id"))
    waits = select(Job.id).where(*of_batch, Job.status == Status.QUEUED, Job.admitted.is_(False)).exists()
    query = select(Batch.id, Batch.owner, Batch.released).where(Batch.state == BatchState.ACTIVE, waits)
    return query.where(Batch.id == within_batch if within_batch else true()).order_by(Batch.id)


def _candidates(session: Session, account_id: str, room: int, now: datetime, within_batch: str | None) -> list[_Queue]:
    """The next jobs to admit, of each batch."""
    waiting = (Job.status == Status.QUEUED, Job.admitted.is_(False), Job.account_id == account_id)
    queues = []
    for waiting_batch, owner, released in session.execute(_batches(within_batch), {"account_id": account_id}):
        query = select(Job).where(Job.batch_id == waiting_batch, *waiting, Job.due_at <= now)
        if released is not None:
            query = query.where(Job.row <= released)
        jobs = deque(session.scalars(query.order_by(Job.priority.desc(), Job.row).limit(room)))
        queues.append(_Queue(owner, waiting_batch, jobs))
    if within_batch:
        # The jobs of other batches whose results this batch waits for, and that may start there.
        query = select(Job).where(*waiting, Job.due_at <= now, awaited_by(within_batch), not_held_back())
        if awaited := deque(session.scalars(query.order_by(Job.id).limit(room))):
            queues.append(_Queue(awaited[0].owner, awaited[0].batch_id, awaited))
    return [queue for queue in queues if queue.jobs]


def _in_flight(session: Session, account_id: str) -> Counter[tuple[str, str]]:
    """How many jobs of an account are in flight, by owner and batch."""
    query = select(Job.owner, Job.batch_id, func.count()).group_by(Job.owner, Job.batch_id)
    in_flight = (Job.account_id == account_id, Job.admitted, Job.status.in_((Status.QUEUED, Status.RUNNING)))
    return Counter({(owner, batch_id): count for owner, batch_id, count in session.execute(query.where(*in_flight))})


def _choose(queues: Sequence[_Queue], in_flight: Counter[tuple[str, str]], room: int) -> Iterator[Job]:
    """At most `room` jobs, each of the owner and batch that have the fewest in flight by then.

    Round-robin within a pass is not enough: usually there is room for one job, and the oldest batch would always be
    first.
    """
    owners, batches = Counter[str](), Counter[str]()
    for (owner, batch_id), count in in_flight.items():
        owners[owner] += count
        batches[batch_id] += count
    for _ in range(room):
        waiting = [queue for queue in queues if queue.jobs]
        if not waiting:
            return
        queue = min(waiting, key=lambda each: (owners[each.owner], batches[each.batch_id]))
        owners[queue.owner] += 1
        batches[queue.batch_id] += 1
        yield queue.jobs.popleft()
