"""Metrics of the whole deployment, for Prometheus.

They cover all owners together and name none of them. They are scraped every few seconds, so sums that only grow are
updated instead of computed anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import Row, Select, bindparam, column, func, or_, select, text

from reelq.job import FINAL, PIPELINE, Cause, Status
from reelq.store.db.client_models import DeliveryState, Webhook, WebhookDelivery
from reelq.store.db.engine import Transaction
from reelq.store.db.migrations import newest, revision_of
from reelq.store.db.models import Account, Batch, BatchState, CreditReading, Job, JobEvent
from reelq.store.db.types import Utc

_PARKING_CAUSES: Final = (Cause.CREDITS, Cause.PLAN, Cause.TOKEN)


@dataclass(slots=True)
class ReadingSums:
    """The sums over the readings of one account up to `last_id`. Its readings never overlap, so sums can be kept."""

    last_id: int = 0
    first: int = 0
    topped_up: int = 0
    unattributed: int = 0


def collect(session: Transaction, now: datetime, sums: dict[str, ReadingSums]) -> Iterator[Metric]:
    """Compute all metrics. `sums` holds the sums of each account; the caller keeps it between scrapes."""
    accounts = session.execute(select(Account.id, Account.window, Account.blocked_until, Account.parked)).all()
    in_flight: dict[str, int] = dict(session.execute(_IN_FLIGHT).all())
    yield from _jobs(session)
    yield from _delays(session, now, [row.id for row in accounts if in_flight.get(row.id, 0) < int(row.window)])
    yield gauge("reelq_batches", "Batches, by state", _batches(session), "state")
    yield from _limits(accounts, in_flight, now)
    yield from _credits(session, [row.id for row in accounts], sums)
    yield from _webhooks(session, now)
    revision = revision_of(session.connection()) or ""
    current = {revision: int(revision == newest())}
    yield gauge("reelq_schema_current", "Whether the database has this program's version", current, "version")


def gauge(name: str, help_text: str, values: Mapping[Any, float], *labels: str) -> Metric:
    """A gauge with a value for each value of its label, or for each tuple of values if it has several labels."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key if isinstance(key, tuple) else [key], value)
    return family


_JOBS: Final = select(Job.stage, Job.status, Job.cause, func.count()).group_by(Job.stage, Job.status, Job.cause)


def _jobs(session: Transaction) -> Iterator[Metric]:
    counts = {(stage, status): 0 for stage in PIPELINE for status in Status}
    waiting = dict.fromkeys(Cause, 0)
    for stage, status, cause, count in session.execute(_JOBS):
        counts[stage, status] += count
        if cause:
            waiting[cause] += count
    yield gauge("reelq_jobs", "Rows at this stage with this status", counts, "stage", "status")
    yield gauge("reelq_jobs_waiting", "Waiting rows, by cause", waiting, "cause")


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


def _delays(session: Transaction, now: datetime, with_room: Iterable[str]) -> Iterator[Metric]:
    overdue, late_seconds = _lateness(session, now, with_room)
    yield gauge("reelq_jobs_overdue", "Due rows that no worker has claimed", {(): overdue})
    open_statuses = [status for status in Status if status not in FINAL]
    submitted = {status: session.execute(_OLDEST, {"status": status}).scalar_one_or_none() for status in open_statuses}
    ages = {status: _seconds(moment, now) if moment else 0.0 for status, moment in submitted.items()}
    yield gauge("reelq_job_oldest_seconds", "Age of the oldest batch that has rows with this status", ages, "status")
    yield gauge("reelq_queue_late_seconds", "How long the oldest due work has waited", {(): late_seconds})


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


def _limits(
    accounts: Sequence[Row[Any, Any, Any, Any]], in_flight: Mapping[str, int], now: datetime
) -> Iterator[Metric]:
    counts = {row.id: in_flight.get(row.id, 0) for row in accounts}
    yield gauge("reelq_account_in_flight", "Rows of the account in progress", counts, "account")
    windows = {row.id: int(row.window) for row in accounts}
    yield gauge("reelq_account_window", "Maximum rows in progress at once", windows, "account")
    blocked = {row.id: _seconds(now, row.blocked_until) if row.blocked_until else 0.0 for row in accounts}
    yield gauge("reelq_account_blocked_seconds", "Seconds until the account resumes after a 429", blocked, "account")
    parked = {(row.id, cause): int(row.parked is cause) for row in accounts for cause in _PARKING_CAUSES}
    yield gauge("reelq_account_parked", "1 while it is parked for this", parked, "account", "cause")


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


def _credits(session: Transaction, account_ids: Iterable[str], sums: dict[str, ReadingSums]) -> Iterator[Metric]:
    """The balance and the sums of each account whose balance has been read; reads only what is new since last time."""
    balance: dict[tuple[str, str], int] = {}
    read_at: dict[str, float] = {}
    spent = CounterMetricFamily("reelq_account_credits_spent", "Total credits spent", labels=("account",))
    unattributed = CounterMetricFamily(
        "reelq_account_credits_unattributed", "Credits spent that no row was charged for", labels=("account",)
    )
    topped_up = CounterMetricFamily("reelq_account_credits_topped_up", "Total credits added", labels=("account",))
    for account_id in account_ids:
        last = session.execute(_LAST_READING, {"account_id": account_id}).one_or_none()
        if last is None:
            continue
        known = _add_new_readings(session, account_id, sums.setdefault(account_id, ReadingSums()), last.id)
        balance |= {(account_id, "available"): last.available, (account_id, "frozen"): last.frozen}
        read_at[account_id] = last.at.timestamp()
        spent.add_metric([account_id], known.first + known.topped_up - (last.available + last.frozen))
        unattributed.add_metric([account_id], known.unattributed)
        topped_up.add_metric([account_id], known.topped_up)
    yield gauge("reelq_account_credits", "Balance at its last reading", balance, "account", "kind")
    yield gauge("reelq_account_credits_read_timestamp_seconds", "Time of the last balance reading", read_at, "account")
    yield from (spent, unattributed, topped_up)


def _add_new_readings(session: Transaction, account_id: str, known: ReadingSums, last_id: int) -> ReadingSums:
    if not known.last_id:
        known.first = session.execute(_FIRST_READING, {"account_id": account_id}).scalar_one()
    span = {"account_id": account_id, "after": known.last_id, "last": last_id}
    topped_up, unattributed = session.execute(_NEW_READINGS, span).one()
    known.last_id = last_id
    known.topped_up += int(topped_up)
    known.unattributed += int(unattributed)
    return known


_UNDELIVERED: Final = text(
    "SELECT state, count(*), min(created_at) AS oldest FROM webhook_deliveries WHERE state <> 'delivered' "
    "GROUP BY state"
).columns(WebhookDelivery.state, column("count"), column("oldest", Utc()))
"""Plain SQL, so that the condition matches that of the partial index literally. Arrived ones are too many to count."""


def _webhooks(session: Transaction, now: datetime) -> Iterator[Metric]:
    query = select(func.count(), func.count(Webhook.disabled_at)).select_from(Webhook)
    total, disabled = session.execute(query).one()
    yield gauge("reelq_webhooks", "Endpoints", {"active": total - disabled, "disabled": disabled}, "state")
    deliveries = dict.fromkeys((DeliveryState.PENDING, DeliveryState.FAILED), 0)
    oldest = 0.0
    for state, count, since in session.execute(_UNDELIVERED):
        deliveries[state] = count
        oldest = _seconds(since, now) if state is DeliveryState.PENDING else oldest
    yield gauge("reelq_webhook_deliveries", "Undelivered messages, by state", deliveries, "state")
    yield gauge("reelq_webhook_oldest_pending_seconds", "How long the oldest message has been pending", {(): oldest})


def _seconds(since: datetime, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0)
