"""Reading the queue for people: where a batch stands, what moves in it, what holds it up; cheap enough to ask often."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import aliased

from reelq.job import FINAL, Cause, Stage, Status
from reelq.store.models import Account, Batch, BatchState, Job, JobEvent, Send
from reelq.store.session import Transaction

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


def snapshot(session: Transaction, batch_id: str, now: datetime, *, shown: int = SHOWN) -> Snapshot:
    """The batch as it stands; of the rows in motion at most `shown`, those at work first."""
    batch = session.get_one(Batch, batch_id, populate_existing=True)
    places = _places(session, batch_id)
    spent, shared = _spent(session, batch_id)
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
        places=places,
        held=_held(session, batch_id, batch.released),
        credits=spent,
        shared=shared,
        rows=_moving(session, batch_id, shown) if open_ones else (),
        holds=_holds(session, batch_id, now) if open_ones else (),
        tended=_tended(session, batch_id, batch.created_at, now),
        twins_move=_twins_move(session, batch_id) if Status.WAITING in open_ones else False,
    )


def _places(session: Transaction, batch_id: str) -> tuple[Place, ...]:
    where = (Job.stage, Job.status, Job.cause)
    query = select(*where, func.count()).where(Job.batch_id == batch_id).group_by(*where)
    order = {status: at for at, status in enumerate(Status)}
    found = [Place(*row) for row in session.execute(query)]
    return tuple(sorted(found, key=lambda place: (order[place.status], list(Stage).index(place.stage))))


def _held(session: Transaction, batch_id: str, released: int | None) -> int:
    if released is None:
        return 0
    waits = (Job.batch_id == batch_id, Job.status == Status.QUEUED, Job.admitted.is_(False))
    count = select(func.count()).where(*waits)
    # The few in front taken from all: an index counts each, where one for those behind would have to read every row.
    in_front = session.execute(count.where(Job.row <= released)).scalar_one()
    return int(session.execute(count).scalar_one() - in_front)


def _spent(session: Transaction, batch_id: str) -> tuple[int, bool]:
    shared = func.max(case((and_(Send.shared, Send.cost > 0), 1), else_=0))
    query = select(func.coalesce(func.sum(Send.cost), 0), func.coalesce(shared, 0))
    spent, part = session.execute(query.join(Job, Job.id == Send.job_id).where(Job.batch_id == batch_id)).one()
    return int(spent), bool(part)


def _moving(session: Transaction, batch_id: str, most: int) -> tuple[Moving, ...]:
    at_work = _rows(session, most, Job.batch_id == batch_id, Job.status == Status.RUNNING)
    begun = (
        Job.batch_id == batch_id,
        Job.status == Status.QUEUED,
        Job.admitted.is_(True),
        Job.started_at.is_not(None),
    )
    return (*at_work, *_rows(session, most - len(at_work), *begun))


def _rows(session: Transaction, most: int, *where: ColumnElement[bool]) -> list[Moving]:
    told, begun = aliased(JobEvent), aliased(JobEvent)
    last = select(func.max(told.id)).where(told.job_id == Job.id).scalar_subquery()
    in_stage = (begun.job_id == Job.id, begun.run == Job.run, begun.stage == Job.stage)
    came = select(func.min(begun.at)).where(*in_stage).scalar_subquery()
    what = (Job.id, Job.row, Job.name, Job.file, Job.instruction, Job.stage, Job.status)
    query = select(*what, JobEvent.words, func.coalesce(came, Job.due_at)).outerjoin(JobEvent, JobEvent.id == last)
    rows = session.execute(query.where(*where).order_by(Job.row).limit(most))
    return [Moving(*row[:7], row[7] or "", row[8]) for row in rows]


def _holds(session: Transaction, batch_id: str, now: datetime) -> tuple[Hold, ...]:
    mine = (Job.batch_id == batch_id, Job.account_id == Account.id)
    parked = exists().where(*mine, Job.status == Status.WAITING, Job.cause == Account.parked)
    begun = exists().where(*mine, Job.status.in_((Status.QUEUED, Status.RUNNING)), Job.admitted)
    accounts = session.execute(
        select(Account.parked, Account.parked_why, Account.parked_until, Account.blocked_until).where(
            or_(and_(Account.parked.is_not(None), parked), and_(Account.blocked_until > now, begun))
        )
    )
    return tuple(
        Hold(cause, why, until) if cause else Hold(None, "the service asks for fewer requests (429)", blocked)
        for cause, why, until, blocked in accounts
    )


def _tended(session: Transaction, batch_id: str, began: datetime, now: datetime) -> bool:
    """Whether a live lease is held, or something happened lately, or nothing is overdue."""
    leased = select(Job.id).where(Job.batch_id == batch_id, Job.status == Status.RUNNING, Job.lease_until > now)
    if session.execute(leased.limit(1)).first():
        return True
    lately = now - timedelta(seconds=QUIET_SECONDS)
    said = select(JobEvent.at).where(JobEvent.batch_id == batch_id).order_by(JobEvent.id.desc()).limit(1)
    last: datetime | None = session.execute(said).scalar_one_or_none()
    if (last or began) > lately:
        return True
    begun = (Job.batch_id == batch_id, Job.status == Status.QUEUED, Job.admitted)
    due: datetime | None = session.execute(select(func.min(Job.publish_at)).where(*begun)).scalar_one()
    return due is not None and due > lately


def anybody_at_work(session: Transaction, now: datetime) -> bool:
    """Whether somebody works on anything at all: a batch that is behind others is not one that nobody works on."""
    leased = select(Job.id).where(Job.status == Status.RUNNING, Job.lease_until > now).limit(1)
    last = session.execute(select(JobEvent.at).order_by(JobEvent.id.desc()).limit(1)).scalar_one_or_none()
    lately = now - timedelta(seconds=QUIET_SECONDS)
    return (last is not None and last > lately) or session.execute(leased).first() is not None


def _twins_move(session: Transaction, batch_id: str) -> bool:
    original = aliased(Job)
    query = select(original.id).join(Job, Job.same_as == original.id)
    twins = (Job.batch_id == batch_id, Job.status == Status.WAITING, Job.cause == Cause.TWIN)
    moves = original.status.in_((Status.QUEUED, Status.RUNNING))
    return session.execute(query.where(*twins, moves).limit(1)).first() is not None
