"""Webhook deliveries: which are due, who claims them, and when a failed one is tried again.

A delivery's `attempts` is its fence: an attempt writes its result only while it is the newest. While an attempt is in
progress, or published to a worker, `error` is empty and `due_at` is when the attempt counts as lost.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, func, select, text, update

from reelq.store.db.client_models import DeliveryState, Webhook, WebhookDelivery
from reelq.store.db.engine import Transaction
from reelq.store.db.statements import execute_dml

RETRY_DELAYS: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds between attempts. A delivery fails for good when the attempt after the last wait fails."""
LOST_AFTER_SECONDS: Final = 60.0
"""An attempt counts as lost this long after it was published or claimed, and is then repeated."""
AT_ONE_ENDPOINT: Final = 4
_MOST_ENDPOINTS: Final = 500
_DELETED_AT_ONCE: Final = 20_000
_LOCK_ID: Final = 7_265_170_001
_ORDER: Final = (WebhookDelivery.webhook_id, WebhookDelivery.due_at)
_DISABLED: Final = "the endpoint is disabled"
_PENDING: Final = WebhookDelivery.state == DeliveryState.PENDING


@dataclass(frozen=True, slots=True)
class DeliveryMessage:
    """The message that publishes a delivery: its id, the attempts so far, and a title."""

    delivery_id: str
    attempts: int
    title: str


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that a worker has claimed, with everything that it needs to send it."""

    id: str
    webhook_id: str
    attempt: int
    body: str
    url: str
    secret: bytes
    taken_at: datetime


def due(session: Transaction, now: datetime, slots: int) -> list[DeliveryMessage]:
    """Deliveries to publish now, marked as in flight; endpoints with the fewest in flight come first.

    An endpoint has at most `AT_ONE_ENDPOINT` in flight, and all endpoints together at most `slots`. Beyond that, up to
    twice the slots, endpoints with none in flight get one each: those that never answer must not block the others.
    """
    if not _try_lock(session):
        return []
    in_flight = _in_flight(session, now)
    total, notices = in_flight.total(), list[DeliveryMessage]()
    for webhook_id in sorted(_endpoints_due(session, now), key=lambda endpoint_id: in_flight[endpoint_id]):
        minimum = int(in_flight[webhook_id] == 0 and total < 2 * slots)
        room = max(min(AT_ONE_ENDPOINT - in_flight[webhook_id], slots - total), minimum)
        marked = _mark_in_flight(session, webhook_id, now, room) if room > 0 else []
        total += len(marked)
        notices += marked
    return notices


def anything_due(session: Transaction, now: datetime) -> bool:
    """Whether anything is due. This is polled, and mostly there is nothing."""
    query = select(WebhookDelivery.id).where(_PENDING, WebhookDelivery.due_at <= now).limit(1)
    return session.execute(query).first() is not None


def _try_lock(session: Transaction) -> bool:
    """Take the lock for counting and marking; False if another process has it and does the work."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.execute(text("SELECT pg_try_advisory_xact_lock(:it)"), {"it": _LOCK_ID}).scalar_one())


def _in_flight(session: Transaction, now: datetime) -> "Counter[str]":
    """The number in flight to each endpoint, including those claimed since this transaction read the clock."""
    not_lost = WebhookDelivery.due_at >= now
    query = select(WebhookDelivery.webhook_id, func.count()).where(_PENDING, not_lost, WebhookDelivery.error == "")
    return Counter(dict(session.execute(query.group_by(WebhookDelivery.webhook_id)).all()))


def _endpoints_due(session: Transaction, now: datetime) -> Sequence[str]:
    first_due = select(WebhookDelivery.id).where(*_is_due_at(Webhook.id, now)).order_by(*_ORDER).limit(1)
    # A random order, so that each endpoint gets its turn even if there are more than the limit.
    query = select(Webhook.id).where(first_due.scalar_subquery().is_not(None)).order_by(func.random())
    return session.scalars(query.limit(_MOST_ENDPOINTS)).all()


def _next(webhook_id: str, now: datetime, most: int) -> Select[str, int, str]:
    query = select(WebhookDelivery.id, WebhookDelivery.attempts, WebhookDelivery.event)
    query = query.where(*_is_due_at(webhook_id, now)).order_by(*_ORDER)
    return query.limit(most).with_for_update(skip_locked=True)


def _is_due_at(webhook_id: Any, now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Conditions for what is due at one endpoint.

    The range makes the database order by the index that begins with the endpoint. With the index on `due_at` alone it
    would first read everything that waits for other endpoints.
    """
    return WebhookDelivery.webhook_id.between(webhook_id, webhook_id), _PENDING, WebhookDelivery.due_at <= now


def _mark_in_flight(session: Transaction, webhook_id: str, now: datetime, most: int) -> list[DeliveryMessage]:
    rows = session.execute(_next(webhook_id, now, most)).all()
    in_flight = {"due_at": now + timedelta(seconds=LOST_AFTER_SECONDS), "error": "", "status_code": None}
    marked = update(WebhookDelivery).where(WebhookDelivery.id.in_([row.id for row in rows]))
    execute_dml(session, marked.values(**in_flight))
    return [DeliveryMessage(row.id, row.attempts, f"{row.event} · {webhook_id}") for row in rows]


def claim(session: Transaction, delivery_id: str, attempts: int, now: datetime) -> ClaimedDelivery | None:
    """Claim a delivery for its next attempt; None if another worker has claimed it or it has ended."""
    lost_at = now + timedelta(seconds=LOST_AFTER_SECONDS)
    if not _change(session, delivery_id, attempts, attempts=attempts + 1, due_at=lost_at, error="", status_code=None):
        return None
    query = select(WebhookDelivery.body, Webhook.id, Webhook.url, Webhook.secret, Webhook.disabled_at)
    query = query.join(Webhook, Webhook.id == WebhookDelivery.webhook_id).where(WebhookDelivery.id == delivery_id)
    row = session.execute(query).one()
    if row.disabled_at is not None:
        _change(session, delivery_id, attempts + 1, state=DeliveryState.FAILED, error=_DISABLED)
        return None
    return ClaimedDelivery(delivery_id, row.id, attempts + 1, row.body, row.url, row.secret, now)


def claim_next(session: Transaction, webhook_id: str, now: datetime) -> ClaimedDelivery | None:
    """Claim the next delivery that is due at an endpoint, after one has just arrived there."""
    row = session.execute(_next(webhook_id, now, 1)).one_or_none()
    return claim(session, row.id, row.attempts, now) if row else None


def record_delivered(session: Transaction, claimed: ClaimedDelivery, now: datetime, status_code: int) -> bool:
    """Record that the endpoint has received it. False if a newer attempt has begun or the delivery has ended."""
    values = {"state": DeliveryState.DELIVERED, "status_code": status_code, "error": "", "delivered_at": now}
    return _change(session, claimed.id, claimed.attempt, **values)


def record_failure(
    session: Transaction,
    claimed: ClaimedDelivery,
    now: datetime,
    error: str,
    status_code: int | None,
    wait: float | None,
) -> bool:
    """Record a failed attempt: the next one follows after `wait` seconds, or none if that is None.

    Returns False if a newer attempt has begun or the delivery has ended.
    """
    values: dict[str, Any] = {"error": error or "delivery failed", "status_code": status_code}
    if wait is None:
        values["state"] = DeliveryState.FAILED
    else:
        values["due_at"] = now + timedelta(seconds=wait)
    return _change(session, claimed.id, claimed.attempt, **values)


def give_back(session: Transaction, delivery_id: str, attempts: int, now: datetime) -> None:
    """Make a published delivery due again, for a worker that can't begin it. This costs no attempt."""
    _change(session, delivery_id, attempts, due_at=now)


def disable_endpoint(
    session: Transaction, claimed: ClaimedDelivery, now: datetime, error: str, status_code: int
) -> None:
    """Disable an endpoint that reports itself as gone, and fail all its pending deliveries.

    It locks the endpoint's row before its deliveries, in the same order as a deletion does.
    """
    enabled = update(Webhook).where(Webhook.id == claimed.webhook_id, Webhook.disabled_at.is_(None))
    execute_dml(session, enabled.values(disabled_at=now, why=error))
    record_failure(session, claimed, now, error, status_code, None)
    pending = update(WebhookDelivery).where(WebhookDelivery.webhook_id == claimed.webhook_id, _PENDING)
    execute_dml(session, pending.values(state=DeliveryState.FAILED, error=_DISABLED))


def delete_old(session: Transaction, now: datetime, days: float) -> int:
    """Delete deliveries that have ended and are older than `days`, up to a limit. Returns their number."""
    ended = (WebhookDelivery.state != DeliveryState.PENDING, WebhookDelivery.created_at < now - timedelta(days=days))
    old = select(WebhookDelivery.id).where(*ended).limit(_DELETED_AT_ONCE)
    return execute_dml(session, delete(WebhookDelivery).where(WebhookDelivery.id.in_(old)))


def _change(session: Transaction, delivery_id: str, fence: int, **values: Any) -> bool:
    """Set columns of a delivery if it is still pending and no newer attempt has begun; returns whether it did."""
    there = (WebhookDelivery.id == delivery_id, WebhookDelivery.attempts == fence, _PENDING)
    return execute_dml(session, update(WebhookDelivery).where(*there).values(**values)) == 1
