"""The batches of an owner and the rows of a batch, as people look them up: by name, by number, newest first."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import aliased

from reelq.job import Status
from reelq.store.models import Batch, BatchState, Job, Send
from reelq.store.session import Transaction

_LARGEST_ROW = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Listed:
    """A batch by its names."""

    id: str
    name: str
    source: str
    state: BatchState
    created_at: datetime


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


_COLUMNS: Final = (Batch.id, Batch.name, Batch.source, Batch.state, Batch.created_at)
_HAS_ROWS: Final = select(Job.id).where(Job.batch_id == Batch.id).exists()
"""A manifest that is handed in again with changes takes its rows along: what is left of the older batch is a name."""


def batches_of(session: Transaction, owner: str, limit: int | None = None) -> list[Listed]:
    """The owner's batches that have rows, the newest first."""
    query = select(*_COLUMNS).where(Batch.owner == owner, _HAS_ROWS)
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
    query = select(new.id, new.name, new.source, new.state, new.created_at).join(old, and_(*same))
    query = query.where(old.id == batch_id, old.owner == owner, rows).order_by(new.id.desc()).limit(1)
    found = session.execute(query).one_or_none()
    return Listed(*found) if found else None


def standings(session: Transaction, owner: str, limit: int) -> list[Standing]:
    """The newest batches, each with its counts."""
    return [_standing(session, batch) for batch in batches_of(session, owner, limit)]


def _standing(session: Transaction, batch: Listed) -> Standing:
    counts = select(Job.status, func.count()).where(Job.batch_id == batch.id).group_by(Job.status)
    costs = select(func.coalesce(func.sum(Send.cost), 0)).join(Job, Job.id == Send.job_id)
    found = Counter({Status(status): count for status, count in session.execute(counts)})
    return Standing(batch, found, int(session.execute(costs.where(Job.batch_id == batch.id)).scalar_one()))


def job_owner(session: Transaction, job_id: str) -> Numbered | None:
    """Whose row this is, and where."""
    row = session.execute(select(Job.id, Job.batch_id, Job.owner, Job.row).where(Job.id == job_id)).one_or_none()
    return Numbered(*row) if row else None


def rows_called(session: Transaction, batch_id: str, word: str) -> list[Numbered]:
    """The rows of a batch with this number or with this id of the user's; usually one and the same."""
    called = Job.name == word
    if word.isascii() and word.isdigit() and int(word) <= _LARGEST_ROW:
        called = or_(called, Job.row == int(word))
    query = select(Job.id, Job.batch_id, Job.owner, Job.row).where(Job.batch_id == batch_id, called)
    return [Numbered(*row) for row in session.execute(query.order_by(Job.row))]
