"""The progress of a batch: counts, rows in motion, what holds it up. Cheap enough to poll."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, and_, bindparam, exists, func, or_, select, text
from sqlalchemy.orm import aliased

from reelq.job import FINAL, Cause, Stage, Status
from reelq.store.billing.ledger import Costs, costs_of
from reelq.store.db.engine import Transaction
from reelq.store.db.models import Account, Batch, BatchState, Job, JobEvent
from reelq.store.db.types import Utc
from reelq.store.jobs import scheduler
from reelq.store.queries.lookup import BatchInfo

MAX_ROWS_SHOWN: Final = 40
"""The most rows in motion that a snapshot lists: more than a terminal has lines."""
QUIET_SECONDS: Final = 10.0
"""A batch whose work has been overdue for this long has no worker."""


@dataclass(frozen=True, slots=True)
class Place:
    """The number of rows with one stage, status and cause."""

    stage: Stage
    status: Status
    cause: Cause | None
    count: int


@dataclass(frozen=True, slots=True)
class RowInMotion:
    """A row in progress, with the message of its last event."""

    job: str
    row: int
    name: str
    file: str
    instruction: str
    stage: Stage
    status: Status
    words: str
    since: datetime
    """When it started this stage."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What holds the account up: a 429 until some time, or the cause for which it is parked."""

    cause: Cause | None
    why: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that failed or wait for the same reason, with the numbers of the first ones."""

    code: str
    """An error code, or the value of a `Cause`."""
    count: int
    rows: tuple[int, ...]
    words: str
    """The error message of the first row."""
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(BatchInfo):
    """The state of a batch at one time."""

    at: datetime
    out: str = ""
    """The folder of its results; empty if it was submitted to a service."""
    released: int | None
    limit_credits: int | None
    places: tuple[Place, ...]
    held: int
    """Queued rows with a number above `released`: they start when the user resumes the batch."""
    credits: int
    shared: bool
    """Whether some of the credits are a share of a cost that several rows had together."""
    moving: tuple[RowInMotion, ...]
    holds: tuple[Hold, ...]
    tended: bool
    """Whether a worker seems to process the batch; a batch at rest needs none."""
    twins_move: bool
    """Whether rows of this batch wait for the result of another batch's row that is in motion."""
    failures: tuple[Group, ...] = ()
    """Why rows failed, or were cancelled because of another row. Empty, like `waits`, unless it was asked for."""
    waits: tuple[Group, ...] = ()

    def count(self, *statuses: Status) -> int:
        """The number of rows with one of these statuses."""
        return sum(place.count for place in self.places if place.status in statuses)

    def waiting_for(self, *causes: Cause) -> int:
        """The number of rows that wait for one of these causes."""
        return sum(place.count for place in self.places if place.cause in causes)

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows with each status."""
        return {status: self.count(status) for status in Status}

    @property
    def total(self) -> int:
        """The number of rows of the batch."""
        return sum(place.count for place in self.places)

    @property
    def ended(self) -> int:
        """The number of rows with a final status."""
        return self.count(*FINAL)

    @property
    def unfinished(self) -> int:
        """The number of rows without a final status."""
        return self.total - self.ended

    @property
    def moving_count(self) -> int:
        """The number of rows that run, or that will start by themselves."""
        free = self.state is BatchState.ACTIVE
        return self.count(Status.RUNNING) + (self.count(Status.QUEUED) - self.held if free else 0)

    @property
    def at_rest(self) -> bool:
        """Whether nothing happens until the user acts; also true once all rows have ended."""
        return self.moving_count == 0 and not self.twins_move


def snapshot(
    session: Transaction, batch_id: str, now: datetime, *, shown: int = MAX_ROWS_SHOWN, costs: Costs | None = None
) -> Snapshot:
    """The current state of the batch, with at most `shown` rows in motion, running ones first.

    A caller that already knows the costs passes them as `costs`.
    """
    batch = session.get_one(Batch, batch_id, populate_existing=True)
    places = _places(session, batch_id)
    spent, shared = costs or costs_of(session, batch_id)
    open_statuses = {place.status for place in places} - FINAL
    return Snapshot(
        *(getattr(batch, field.name) for field in fields(BatchInfo)),
        at=now,
        out=batch.out,
        released=batch.released,
        limit_credits=batch.limit_credits,
        places=places,
        held=_held(session, batch_id, batch.released),
        credits=spent,
        shared=shared,
        moving=_moving(session, batch_id, shown) if open_statuses else (),
        holds=_holds(session, batch_id, now) if open_statuses else (),
        tended=_tended(session, batch_id, batch.created_at, now),
        twins_move=twins_move(session, batch_id) if Status.WAITING in open_statuses else False,
    )


# The statements are built once: building them for each snapshot would take longer than running most of them.
_IN_BATCH: Final = Job.batch_id == bindparam("batch_id")
_PLACES: Final = ", ".join(f"('{stage}', '{status}')" for status in Status for stage in Stage)
# One subquery per stage and status: counting along an index takes half the time of GROUP BY. It is plain SQL because
# SQLAlchemy would compile a VALUES clause anew for each execution.
_PLACE_COUNTS: Final = text(
    f"WITH place (stage, status) AS (VALUES {_PLACES}) "  # noqa: S608 - the values of two enums
    "SELECT stage, status, (SELECT count(*) FROM jobs WHERE jobs.batch_id = :batch_id "
    "AND jobs.status = place.status AND jobs.stage = place.stage) FROM place"
)
_WAITING_COUNTS: Final = (
    select(Job.stage, Job.status, Job.cause, func.count())
    .where(_IN_BATCH, Job.status == Status.WAITING)
    .group_by(Job.status, Job.stage, Job.cause)
)


def _places(session: Transaction, batch_id: str) -> tuple[Place, ...]:
    parameters = {"batch_id": batch_id}
    counts = [
        (Stage(stage), Status(status), count) for stage, status, count in session.execute(_PLACE_COUNTS, parameters)
    ]
    places = [Place(stage, status, None, count) for stage, status, count in counts if count]
    if any(place.status is Status.WAITING for place in places):
        places = [place for place in places if place.status is not Status.WAITING]
        places += [Place(*row) for row in session.execute(_WAITING_COUNTS, parameters)]
    order = {status: index for index, status in enumerate(Status)}
    return tuple(sorted(places, key=lambda place: (order[place.status], list(Stage).index(place.stage))))


def _held(session: Transaction, batch_id: str, released: int | None) -> int:
    if released is None:
        return 0
    not_admitted = (Job.batch_id == batch_id, Job.status == Status.QUEUED, Job.admitted.is_(False))
    count = select(func.count()).where(*not_admitted)
    # All rows minus the released ones: an index answers both counts, while counting the rest would read every row.
    released_rows = session.execute(count.where(Job.row <= released)).scalar_one()
    return int(session.execute(count).scalar_one() - released_rows)


def _rows_query() -> Select[*tuple[Any, ...]]:
    event, stage_event = aliased(JobEvent), aliased(JobEvent)
    last_event = select(func.max(event.id)).where(event.job_id == Job.id).scalar_subquery()
    in_stage = (stage_event.job_id == Job.id, stage_event.run == Job.run, stage_event.stage == Job.stage)
    since = select(func.min(stage_event.at)).where(*in_stage).scalar_subquery()
    columns = (Job.id, Job.row, Job.name, Job.file, Job.instruction, Job.stage, Job.status)
    query = select(*columns, func.coalesce(JobEvent.words, ""), func.coalesce(since, Job.due_at)).outerjoin(
        JobEvent, JobEvent.id == last_event
    )
    return query.where(_IN_BATCH).order_by(Job.row).limit(bindparam("most"))


_RUNNING_ROWS: Final = _rows_query().where(Job.status == Status.RUNNING)
_STARTED_ROWS: Final = _rows_query().where(
    Job.status == Status.QUEUED, Job.admitted.is_(True), Job.started_at.is_not(None)
)


def _moving(session: Transaction, batch_id: str, most: int) -> tuple[RowInMotion, ...]:
    moving: list[RowInMotion] = []
    for query in (_RUNNING_ROWS, _STARTED_ROWS):
        result: Any = session.execute(query, {"batch_id": batch_id, "most": most - len(moving)})
        moving += [RowInMotion(*row) for row in result]
    return tuple(moving)


_OF_ACCOUNT: Final = (_IN_BATCH, Job.account_id == Account.id)
_PARKED: Final = exists().where(*_OF_ACCOUNT, Job.status == Status.WAITING, Job.cause == Account.parked)
_ADMITTED: Final = exists().where(*_OF_ACCOUNT, Job.status.in_((Status.QUEUED, Status.RUNNING)), Job.admitted)
_HOLDS: Final = select(Account.parked, Account.parked_why, Account.parked_until, Account.blocked_until).where(
    or_(
        and_(Account.parked.is_not(None), _PARKED), and_(Account.blocked_until > bindparam("now", type_=Utc), _ADMITTED)
    )
)


def _holds(session: Transaction, batch_id: str, now: datetime) -> tuple[Hold, ...]:
    return tuple(
        Hold(cause, why, until) if cause else Hold(None, "the service asks for fewer requests (429)", blocked)
        for cause, why, until, blocked in session.execute(_HOLDS, {"batch_id": batch_id, "now": now})
    )


_LEASED: Final = (
    select(Job.id)
    .where(_IN_BATCH, Job.status == Status.RUNNING, Job.lease_until > bindparam("now", type_=Utc))
    .limit(1)
)
_LAST_EVENT_AT: Final = (
    select(JobEvent.at)
    .where(JobEvent.batch_id == bindparam("batch_id"))
    .order_by(JobEvent.tx.desc(), JobEvent.id.desc())
    .limit(1)
)
_NEXT_PUBLISH_AT: Final = select(func.min(Job.publish_at)).where(_IN_BATCH, Job.status == Status.QUEUED, Job.admitted)


def _tended(session: Transaction, batch_id: str, created_at: datetime, now: datetime) -> bool:
    """Whether a job is leased, something has happened recently, or nothing is overdue."""
    parameters = {"batch_id": batch_id}
    if session.execute(_LEASED, parameters | {"now": now}).first():
        return True
    quiet_since = now - timedelta(seconds=QUIET_SECONDS)
    last: datetime | None = session.execute(_LAST_EVENT_AT, parameters).scalar_one_or_none()
    if (last or created_at) > quiet_since:
        return True
    due: datetime | None = session.execute(_NEXT_PUBLISH_AT, parameters).scalar_one()
    return due is not None and due > quiet_since


def any_worker_active(session: Transaction, now: datetime) -> bool:
    """Whether any worker is active: then a batch without progress may only be behind other batches."""
    leased = select(Job.id).where(Job.status == Status.RUNNING, Job.lease_until > now).limit(1)
    last = session.execute(select(JobEvent.at).order_by(JobEvent.id.desc()).limit(1)).scalar_one_or_none()
    quiet_since = now - timedelta(seconds=QUIET_SECONDS)
    return (last is not None and last > quiet_since) or session.execute(leased).first() is not None


_ORIGINAL: Final = aliased(Job)
_MOVING_TWINS: Final = (
    select(_ORIGINAL.id)
    .join(Job, Job.same_as == _ORIGINAL.id)
    .where(_IN_BATCH, Job.status == Status.WAITING, Job.cause == Cause.TWIN, scheduler.is_active(_ORIGINAL))
    .limit(1)
)


def twins_move(session: Transaction, batch_id: str) -> bool:
    """Whether rows of this batch wait for the result of another batch's row that is in motion."""
    return session.execute(_MOVING_TWINS, {"batch_id": batch_id}).first() is not None
