"""What came of a batch: each row's result, read in pieces however many there are; failures and waits by their cause."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Select, String, bindparam, cast, func, literal_column, null, select

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


_Query = Select[*tuple[Any, ...]]
_HERE: Final = Job.batch_id == bindparam("batch_id")
# Put together once; and in full, that a database knows the indexes that are of these rows alone for what they are.
_TOLD: Final = (_HERE, Job.error_code != literal_column("''"))
_WAITING: Final = (_HERE, Job.status == literal_column("'waiting'"))
_FAILURES: Final = (
    select(Job.status, Job.error_code, func.count(), func.min(Job.row))
    .where(*_TOLD, Job.status.in_((Status.FAILED, Status.CANCELLED)))
    .group_by(Job.error_code, Job.status)
)
_WAITS: Final = select(null(), Job.cause, func.count(), func.min(Job.row)).where(*_WAITING).group_by(Job.cause)
_FIRST: Final = select(Job.row, Job.error, Job.advice).order_by(Job.row).limit(_ROWS_NAMED)
_FAILED_FIRST: Final = _FIRST.where(
    *_TOLD, Job.status == bindparam("status"), Job.error_code == bindparam("code", type_=String)
)
_WAITING_FIRST: Final = _FIRST.where(*_WAITING, Job.cause == bindparam("code"))


def failures(session: Transaction, batch_id: str) -> list[Group]:
    """The rows that failed, by what failed them, the most first; then those that ended because of another row."""
    return _groups(session, batch_id, _FAILURES, _FAILED_FIRST)


def waits(session: Transaction, batch_id: str) -> list[Group]:
    """The rows that wait, by their cause; those first that a person can do something about."""
    groups = _groups(session, batch_id, _WAITS, _WAITING_FIRST)
    return sorted(groups, key=lambda group: group.code not in FOR_THE_USER)


def _groups(session: Transaction, batch_id: str, counted: _Query, first: _Query) -> list[Group]:
    """Of each the count and the first rows. In between they may go on: a group without any is none."""
    rows = session.execute(counted, {"batch_id": batch_id}).all()
    found = sorted(rows, key=lambda row: (row[0] is not Status.FAILED, -row[2], row[3]))
    groups = []
    for status, code, count, _ in found:
        words = {"batch_id": batch_id, "code": code} | ({"status": status} if counted is _FAILURES else {})
        if named := session.execute(first, words).all():
            numbers = tuple(row.row for row in named)
            groups.append(Group(str(code), count, numbers, named[0].error, named[0].advice))
    return groups


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
