"""Metrics of the whole deployment, for Prometheus.

They cover all owners together and name none of them. They are scraped every few seconds, so sums that only grow are
updated instead of computed anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, bindparam, column, func, or_, select, text

from reelq.job import FINAL, Cause, Status
from reelq.store.db.client_models import DeliveryState, Webhook, WebhookDelivery
from reelq.store.db.engine import Transaction
from reelq.store.db.migrations import newest, revision_of
from reelq.store.db.models import Account, Batch, BatchState, CreditReading, Job, JobEvent
from reelq.store.db.types import Utc
from reelq.store.queries.batch_status import Place

OPEN: Final = tuple(status for status in Status if status not in FINAL)


@dataclass(frozen=True, slots=True)
class Balance:
    """The last reading of an account's balance, and the sums over all readings."""

    at: datetime
    available: int
    frozen: int
    spent: int
    unattributed: int
    topped_up: int


@dataclass(frozen=True, slots=True)
class AccountMetrics:
    """The load, the limits and the balance of an account."""

    account_id: str
    in_flight: int
    window: int
    blocked_seconds: float
    parked: Cause | None
    purse: Balance | None
    """None if the balance has never been read."""


@dataclass(frozen=True, slots=True)
class WebhookMetrics:
    """The number of endpoints, and the deliveries that have not arrived."""

    active: int
    disabled: int
    deliveries: Mapping[DeliveryState, int]
    """Pending and failed deliveries; those that arrived are too many to count here, so workers count them."""
    oldest_pending_seconds: float


@dataclass(frozen=True, slots=True)
class DeploymentMetrics:
    """The state of the deployment at one time."""

    places: tuple[Place, ...]
    overdue: int
    late_seconds: float
    oldest_seconds: Mapping[Status, float]
    batches: Mapping[str, int]
    accounts: tuple[AccountMetrics, ...]
    webhooks: WebhookMetrics
    schema: str
    schema_is_current: bool


@dataclass(slots=True)
class _Sums:
    """The sums over one account's readings up to `last_id`."""

    last_id: int = 0
    first: int = 0
    topped_up: int = 0
    unattributed: int = 0


@dataclass(slots=True)
class ReadingSums:
    """The sums over all readings, kept between scrapes. This works because readings of an account never overlap."""

    _sums: dict[str, _Sums] = field(default_factory=dict)

    def purse(self, session: Transaction, account_id: str) -> Balance | None:
        """The account's balance and sums; reads only what is new since the last call."""
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
        return Balance(last.at, last.available, last.frozen, spent, sums.unattributed, sums.topped_up)


def collect(session: Transaction, now: datetime, ledger: ReadingSums) -> DeploymentMetrics:
    """Compute all metrics."""
    accounts = tuple(_accounts(session, now, ledger))
    with_room = [account.account_id for account in accounts if account.in_flight < account.window]
    overdue, late_seconds = _lateness(session, now, with_room)
    revision = revision_of(session.connection()) or ""
    return DeploymentMetrics(
        places=tuple(Place(*row) for row in session.execute(_PLACES)),
        overdue=overdue,
        late_seconds=late_seconds,
        oldest_seconds=_oldest(session, now),
        batches=_batches(session),
        accounts=accounts,
        webhooks=_webhooks(session, now),
        schema=revision,
        schema_is_current=revision == newest(),
    )


_OF_ACCOUNT: Final = CreditReading.account_id == bindparam("account_id")
_LAST_READING: Final = (
    select(CreditReading.id, CreditReading.at, CreditReading.available, CreditReading.frozen)
    .where(_OF_ACCOUNT)
    .order_by(CreditReading.id.desc())
    .limit(1)
)
_FIRST_READING: Final = (
    select(CreditReading.available + CreditReading.frozen).where(_OF_ACCOUNT).order_by(CreditReading.id).limit(1)
)
_NEW_READINGS: Final = select(
    func.coalesce(func.sum(CreditReading.top_up), 0), func.coalesce(func.sum(CreditReading.unattributed), 0)
).where(_OF_ACCOUNT, CreditReading.id > bindparam("after"), CreditReading.id <= bindparam("last"))
_PLACES: Final = select(Job.stage, Job.status, Job.cause, func.count()).group_by(Job.stage, Job.status, Job.cause)
_NOW: Final = bindparam("now", type_=Utc)
_ADMITTED: Final = (Job.status == Status.QUEUED, Job.admitted)
_OVERDUE: Final = select(func.count(), func.min(Job.due_at)).where(*_ADMITTED, Job.due_at <= _NOW)


def _startable_query() -> Select[datetime]:
    """When some row became due that the account could start if it has room; any such row will do."""
    not_admitted = (Job.batch_id == Batch.id, Job.status == Status.QUEUED, Job.admitted.is_(False))
    released = or_(Batch.released.is_(None), Job.row <= Batch.released)
    due = (Job.account_id == bindparam("account_id"), Job.due_at <= _NOW)
    # Batch by batch, stopping at the first row: PostgreSQL would plan a join for all rows, and sort them.
    due_row = select(Job.due_at).where(*not_admitted, *due, released).limit(1).correlate(Batch).scalar_subquery()
    is_active = (Batch.finished_at.is_(None), Batch.state == BatchState.ACTIVE, due_row.is_not(None))
    return select(due_row).where(*is_active).limit(1)


_STARTABLE: Final = _startable_query()
_LAST_EVENT: Final = select(JobEvent.at).order_by(JobEvent.id.desc()).limit(1)


def _lateness(session: Transaction, now: datetime, with_room: Iterable[str]) -> tuple[int, float]:
    """The number of rows that are overdue for a worker, and for how many seconds the oldest is.

    Without a worker no rows are admitted either. Then it is the time since the last event while an account with room
    had a row to start.
    """
    overdue, since = session.execute(_OVERDUE, {"now": now}).one()
    moments = [since] if overdue else []
    for account_id in with_room:
        due = session.execute(_STARTABLE, {"account_id": account_id, "now": now}).scalar_one_or_none()
        if due is not None:
            last = session.execute(_LAST_EVENT).scalar_one_or_none()
            moments.append(max(due, last) if last else due)
    return overdue, _seconds(min(moments), now) if moments else 0.0


def _oldest_query() -> Select[datetime]:
    """When the oldest unfinished batch with a row of this status was submitted; reads one row per batch at most."""
    rows = select(Job.id).where(Job.batch_id == Batch.id, Job.status == bindparam("status", type_=Job.status.type))
    has_row = rows.limit(1).correlate(Batch).scalar_subquery().is_not(None)
    return select(Batch.created_at).where(Batch.finished_at.is_(None), has_row).order_by(Batch.id).limit(1)


_OLDEST: Final = _oldest_query()


def _oldest(session: Transaction, now: datetime) -> Mapping[Status, float]:
    submitted = {status: session.execute(_OLDEST, {"status": status}).scalar_one_or_none() for status in OPEN}
    return {status: _seconds(moment, now) if moment else 0.0 for status, moment in submitted.items()}


_FINISHED: Final = "finished"


def _batches(session: Transaction) -> Mapping[str, int]:
    query = select(Batch.state, Batch.finished_at.is_not(None), func.count())
    counts = dict.fromkeys((*map(str, BatchState), _FINISHED), 0)
    for state, finished, count in session.execute(query.group_by(Batch.state, Batch.finished_at.is_not(None))):
        counts[_FINISHED if finished else str(state)] += count
    return counts


_IN_FLIGHT: Final = (
    select(Job.account_id, func.count())
    .where(Job.admitted, Job.status.in_((Status.QUEUED, Status.RUNNING)))
    .group_by(Job.account_id)
)


def _accounts(session: Transaction, now: datetime, ledger: ReadingSums) -> list[AccountMetrics]:
    in_flight: dict[str, int] = dict(session.execute(_IN_FLIGHT).all())
    rows = session.execute(select(Account.id, Account.window, Account.blocked_until, Account.parked)).all()
    return [
        AccountMetrics(
            row.id,
            in_flight.get(row.id, 0),
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
"""Plain SQL, so that the condition matches that of the partial index literally."""


def _webhooks(session: Transaction, now: datetime) -> WebhookMetrics:
    deliveries = dict.fromkeys((DeliveryState.PENDING, DeliveryState.FAILED), 0)
    oldest = 0.0
    for state, count, since in session.execute(_UNDELIVERED):
        deliveries[state] = count
        oldest = _seconds(since, now) if state is DeliveryState.PENDING else oldest
    query = select(func.count(), func.count(Webhook.disabled_at)).select_from(Webhook)
    total, disabled = session.execute(query).one()
    return WebhookMetrics(total - disabled, disabled, deliveries, oldest)


def _seconds(since: datetime, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0)
