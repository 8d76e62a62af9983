"""Finds batches and rows by name or number, and lists batches, newest first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import aliased

from reelq.job import Status
from reelq.store.db.engine import Transaction
from reelq.store.db.models import Batch, BatchState, Job, Send

_LARGEST_ROW: Final = 2**31 - 1
_MOST_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """A batch, without its rows."""

    id: str
    name: str
    state: BatchState
    created_at: datetime
    finished_at: datetime | None
    source: str = ""
    """The folder of its manifest; empty if it was submitted to a service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInList(BatchInfo):
    """A batch in a list, with the number of rows of each status and their cost."""

    counts: Counter[Status]
    credits: int

    @property
    def total(self) -> int:
        """The number of rows."""
        return self.counts.total()


@dataclass(frozen=True, slots=True)
class Target:
    """What a name resolves to: a batch, or one row of it."""

    batch_id: str
    job_id: str = ""
    row: int = 0


_COLUMNS: Final[Any] = [getattr(Batch, field.name) for field in fields(BatchInfo)]
_TARGET: Final = (Job.batch_id, Job.id, Job.row)
_HAS_ROWS: Final = select(Job.id).where(Job.batch_id == Batch.id).exists()
"""A changed manifest takes its rows along when it is submitted again, which can leave an older batch empty."""


def batches_of(
    session: Transaction, owner: str, limit: int | None = None, before: str | None = None
) -> list[BatchInfo]:
    """The owner's batches that have rows, newest first; with `before`, only older ones."""
    return [BatchInfo(*row) for row in _newest(session, owner, limit, before)]


def list_with_counts(session: Transaction, owner: str, limit: int, before: str | None = None) -> list[BatchInList]:
    """The newest batches, each with its counts; with `before`, the newest of the older ones."""
    listed = _newest(session, owner, limit, before)
    ids = [batch.id for batch in listed]
    counts: dict[str, Counter[Status]] = {batch_id: Counter() for batch_id in ids}
    counted = select(Job.batch_id, Job.status, func.count()).where(Job.batch_id.in_(ids))
    for batch_id, status, count in session.execute(counted.group_by(Job.batch_id, Job.status)):
        counts[batch_id][Status(status)] = count
    spent = select(Send.batch_id, func.sum(Send.cost)).where(Send.batch_id.in_(ids)).group_by(Send.batch_id)
    costs = {batch_id: int(cost) for batch_id, cost in session.execute(spent)}
    return [BatchInList(*batch, counts=counts[batch.id], credits=costs.get(batch.id, 0)) for batch in listed]


def _newest(session: Transaction, owner: str, limit: int | None, before: str | None) -> Sequence[Row[*tuple[Any, ...]]]:
    query: Select[*tuple[Any, ...]] = select(*_COLUMNS).where(Batch.owner == owner, _HAS_ROWS)
    if before is not None:
        query = query.where(Batch.id < before)
    return session.execute(query.order_by(Batch.id.desc()).limit(limit)).all()


def count_batches(session: Transaction, owner: str) -> int:
    """The number of the owner's batches that have rows."""
    query = select(func.count()).select_from(Batch).where(Batch.owner == owner, _HAS_ROWS)
    return int(session.execute(query).scalar_one())


def successor(session: Transaction, owner: str, batch_id: str) -> BatchInfo | None:
    """The batch into which the rows of this batch were moved, leaving it empty."""
    old, new = aliased(Batch), aliased(Batch)
    is_newer = (new.owner == owner, new.name == old.name, new.source == old.source, new.out == old.out, new.id > old.id)
    has_rows = select(Job.id).where(Job.batch_id == new.id).exists()
    query = select(*(getattr(new, field.name) for field in fields(BatchInfo))).join(old, and_(*is_newer))
    query = query.where(old.id == batch_id, old.owner == owner, has_rows).order_by(new.id.desc()).limit(1)
    row = session.execute(query).one_or_none()
    return BatchInfo(*row) if row else None


_OWNED: Final = select(Batch.id).where(Batch.id == bindparam("batch_id"), Batch.owner == bindparam("owner"))


def is_owned_by(session: Transaction, owner: str, batch_id: str) -> bool:
    """Whether the batch belongs to the owner."""
    return session.execute(_OWNED, {"batch_id": batch_id, "owner": owner}).first() is not None


def row_with_id(session: Transaction, owner: str, job_id: str) -> Target | None:
    """The row with this id, if it belongs to the owner."""
    row = session.execute(select(*_TARGET).where(Job.id == job_id, Job.owner == owner)).one_or_none()
    return Target(*row) if row else None


def rows_named(session: Transaction, batch_id: str, word: str) -> list[Target]:
    """The rows of a batch with this number or this user-given id; usually there is one."""
    query = select(*_TARGET).where(Job.batch_id == batch_id, matches_name(word))
    return [Target(*row) for row in session.execute(query.order_by(Job.row))]


def matches_name(word: str) -> ColumnElement[bool]:
    """Whether a row has this number or this user-given id."""
    matches = Job.name == word
    if word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS and int(word) <= _LARGEST_ROW:
        matches = or_(matches, Job.row == int(word))
    return matches
