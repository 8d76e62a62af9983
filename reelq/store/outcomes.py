"""What came of a batch: each row's result, read in pieces however many there are; failures and waits by their cause."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, cast, func, select

from reelq.job import Cause, Stage, Status
from reelq.store.models import Batch, Job, Send
from reelq.store.overview import FOR_THE_USER
from reelq.store.session import Store, Transaction

_AT_ONCE: Final = 1000
_ROWS_NAMED: Final = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of a batch: what was asked, and what came of it."""

    row: int
    name: str
    job_id: str
    file: str
    references: list[str]
    instruction: str
    language: str
    skill: str
    session: str
    priority: int
    output: str
    extra: Mapping[str, str]
    stage: Stage
    status: Status
    cause: Cause | None
    error_code: str
    error: str
    advice: str
    timeline: str
    reply: str
    result_path: str
    started_at: datetime | None
    finished_at: datetime | None
    credits: int


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that ended, or wait, for the same cause."""

    code: str
    """An error's code, or a cause's word."""
    count: int
    rows: tuple[int, ...]
    """The first of them."""
    words: str
    """What the first of them was told."""
    advice: str


_COLUMNS: Final = (
    Job.row, Job.name, Job.id, Job.file, Job.references, Job.instruction, Job.language, Job.skill, Job.session,
    Job.priority, Job.output, Job.extra, Job.stage, Job.status, Job.cause, Job.error_code, Job.error, Job.advice,
    Job.timeline, Job.reply, Job.result_path, Job.started_at, Job.finished_at,
)  # fmt: skip


def outcomes(store: Store, batch_id: str) -> Iterator[Outcome]:
    """All rows of a batch in order; each piece is a transaction of its own, so that no reader stands in the way."""
    last = 0
    while True:
        with store.read() as session:
            some = _some(session, batch_id, last)
        yield from some
        if len(some) < _AT_ONCE:
            return
        last = some[-1].row


def _some(session: Transaction, batch_id: str, after: int) -> list[Outcome]:
    here = (Job.batch_id == batch_id, Job.row > after)
    total = cast(func.coalesce(func.sum(Send.cost), 0), BigInteger)  # PostgreSQL adds whole numbers up to decimals
    cost = select(total).where(Send.job_id == Job.id).scalar_subquery()
    rows: list[Any] = list(session.execute(select(*_COLUMNS, cost).where(*here).order_by(Job.row).limit(_AT_ONCE)))
    return [Outcome(*row) for row in rows]


def failures(session: Transaction, batch_id: str) -> list[Group]:
    """The rows that failed, by what failed them, the most first; then those that ended because of another row."""
    failed = _groups(session, Job.error_code, Job.batch_id == batch_id, Job.status == Status.FAILED)
    behind = (Job.batch_id == batch_id, Job.status == Status.CANCELLED, Job.error_code != "")
    return [*failed, *_groups(session, Job.error_code, *behind)]


def waits(session: Transaction, batch_id: str) -> list[Group]:
    """The rows that wait, by their cause; those first that a person can do something about."""
    groups = _groups(session, Job.cause, Job.batch_id == batch_id, Job.status == Status.WAITING)
    return sorted(groups, key=lambda group: group.code not in FOR_THE_USER)


def _groups(session: Transaction, column: Any, *where: ColumnElement[bool]) -> list[Group]:
    counts = select(column, func.count(), func.min(Job.row)).where(*where).group_by(column)
    found = sorted(session.execute(counts).all(), key=lambda row: (-row[1], row[2]))
    return [_group(session, column, code, count, *where) for code, count, _ in found]


def _group(session: Transaction, column: Any, code: str, count: int, *where: ColumnElement[bool]) -> Group:
    query = select(Job.row, Job.error, Job.advice).where(*where, column == code).order_by(Job.row).limit(_ROWS_NAMED)
    rows = session.execute(query).all()
    first = rows[0]
    return Group(str(code), count, tuple(row.row for row in rows), first.error, first.advice)


@dataclass(frozen=True, slots=True)
class Written:
    """How a batch's manifest was written, and where its results go."""

    columns: list[str]
    form: str
    """The manifest's form, where it is known: comma, semicolon, tab or json."""
    out: str


def written(session: Transaction, batch_id: str) -> Written:
    """What the list of results has in common with the manifest."""
    batch = session.get_one(Batch, batch_id)
    return Written(batch.columns, str(batch.options.get("form", "")), batch.out)
