"""The rows of a batch as they are read by programs: one by its id, or some in order, whoever they have to belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, cast, func, literal_column, select

from reelq.job import Cause, Route, Stage, Status
from reelq.store.batchlist import is_called
from reelq.store.models import Job, JobEvent, Send
from reelq.store.session import Transaction
from reelq.store.story import Told, telling

_EVENTS_SHOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class JobRead:
    """A row: what was asked, where it is, what came of it, what it cost."""

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
        """Whether its video is finished."""
        return self.status is Status.SUCCEEDED and bool(self.result_sha256)


@dataclass(frozen=True, slots=True)
class Whole:
    """A row with all that went out for it, and what happened to it; of very many events the newest."""

    job: JobRead
    sends: Sequence[Send]
    events: Sequence[Told]


@dataclass(frozen=True, slots=True)
class Sieve:
    """Which rows are asked for: those that are so in everything that is named."""

    status: Status | None = None
    stage: Stage | None = None
    error_code: str | None = None
    cause: Cause | None = None
    called: str | None = None
    """The row with this number, or with this id of the user's: usually one and the same."""

    def where(self) -> list[ColumnElement[bool]]:
        """As conditions on a job."""
        named = {
            Job.status: self.status,
            Job.stage: self.stage,
            Job.error_code: self.error_code,
            Job.cause: self.cause,
        }
        wished = [column == value for column, value in named.items() if value is not None]
        # What follows from it anyhow: the index is of these alone, and a database does not find that out by itself; nor
        # that a parameter is what the index has, once it plans for whatever the parameters may be.
        wished += [Job.error_code != literal_column("''")] if self.error_code else []
        wished += [Job.status == literal_column("'waiting'")] if self.cause else []
        return wished if self.called is None else [*wished, is_called(self.called)]


_COLUMNS: Final = (
    Job.id, Job.batch_id, Job.row, Job.name, Job.file, Job.references, Job.instruction, Job.language, Job.skill,
    Job.session, Job.priority, Job.output, Job.extra, Job.route, Job.stage, Job.status, Job.cause, Job.error_code,
    Job.error, Job.advice, Job.timeline, Job.changes, Job.reply, Job.created_at, Job.started_at, Job.finished_at,
    Job.result_size, Job.result_sha256,
)  # fmt: skip


def rows_of(session: Transaction, batch_id: str, after: int, limit: int, sieve: Sieve) -> list[JobRead]:
    """The batch's rows behind this one, in order."""
    here = (Job.batch_id == batch_id, Job.row > after)
    found = session.execute(_reading().where(*here, *sieve.where()).order_by(Job.row).limit(limit))
    return [JobRead(*row) for row in found]


def row_of(session: Transaction, owner: str, job_id: str) -> JobRead | None:
    """The owner's row by its id."""
    found = session.execute(_reading().where(Job.id == job_id, Job.owner == owner)).one_or_none()
    return JobRead(*found) if found else None


def whole(session: Transaction, owner: str, job_id: str) -> Whole | None:
    """All that is known of it."""
    job = row_of(session, owner, job_id)
    if job is None:
        return None
    sends = session.scalars(select(Send).where(Send.job_id == job_id).order_by(Send.number)).all()
    newest = telling().where(JobEvent.job_id == job_id).order_by(JobEvent.id.desc()).limit(_EVENTS_SHOWN)
    events = [Told(*row) for row in session.execute(newest)]
    return Whole(job, sends, events[::-1])


def _reading() -> Select[Any]:
    cost = select(cast(func.coalesce(func.sum(Send.cost), 0), BigInteger)).where(Send.job_id == Job.id)
    return select(*_COLUMNS, cost.scalar_subquery())
