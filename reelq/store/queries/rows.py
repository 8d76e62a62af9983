"""The rows of a batch: a single row, pages of rows with their results, and failures and waits grouped by cause."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, String, bindparam, cast, func, literal_column, null, select

from reelq.job import USER_CAUSES, Cause, Route, Stage, Status
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Batch, Job, JobEvent, Send
from reelq.store.queries.events import RowEvent, events_query
from reelq.store.queries.lookup import matches_name

_MAX_EVENTS: Final = 1000


@dataclass(frozen=True, slots=True)
class RowDetail:
    """A row: its request, its state, its result and its cost."""

    id: str
    batch_id: str
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
    timeline: str
    changes: list[str]
    reply: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result_size: int | None
    result_sha256: str
    credits: int

    @property
    def has_result(self) -> bool:
        """Whether the row has a finished video."""
        return self.status is Status.SUCCEEDED and bool(self.result_sha256)


@dataclass(frozen=True, slots=True)
class RowWithHistory:
    """A row with all its sends and its newest events."""

    job: RowDetail
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
        filters = {
            Job.status: self.status,
            Job.stage: self.stage,
            Job.error_code: self.error_code,
            Job.cause: self.cause,
        }
        conditions = [column == value for column, value in filters.items() if value is not None]
        # Redundant, but the database uses a partial index only if its condition is repeated. It is a literal because a
        # plan for arbitrary parameters can't rely on a parameter's value.
        conditions += [Job.error_code != literal_column("''")] if self.error_code else []
        conditions += [Job.status == literal_column("'waiting'")] if self.cause else []
        return conditions if self.called is None else [*conditions, matches_name(self.called)]


_JOB_COLUMNS: Final = (
    Job.id, Job.batch_id, Job.row, Job.name, Job.file, Job.references, Job.instruction, Job.language, Job.skill,
    Job.session, Job.priority, Job.output, Job.extra, Job.route, Job.stage, Job.status, Job.cause, Job.error_code,
    Job.error, Job.advice, Job.timeline, Job.changes, Job.reply, Job.created_at, Job.started_at, Job.finished_at,
    Job.result_size, Job.result_sha256,
)  # fmt: skip


def rows_of(session: Transaction, batch_id: str, after: int, limit: int, sieve: RowFilter) -> list[RowDetail]:
    """The batch's rows after row number `after`, in order."""
    where = (Job.batch_id == batch_id, Job.row > after)
    rows = session.execute(_reading().where(*where, *sieve.where()).order_by(Job.row).limit(limit))
    return [RowDetail(*row) for row in rows]


def row_of(session: Transaction, owner: str, job_id: str) -> RowDetail | None:
    """The row with this id, if it belongs to the owner."""
    row = session.execute(_reading().where(Job.id == job_id, Job.owner == owner)).one_or_none()
    return RowDetail(*row) if row else None


def row_with_history(session: Transaction, owner: str, job_id: str) -> RowWithHistory | None:
    """The row with its sends and events, if it belongs to the owner."""
    job = row_of(session, owner, job_id)
    if job is None:
        return None
    sends = session.scalars(select(Send).where(Send.job_id == job_id).order_by(Send.number)).all()
    newest = events_query().where(JobEvent.job_id == job_id).order_by(JobEvent.id.desc()).limit(_MAX_EVENTS)
    events = [RowEvent(*row) for row in session.execute(newest)]
    return RowWithHistory(job, sends, events[::-1])


def _reading() -> Select[Any]:
    cost = select(cast(func.coalesce(func.sum(Send.cost), 0), BigInteger)).where(Send.job_id == Job.id)
    return select(*_JOB_COLUMNS, cost.scalar_subquery())


_PAGE_SIZE: Final = 1000
_MAX_ROWS_PER_GROUP: Final = 200


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row of a batch: its request and its outcome."""

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
    """Rows that ended, or wait, for the same reason."""

    code: str
    """An error code, or the value of a `Cause`."""
    count: int
    rows: tuple[int, ...]
    """The numbers of the first rows."""
    words: str
    """The error message of the first row."""
    advice: str


_OUTCOME_COLUMNS: Final = (
    Job.row, Job.name, Job.id, Job.file, Job.references, Job.instruction, Job.language, Job.skill, Job.session,
    Job.priority, Job.output, Job.extra, Job.stage, Job.status, Job.cause, Job.error_code, Job.error, Job.advice,
    Job.timeline, Job.reply, Job.result_path, Job.started_at, Job.finished_at,
)  # fmt: skip


def outcomes(store: Store, batch_id: str) -> Iterator[RowResult]:
    """All rows of a batch in order, read in pages. Each page is a transaction, so that none stays open for long."""
    last = 0
    while True:
        with store.read() as session:
            page = _page(session, batch_id, last)
        yield from page
        if len(page) < _PAGE_SIZE:
            return
        last = page[-1].row


def _page(session: Transaction, batch_id: str, after: int) -> list[RowResult]:
    where = (Job.batch_id == batch_id, Job.row > after)
    total = cast(func.coalesce(func.sum(Send.cost), 0), BigInteger)  # in PostgreSQL the sum of integers is a decimal
    cost = select(total).where(Send.job_id == Job.id).scalar_subquery()
    rows: list[Any] = list(
        session.execute(select(*_OUTCOME_COLUMNS, cost).where(*where).order_by(Job.row).limit(_PAGE_SIZE))
    )
    return [RowResult(*row) for row in rows]


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


def failures(session: Transaction, batch_id: str) -> list[Group]:
    """The failed rows by error code, largest group first; then the rows that were cancelled because of another row."""
    return _groups(session, batch_id, _FAILURES, _FIRST_FAILED)


def waits(session: Transaction, batch_id: str) -> list[Group]:
    """The waiting rows by cause; first the causes that the user can resolve."""
    groups = _groups(session, batch_id, _WAITS, _FIRST_WAITING)
    return sorted(groups, key=lambda group: group.code not in USER_CAUSES)


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
class ManifestFormat:
    """The format of a batch's manifest, and the folder of its results."""

    columns: list[str]
    form: str
    """The manifest's format, if it is known: comma, semicolon, tab or json."""
    out: str


def manifest_format(session: Transaction, batch_id: str) -> ManifestFormat:
    """What the result file needs to know about the manifest."""
    batch = session.get_one(Batch, batch_id)
    return ManifestFormat(batch.columns, str(batch.options.get("form", "")), batch.out)
