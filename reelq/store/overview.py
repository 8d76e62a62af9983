"""Reading the queue for people: where a batch stands, what moves in it, what holds it up; cheap enough to ask often."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, or_, select, text
from sqlalchemy.orm import aliased

from reelq.job import FINAL, Cause, Stage, Status
from reelq.store import scope
from reelq.store.models import Account, Batch, BatchState, Job, JobEvent, Send
from reelq.store.session import Transaction
from reelq.store.types import Utc

SHOWN: Final = 40
"""How many rows in motion a snapshot tells of: more than a terminal has lines for."""
QUIET_SECONDS: Final = 10.0
"""A batch whose work is overdue for so long has nobody who does it."""
FOR_THE_USER: Final = frozenset({Cause.CREDITS, Cause.PLAN, Cause.TOKEN, Cause.PAUSED})
"""What a row waits for that a person can change; a row that waits for another row goes on by itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """How many rows are at one place."""

    stage: Stage
    status: Status
    cause: Cause | None
    count: int


@dataclass(frozen=True, slots=True)
class Moving:
    """A row under way: what it is, where it is, and what was said of it last."""

    job_id: str
    row: int
    name: str
    file: str
    instruction: str
    stage: Stage
    status: Status
    words: str
    since: datetime
    """When it came to this stage."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What keeps an account from going on: a 429 until a moment, or a cause for which it is parked."""

    cause: Cause | None
    why: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A batch at one moment."""

    at: datetime
    batch_id: str
    name: str
    source: str
    out: str
    state: BatchState
    released: int | None
    limit_credits: int | None
    created_at: datetime
    finished_at: datetime | None
    places: tuple[Place, ...]
    held: int
    """Queued rows behind `released`: they begin when a person says so."""
    credits: int
    shared: bool
    """Whether some of the credits are a row's part of what several cost together."""
    rows: tuple[Moving, ...]
    holds: tuple[Hold, ...]
    tended: bool
    """Whether somebody seems to work on it; a batch at rest needs nobody."""
    twins_move: bool
    """Whether a row of another batch moves whose result rows of this one wait for."""

    def count(self, *statuses: Status) -> int:
        """How many rows have one of these statuses."""
        return sum(place.count for place in self.places if place.status in statuses)

    def waiting_for(self, *causes: Cause) -> int:
        """How many rows wait for one of these."""
        return sum(place.count for place in self.places if place.cause in causes)

    @property
    def total(self) -> int:
        """All rows of the batch."""
        return sum(place.count for place in self.places)

    @property
    def ended(self) -> int:
        """Rows that have come to their end, good or bad."""
        return self.count(*FINAL)

    @property
    def moving(self) -> int:
        """Rows that are at work, or begin without anybody's doing."""
        free = self.state is BatchState.ACTIVE
        return self.count(Status.RUNNING) + (self.count(Status.QUEUED) - self.held if free else 0)

    @property
    def at_rest(self) -> bool:
        """Whether nothing goes on unless a person does something; so too where everything has ended."""
        return self.moving == 0 and not self.twins_move

    @property
    def unfinished(self) -> int:
        """Rows that have not ended."""
        return self.total - self.ended


class Costs(NamedTuple):
    """What a batch cost so far."""

    credits: int
    shared: bool


def snapshot(
    session: Transaction, batch_id: str, now: datetime, *, shown: int = SHOWN, costs: Costs | None = None
) -> Snapshot:
    """The batch as it stands; of the rows in motion at most `shown`, those at work first.

    `costs` are given by those who know them already.
    """
    batch = session.get_one(Batch, batch_id, populate_existing=True)
    places = _places(session, batch_id)
    spent, shared = costs or costs_of(session, batch_id)
    open_ones = {place.status for place in places} - FINAL
    return Snapshot(
        at=now,
        batch_id=batch_id,
        name=batch.name,
        source=batch.source,
        out=batch.out,
        state=batch.state,
        released=batch.released,
        limit_credits=batch.limit_credits,
        created_at=batch.created_at,
        finished_at=batch.finished_at,
        places=places,
        held=_held(session, batch_id, batch.released),
        credits=spent,
        shared=shared,
        rows=_moving(session, batch_id, shown) if open_ones else (),
        holds=_holds(session, batch_id, now) if open_ones else (),
        tended=_tended(session, batch_id, batch.created_at, now),
        twins_move=_twins_move(session, batch_id) if Status.WAITING in open_ones else False,
    )


def goes_on(session: Transaction, batch_id: str) -> bool:
    """Whether something in it moves, or will by itself: `not at_rest`, for whoever needs to know no more than that."""
    batch = session.execute(select(Batch.state, Batch.released).where(Batch.id == batch_id)).one_or_none()
    if batch is None:
        return False
    free: ColumnElement[bool] = Job.status == Status.RUNNING
    if batch.state is BatchState.ACTIVE:
        released = () if batch.released is None else (or_(Job.admitted, Job.row <= batch.released),)
        free = or_(free, and_(Job.status == Status.QUEUED, *released))
    moves = select(Job.id).where(Job.batch_id == batch_id, free).limit(1)
    return session.execute(moves).first() is not None or _twins_move(session, batch_id)


def row_goes_on(session: Transaction, job_id: str) -> bool:
    """The same for one row: one that waits for another row goes on while anything in its batch does."""
    query = select(Job.status, Job.cause, Job.admitted, Job.row, Job.batch_id).where(Job.id == job_id)
    job = session.execute(query).one_or_none()
    if job is None or job.status in FINAL or job.cause in FOR_THE_USER:
        return False
    if job.status is Status.WAITING:
        return goes_on(session, job.batch_id)
    batch = session.execute(select(Batch.state, Batch.released).where(Batch.id == job.batch_id)).one()
    held = batch.released is not None and not job.admitted and job.row > batch.released
    return job.status is Status.RUNNING or (batch.state is BatchState.ACTIVE and not held)


def has_ended(session: Transaction, batch_id: str, job_id: str = "") -> bool:
    """Whether all its rows have come to their end; or the one that is named."""
    which = Job.id == job_id if job_id else Job.batch_id == batch_id
    return session.execute(select(Job.id).where(which, Job.status.not_in(FINAL)).limit(1)).first() is None


# What a look asks is put together once: to do it anew each time would take longer than most of the answers.
_HERE: Final = Job.batch_id == bindparam("batch_id")


_AT_EACH: Final = ", ".join(f"('{stage}', '{status}')" for status in Status for stage in Stage)
# Place by place: to count along an index takes half the time of sorting rows into groups. In words of SQL, as a
# statement with values in it would be put together anew each time.
_COUNTED: Final = text(
    f"WITH place (stage, status) AS (VALUES {_AT_EACH}) "  # noqa: S608 - the words of two enums
    "SELECT stage, status, (SELECT count(*) FROM jobs WHERE jobs.batch_id = :batch_id "
    "AND jobs.status = place.status AND jobs.stage = place.stage) FROM place"
)
_WAITING: Final = (
    select(Job.stage, Job.status, Job.cause, func.count())
    .where(_HERE, Job.status == Status.WAITING)
    .group_by(Job.status, Job.stage, Job.cause)
)


def _places(session: Transaction, batch_id: str) -> tuple[Place, ...]:
    here = {"batch_id": batch_id}
    counted = [(Stage(stage), Status(status), count) for stage, status, count in session.execute(_COUNTED, here)]
    places = [Place(stage, status, None, count) for stage, status, count in counted if count]
    if any(place.status is Status.WAITING for place in places):
        places = [place for place in places if place.status is not Status.WAITING]
        places += [Place(*row) for row in session.execute(_WAITING, here)]
    order = {status: at for at, status in enumerate(Status)}
    return tuple(sorted(places, key=lambda place: (order[place.status], list(Stage).index(place.stage))))


def _held(session: Transaction, batch_id: str, released: int | None) -> int:
    if released is None:
        return 0
    waits = (Job.batch_id == batch_id, Job.status == Status.QUEUED, Job.admitted.is_(False))
    count = select(func.count()).where(*waits)
    # The few in front taken from all: an index counts each, where one for those behind would have to read every row.
    in_front = session.execute(count.where(Job.row <= released)).scalar_one()
    return int(session.execute(count).scalar_one() - in_front)


_SENT: Final = Send.batch_id == bindparam("batch_id")
_SPENT: Final = select(func.coalesce(func.sum(Send.cost), 0)).where(_SENT)
_SHARED: Final = select(Send.id).where(_SENT, Send.shared.is_(True), Send.cost > 0).limit(1)


def costs_of(session: Transaction, batch_id: str) -> Costs:
    """What it cost, and whether some of that is a row's part of what several cost together."""
    here = {"batch_id": batch_id}
    return Costs(int(session.execute(_SPENT, here).scalar_one()), session.execute(_SHARED, here).first() is not None)


def _rows() -> Select[*tuple[Any, ...]]:
    told, begun = aliased(JobEvent), aliased(JobEvent)
    last = select(func.max(told.id)).where(told.job_id == Job.id).scalar_subquery()
    in_stage = (begun.job_id == Job.id, begun.run == Job.run, begun.stage == Job.stage)
    came = select(func.min(begun.at)).where(*in_stage).scalar_subquery()
    what = (Job.id, Job.row, Job.name, Job.file, Job.instruction, Job.stage, Job.status)
    query = select(*what, func.coalesce(JobEvent.words, ""), func.coalesce(came, Job.due_at)).outerjoin(
        JobEvent, JobEvent.id == last
    )
    return query.where(_HERE).order_by(Job.row).limit(bindparam("most"))


_AT_WORK: Final = _rows().where(Job.status == Status.RUNNING)
_BEGUN: Final = _rows().where(Job.status == Status.QUEUED, Job.admitted.is_(True), Job.started_at.is_not(None))


def _moving(session: Transaction, batch_id: str, most: int) -> tuple[Moving, ...]:
    found: list[Moving] = []
    for which in (_AT_WORK, _BEGUN):
        rows: Any = session.execute(which, {"batch_id": batch_id, "most": most - len(found)})
        found += [Moving(*row) for row in rows]
    return tuple(found)


def _holding() -> Select[*tuple[Any, ...]]:
    mine = (_HERE, Job.account_id == Account.id)
    parked = exists().where(*mine, Job.status == Status.WAITING, Job.cause == Account.parked)
    begun = exists().where(*mine, Job.status.in_((Status.QUEUED, Status.RUNNING)), Job.admitted)
    blocked = and_(Account.blocked_until > bindparam("now", type_=Utc), begun)
    return select(Account.parked, Account.parked_why, Account.parked_until, Account.blocked_until).where(
        or_(and_(Account.parked.is_not(None), parked), blocked)
    )


_HOLDING: Final = _holding()


def _holds(session: Transaction, batch_id: str, now: datetime) -> tuple[Hold, ...]:
    return tuple(
        Hold(cause, why, until) if cause else Hold(None, "the service asks for fewer requests (429)", blocked)
        for cause, why, until, blocked in session.execute(_HOLDING, {"batch_id": batch_id, "now": now})
    )


_LEASED: Final = (
    select(Job.id).where(_HERE, Job.status == Status.RUNNING, Job.lease_until > bindparam("now", type_=Utc)).limit(1)
)
_SAID: Final = (
    select(JobEvent.at)
    .where(JobEvent.batch_id == bindparam("batch_id"))
    .order_by(JobEvent.tx.desc(), JobEvent.id.desc())
    .limit(1)
)
_DUE: Final = select(func.min(Job.publish_at)).where(_HERE, Job.status == Status.QUEUED, Job.admitted)


def _tended(session: Transaction, batch_id: str, began: datetime, now: datetime) -> bool:
    """Whether a live lease is held, or something happened lately, or nothing is overdue."""
    here = {"batch_id": batch_id}
    if session.execute(_LEASED, here | {"now": now}).first():
        return True
    lately = now - timedelta(seconds=QUIET_SECONDS)
    last: datetime | None = session.execute(_SAID, here).scalar_one_or_none()
    if (last or began) > lately:
        return True
    due: datetime | None = session.execute(_DUE, here).scalar_one()
    return due is not None and due > lately


def anybody_at_work(session: Transaction, now: datetime) -> bool:
    """Whether somebody works on anything at all: a batch that is behind others is not one that nobody works on."""
    leased = select(Job.id).where(Job.status == Status.RUNNING, Job.lease_until > now).limit(1)
    last = session.execute(select(JobEvent.at).order_by(JobEvent.id.desc()).limit(1)).scalar_one_or_none()
    lately = now - timedelta(seconds=QUIET_SECONDS)
    return (last is not None and last > lately) or session.execute(leased).first() is not None


def _movable() -> Select[*tuple[Any, ...]]:
    original = aliased(Job)
    twins = (_HERE, Job.status == Status.WAITING, Job.cause == Cause.TWIN)
    return select(original.id).join(Job, Job.same_as == original.id).where(*twins, scope.goes_on(original)).limit(1)


_MOVABLE: Final = _movable()


def _twins_move(session: Transaction, batch_id: str) -> bool:
    return session.execute(_MOVABLE, {"batch_id": batch_id}).first() is not None
