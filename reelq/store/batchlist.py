"""The batches of an owner and the rows of a batch, as people look them up: by name, by number, newest first."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select
from sqlalchemy.orm import aliased

from reelq.job import Status
from reelq.store.models import Batch, BatchState, Job, Send
from reelq.store.session import Transaction

_LARGEST_ROW: Final = 2**31 - 1
_MOST_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class Listed:
    """A batch by its names."""

    id: str
    name: str
    source: str
    state: BatchState
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A batch in a list: how many rows it has of each status, and what they cost."""

    batch: Listed
    counts: "Counter[Status]"
    credits: int


@dataclass(frozen=True, slots=True)
class Numbered:
    """A row by its place."""

    job_id: str
    batch_id: str
    owner: str
    row: int


_COLUMNS: Final = (Batch.id, Batch.name, Batch.source, Batch.state, Batch.created_at, Batch.finished_at)
_HAS_ROWS: Final = select(Job.id).where(Job.batch_id == Batch.id).exists()
"""A manifest that is handed in again with changes takes its rows along: what is left of the older batch is a name."""


def batches_of(session: Transaction, owner: str, limit: int | None = None, before: str | None = None) -> list[Listed]:
    """The owner's batches that have rows, the newest first; those older than `before`, where it is named."""
    query = select(*_COLUMNS).where(Batch.owner == owner, _HAS_ROWS)
    if before is not None:
        query = query.where(Batch.id < before)
    return [Listed(*row) for row in session.execute(query.order_by(Batch.id.desc()).limit(limit))]


def how_many(session: Transaction, owner: str) -> int:
    """How many batches that would list."""
    query = select(func.count()).select_from(Batch).where(Batch.owner == owner, _HAS_ROWS)
    return int(session.execute(query).scalar_one())


def successor(session: Transaction, owner: str, batch_id: str) -> Listed | None:
    """The batch that the rows of this one, which has none any more, were taken along into."""
    old, new = aliased(Batch), aliased(Batch)
    same = (new.owner == owner, new.name == old.name, new.source == old.source, new.out == old.out, new.id > old.id)
    rows = select(Job.id).where(Job.batch_id == new.id).exists()
    shown = (new.id, new.name, new.source, new.state, new.created_at, new.finished_at)
    query = select(*shown).join(old, and_(*same))
    query = query.where(old.id == batch_id, old.owner == owner, rows).order_by(new.id.desc()).limit(1)
    found = session.execute(query).one_or_none()
    return Listed(*found) if found else None


_OWN: Final = select(Batch.id).where(Batch.id == bindparam("batch_id"), Batch.owner == bindparam("owner"))


def is_of(session: Transaction, owner: str, batch_id: str) -> bool:
    """Whether this is a batch of the owner's."""
    return session.execute(_OWN, {"batch_id": batch_id, "owner": owner}).first() is not None


def standings(session: Transaction, owner: str, limit: int, before: str | None = None) -> list[Standing]:
    """The newest batches, each with its counts; the newest of those older than `before`, where it is named."""
    listed = batches_of(session, owner, limit, before)
    ids = [batch.id for batch in listed]
    counts: dict[str, Counter[Status]] = {batch_id: Counter() for batch_id in ids}
    found = select(Job.batch_id, Job.status, func.count()).where(Job.batch_id.in_(ids))
    for batch_id, status, count in session.execute(found.group_by(Job.batch_id, Job.status)):
        counts[batch_id][Status(status)] = count
    spent = select(Send.batch_id, func.sum(Send.cost)).where(Send.batch_id.in_(ids)).group_by(Send.batch_id)
    costs = {batch_id: int(cost) for batch_id, cost in session.execute(spent)}
    return [Standing(batch, counts[batch.id], costs.get(batch.id, 0)) for batch in listed]


def job_owner(session: Transaction, job_id: str) -> Numbered | None:
    """Whose row this is, and where."""
    row = session.execute(select(Job.id, Job.batch_id, Job.owner, Job.row).where(Job.id == job_id)).one_or_none()
    return Numbered(*row) if row else None


def rows_called(session: Transaction, batch_id: str, word: str) -> list[Numbered]:
    """The rows of a batch with this number or with this id of the user's; usually one and the same."""
    query = select(Job.id, Job.batch_id, Job.owner, Job.row).where(Job.batch_id == batch_id, is_called(word))
    return [Numbered(*row) for row in session.execute(query.order_by(Job.row))]


def is_called(word: str) -> ColumnElement[bool]:
    """Whether a row has this number, or this id of the user's."""
    called = Job.name == word
    if word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS and int(word) <= _LARGEST_ROW:
        called = or_(called, Job.row == int(word))
    return called
