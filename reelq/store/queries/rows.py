"""The rows of a batch: a single row with its history, pages of rows, and failures and waits grouped by cause."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, String, bindparam, cast, func, literal_column, null, select
from sqlalchemy import Row as SqlRow

from reelq.job import USER_CAUSES, Cause, Route, Stage, Status
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Batch, Job, JobEvent, Send
from reelq.store.queries.batch_status import Group, Snapshot
from reelq.store.queries.events import RowEvent, events_query
from reelq.store.queries.lookup import matches_name

_MAX_EVENTS: Final = 1000
_PAGE_SIZE: Final = 1000
_MAX_ROWS_PER_GROUP: Final = 200


@dataclass(frozen=True, slots=True)
class Result:
    """A finished video, and where the REST service offers it."""

    size: int | None
    sha256: str
    href: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its request, its state, its result and its cost."""

    id: str
    batch: str
    row: int
    name: str
    file: str
    references: list[str]
    instruction: str
    language: str
    skill: str
    session: str
    priority: int
    output: str
    extra: dict[str, Any]
    route: Route
    stage: Stage
    status: Status
    cause: Cause | None
    error_code: str
    error: str
    advice: str
    credits: int
    timeline: str
    changes: list[str]
    reply: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result_path: str
    result_size: int | None
    result_sha256: str

    @property
    def result(self) -> Result | None:
        """The finished video, if there is one in the service's storage."""
        if self.status is not Status.SUCCEEDED or not self.result_sha256:
            return None
        return Result(self.result_size, self.result_sha256, f"/v1/jobs/{self.id}/output")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWithHistory(Row):
    """A row with all its sends and its newest events."""

    sends: Sequence[Send]
    events: Sequence[RowEvent]


@dataclass(frozen=True, slots=True)
class RowFilter:
    """A filter of rows: all given conditions must match."""

    status: Status | None = None
    stage: Stage | None = None
    error_code: str | None = None
    cause: Cause | None = None
    called: str | None = None
    """The row with this number or this user-given id: usually they are the same row."""

    def where(self) -> list[ColumnElement[bool]]:
        """The filter as conditions on `Job`."""
        names = ("status", "stage", "error_code", "cause")
        conditions = [getattr(Job, name) == getattr(self, name) for name in names if getattr(self, name) is not None]
        # Redundant, but the database uses a partial index only if its condition is repeated. It is a literal because a
        # plan for arbitrary parameters can't rely on a parameter's value.
        conditions += [Job.error_code != literal_column("''")] if self.error_code else []
        conditions += [Job.status == literal_column("'waiting'")] if self.cause else []
        return conditions if self.called is None else [*conditions, matches_name(self.called)]


_COST: Final = select(cast(func.coalesce(func.sum(Send.cost), 0), BigInteger)).where(Send.job_id == Job.id)
"""The cost of a row. In PostgreSQL, the sum of integers is a decimal."""
_COMPUTED: Final = {"batch": Job.batch_id, "credits": _COST.scalar_subquery()}
_COLUMNS: Final[Any] = [_COMPUTED.get(field.name, getattr(Job, field.name, None)) for field in fields(Row)]
_ROWS: Final[Select[*tuple[Any, ...]]] = select(*_COLUMNS)


def rows_of(session: Transaction, batch_id: str, after: int, limit: int, only: RowFilter | None = None) -> list[Row]:
    """The batch's rows after row number `after`, in order."""
    query = _ROWS.where(Job.batch_id == batch_id, Job.row > after, *(only.where() if only else ()))
    return [Row(*row) for row in session.execute(query.order_by(Job.row).limit(limit))]


def all_rows(store: Store, batch_id: str) -> Iterator[Row]:
    """All rows of a batch in order, read in pages. Each page is a transaction, so that none stays open for long."""
    last = 0
    while True:
        with store.read() as session:
            page = rows_of(session, batch_id, last, _PAGE_SIZE)
        yield from page
        if len(page) < _PAGE_SIZE:
            return
        last = page[-1].row


def row_of(session: Transaction, owner: str, job_id: str) -> Row | None:
    """The row with this id, if it belongs to the owner."""
    row = _find(session, owner, job_id)
    return Row(*row) if row else None


def row_with_history(session: Transaction, owner: str, job_id: str) -> RowWithHistory | None:
    """The row with its sends and events, if it belongs to the owner."""
    row = _find(session, owner, job_id)
    if row is None:
        return None
    sends = session.scalars(select(Send).where(Send.job_id == job_id).order_by(Send.number)).all()
    newest = events_query().where(JobEvent.job_id == job_id).order_by(JobEvent.id.desc()).limit(_MAX_EVENTS)
    events = [RowEvent(*event) for event in session.execute(newest)]
    return RowWithHistory(*row, sends=sends, events=events[::-1])


def _find(session: Transaction, owner: str, job_id: str) -> SqlRow[*tuple[Any, ...]] | None:
    return session.execute(_ROWS.where(Job.id == job_id, Job.owner == owner)).one_or_none()


_Query = Select[*tuple[Any, ...]]
_IN_BATCH: Final = Job.batch_id == bindparam("batch_id")
# Built once, and with literals, so that the database recognizes the conditions of its partial indexes.
_HAS_ERROR: Final = (_IN_BATCH, Job.error_code != literal_column("''"))
_WAITING: Final = (_IN_BATCH, Job.status == literal_column("'waiting'"))
_FAILURES: Final = (
    select(Job.status, Job.error_code, func.count(), func.min(Job.row))
    .where(*_HAS_ERROR, Job.status.in_((Status.FAILED, Status.CANCELLED)))
    .group_by(Job.error_code, Job.status)
)
_WAITS: Final = select(null(), Job.cause, func.count(), func.min(Job.row)).where(*_WAITING).group_by(Job.cause)
_FIRST_ROWS: Final = select(Job.row, Job.error, Job.advice).order_by(Job.row).limit(_MAX_ROWS_PER_GROUP)
_FIRST_FAILED: Final = _FIRST_ROWS.where(
    *_HAS_ERROR, Job.status == bindparam("status"), Job.error_code == bindparam("code", type_=String)
)
_FIRST_WAITING: Final = _FIRST_ROWS.where(*_WAITING, Job.cause == bindparam("code"))


def with_reasons(session: Transaction, batch: Snapshot) -> Snapshot:
    """Add the reasons why rows of the batch failed or wait.

    The largest group of failed rows comes first, and rows that were cancelled because of another row come last. Of what
    rows wait for, what the user can resolve comes first.
    """
    has_failures = batch.count(Status.FAILED, Status.CANCELLED)
    failures = _groups(session, batch.id, _FAILURES, _FIRST_FAILED) if has_failures else []
    waits = _groups(session, batch.id, _WAITS, _FIRST_WAITING) if batch.count(Status.WAITING) else []
    waits.sort(key=lambda group: group.code not in USER_CAUSES)
    return replace(batch, failures=tuple(failures), waits=tuple(waits))


def _groups(session: Transaction, batch_id: str, count_query: _Query, rows_query: _Query) -> list[Group]:
    """Each group with its count and first rows. A group that has become empty between the two queries is left out."""
    rows = session.execute(count_query, {"batch_id": batch_id}).all()
    ordered = sorted(rows, key=lambda row: (row[0] is not Status.FAILED, -row[2], row[3]))
    groups = []
    for status, code, count, _ in ordered:
        parameters = {"batch_id": batch_id, "code": code} | ({"status": status} if count_query is _FAILURES else {})
        if first_rows := session.execute(rows_query, parameters).all():
            numbers = tuple(row.row for row in first_rows)
            groups.append(Group(str(code), count, numbers, first_rows[0].error, first_rows[0].advice))
    return groups


@dataclass(frozen=True, slots=True)
class RowHistory:
    """Everything that is known of a row."""

    job: Job
    batch: Batch
    events: tuple[JobEvent, ...]
    sends: tuple[Send, ...]
    before: Job | None
    """The previous row of its session."""
    same_as: Job | None
    """The same row of another batch, whose result it reuses."""


def row_history(session: Transaction, job_id: str) -> RowHistory:
    """Load everything about a row."""
    job = session.get_one(Job, job_id)
    events = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)).all()
    sends = session.scalars(select(Send).where(Send.job_id == job_id).order_by(Send.number)).all()
    return RowHistory(
        job=job,
        batch=session.get_one(Batch, job.batch_id),
        events=tuple(events),
        sends=tuple(sends),
        before=session.get(Job, job.after_id) if job.after_id else None,
        same_as=session.get(Job, job.same_as) if job.same_as and job.same_as != job.id else None,
    )
