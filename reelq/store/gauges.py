"""How the whole deployment stands, in figures: where rows are, how late they are, accounts, batches, webhooks.

All owners together, and no name of any of them. Asked every few seconds, for ever: what only grows is added to, not
counted anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, bindparam, column, func, or_, select, text

from reelq.job import FINAL, Cause, Status
from reelq.store.clients import DeliveryState, Webhook, WebhookDelivery
from reelq.store.models import Account, Batch, BatchState, CreditReading, Job, JobEvent
from reelq.store.overview import Place
from reelq.store.schema import newest, revision_of
from reelq.store.session import Transaction
from reelq.store.types import Utc

OPEN: Final = tuple(status for status in Status if status not in FINAL)


@dataclass(frozen=True, slots=True)
class Purse:
    """An account's balance as it was read last, and what the readings add up to."""

    at: datetime
    available: int
    frozen: int
    spent: int
    unattributed: int
    topped_up: int


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """What holds an account back, and what it has."""

    account_id: str
    in_flight: int
    window: int
    blocked_seconds: float
    parked: Cause | None
    purse: Purse | None
    """None where the balance was never read."""


@dataclass(frozen=True, slots=True)
class WebhookFigures:
    """Who is to be told, and what has not arrived."""

    active: int
    disabled: int
    deliveries: Mapping[DeliveryState, int]
    """Those that are on their way, or were given up; there are many of the others, and workers count them."""
    oldest_pending_seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The deployment at one moment."""

    places: tuple[Place, ...]
    overdue: int
    late_seconds: float
    oldest_seconds: Mapping[Status, float]
    batches: Mapping[str, int]
    accounts: tuple[AccountFigures, ...]
    webhooks: WebhookFigures
    schema: str
    schema_is_current: bool


@dataclass(slots=True)
class _Sums:
    """What one account's readings came to, as far as they were looked at."""

    last_id: int = 0
    first: int = 0
    topped_up: int = 0
    unattributed: int = 0


@dataclass(slots=True)
class Ledger:
    """The sums over all readings, kept from one look to the next; an account's readings are made one after another."""

    _sums: dict[str, _Sums] = field(default_factory=dict)

    def purse(self, session: Transaction, account_id: str) -> Purse | None:
        """How the account's balance stands; only what is new since the last look is read."""
        last: Any = session.execute(_LAST_READING, {"account_id": account_id}).one_or_none()
        if last is None:
            return None
        sums = self._sums.setdefault(account_id, _Sums())
        if not sums.last_id:
            sums.first = session.execute(_FIRST_READING, {"account_id": account_id}).scalar_one()
        span = {"account_id": account_id, "after": sums.last_id, "last": last.id}
        topped_up, unattributed = session.execute(_NEW_READINGS, span).one()
        sums.last_id = last.id
        sums.topped_up += int(topped_up)
        sums.unattributed += int(unattributed)
        spent = sums.first + sums.topped_up - (last.available + last.frozen)
        return Purse(last.at, last.available, last.frozen, spent, sums.unattributed, sums.topped_up)


def figures(session: Transaction, now: datetime, ledger: Ledger) -> Figures:
    """All of them."""
    accounts = tuple(_accounts(session, now, ledger))
    roomy = [each.account_id for each in accounts if each.in_flight < each.window]
    overdue, late = _lateness(session, now, roomy)
    found = revision_of(session.connection()) or ""
    return Figures(
        places=tuple(Place(*row) for row in session.execute(_PLACES)),
        overdue=overdue,
        late_seconds=late,
        oldest_seconds=_oldest(session, now),
        batches=_batches(session),
        accounts=accounts,
        webhooks=_webhooks(session, now),
        schema=found,
        schema_is_current=found == newest(),
    )


_MINE: Final = CreditReading.account_id == bindparam("account_id")
_LAST_READING: Final = (
    select(CreditReading.id, CreditReading.at, CreditReading.available, CreditReading.frozen)
    .where(_MINE)
    .order_by(CreditReading.id.desc())
    .limit(1)
)
_FIRST_READING: Final = (
    select(CreditReading.available + CreditReading.frozen).where(_MINE).order_by(CreditReading.id).limit(1)
)
_NEW_READINGS: Final = select(
    func.coalesce(func.sum(CreditReading.top_up), 0), func.coalesce(func.sum(CreditReading.unattributed), 0)
).where(_MINE, CreditReading.id > bindparam("after"), CreditReading.id <= bindparam("last"))

_PLACES: Final = select(Job.stage, Job.status, Job.cause, func.count()).group_by(Job.stage, Job.status, Job.cause)
_NOW: Final = bindparam("now", type_=Utc)
_LET_IN: Final = (Job.status == Status.QUEUED, Job.admitted)
_OVERDUE: Final = select(func.count(), func.min(Job.due_at)).where(*_LET_IN, Job.due_at <= _NOW)


def _startable() -> Select[datetime]:
    """Since when a row has been due that its account could begin, if it has room for one: any such row will do."""
    here = (Job.batch_id == Batch.id, Job.status == Status.QUEUED, Job.admitted.is_(False))
    released = or_(Batch.released.is_(None), Job.row <= Batch.released)
    mine = (Job.account_id == bindparam("account_id"), Job.due_at <= _NOW)
    # Batch by batch, and no further than to the first: as a join it would be planned for all rows, and sorted.
    one = select(Job.due_at).where(*here, *mine, released).limit(1).correlate(Batch).scalar_subquery()
    begun = (Batch.finished_at.is_(None), Batch.state == BatchState.ACTIVE, one.is_not(None))
    return select(one).where(*begun).limit(1)


_STARTABLE: Final = _startable()
_LAST_EVENT: Final = select(JobEvent.at).order_by(JobEvent.id.desc()).limit(1)


def _lateness(session: Transaction, now: datetime, roomy: Iterable[str]) -> tuple[int, float]:
    """How many rows wait for a worker to take them, and since when.

    Nobody lets rows in where nobody works: then it is how long nothing has happened, though an account with room had a
    row to begin.
    """
    overdue, since = session.execute(_OVERDUE, {"now": now}).one()
    moments = [since] if overdue else []
    for account_id in roomy:
        due = session.execute(_STARTABLE, {"account_id": account_id, "now": now}).scalar_one_or_none()
        if due is not None:
            last = session.execute(_LAST_EVENT).scalar_one_or_none()
            moments.append(max(due, last) if last else due)
    return overdue, _seconds(min(moments), now) if moments else 0.0


def _oldest_with() -> Select[datetime]:
    """When the oldest batch with a row of this status was handed in; of the rows themselves none is looked at twice."""
    some = select(Job.id).where(Job.batch_id == Batch.id, Job.status == bindparam("status", type_=Job.status.type))
    has_one = some.limit(1).correlate(Batch).scalar_subquery().is_not(None)
    return select(Batch.created_at).where(Batch.finished_at.is_(None), has_one).order_by(Batch.id).limit(1)


_OLDEST: Final = _oldest_with()


def _oldest(session: Transaction, now: datetime) -> Mapping[Status, float]:
    began = {status: session.execute(_OLDEST, {"status": status}).scalar_one_or_none() for status in OPEN}
    return {status: _seconds(moment, now) if moment else 0.0 for status, moment in began.items()}


_FINISHED: Final = "finished"


def _batches(session: Transaction) -> Mapping[str, int]:
    query = select(Batch.state, Batch.finished_at.is_not(None), func.count())
    counted = dict.fromkeys((*map(str, BatchState), _FINISHED), 0)
    for state, finished, count in session.execute(query.group_by(Batch.state, Batch.finished_at.is_not(None))):
        counted[_FINISHED if finished else str(state)] += count
    return counted


_FLYING: Final = (
    select(Job.account_id, func.count())
    .where(Job.admitted, Job.status.in_((Status.QUEUED, Status.RUNNING)))
    .group_by(Job.account_id)
)


def _accounts(session: Transaction, now: datetime, ledger: Ledger) -> list[AccountFigures]:
    flying: dict[str, int] = dict(session.execute(_FLYING).all())
    rows = session.execute(select(Account.id, Account.window, Account.blocked_until, Account.parked)).all()
    return [
        AccountFigures(
            row.id,
            flying.get(row.id, 0),
            int(row.window),
            max((row.blocked_until - now).total_seconds(), 0.0) if row.blocked_until else 0.0,
            row.parked,
            ledger.purse(session, row.id),
        )
        for row in rows
    ]


_UNDELIVERED: Final = text(
    "SELECT state, count(*), min(created_at) AS oldest FROM webhook_deliveries WHERE state <> 'delivered' "
    "GROUP BY state"
).columns(WebhookDelivery.state, column("count"), column("oldest", Utc()))
"""In words, as an index serves it that is made for these words."""


def _webhooks(session: Transaction, now: datetime) -> WebhookFigures:
    deliveries = dict.fromkeys((DeliveryState.PENDING, DeliveryState.FAILED), 0)
    oldest = 0.0
    for state, count, since in session.execute(_UNDELIVERED):
        deliveries[state] = count
        oldest = _seconds(since, now) if state is DeliveryState.PENDING else oldest
    hooks = select(func.count(), func.count(Webhook.disabled_at)).select_from(Webhook)
    everybody, disabled = session.execute(hooks).one()
    return WebhookFigures(everybody - disabled, disabled, deliveries, oldest)


def _seconds(since: datetime, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0)
