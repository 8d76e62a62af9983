"""Telling endpoints, one try at a time: what is due, who takes it, what came of it; and when it is tried again.

A delivery's `attempts` is its fence: a try writes only while it is the newest. While one is under way, or on its way to
a worker, `error` is empty and `due_at` tells when whoever has it counts as lost.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, func, select, text, update

from reelq.store.clients import DeliveryState, Webhook, WebhookDelivery
from reelq.store.session import Transaction

WAITS: Final = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds between one try and the next; after as many, and one try more, it is given up."""
HELD_SECONDS: Final = 60.0
"""A try that nothing was heard of for so long, from its message on, is made again."""
AT_ONE_ENDPOINT: Final = 4
_MOST_ENDPOINTS: Final = 500
_FORGOTTEN_AT_ONCE: Final = 20_000
_ONE_AT_A_TIME: Final = 7_265_170_001
_IN_TURN: Final = (WebhookDelivery.webhook_id, WebhookDelivery.due_at)
_DISABLED: Final = "the endpoint is disabled"
_PENDING: Final = WebhookDelivery.state == DeliveryState.PENDING


@dataclass(frozen=True, slots=True)
class Notice:
    """All that a message says of a delivery: which it is, after how many tries, and what to call it."""

    delivery_id: str
    attempts: int
    title: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery in the hands of one worker, with all that it takes to send it."""

    id: str
    webhook_id: str
    attempt: int
    body: str
    url: str
    secret: bytes
    taken_at: datetime


def due(session: Transaction, now: datetime, slots: int) -> list[Notice]:
    """Deliveries to be sent now, marked as on their way; of those endpoints first that have the least under way.

    One endpoint has few under way at once, and all of them together so many as there are slots; but one that has none
    under way gets one until there are twice as many: those that never answer shall not keep the others waiting.
    """
    if not _alone(session):
        return []
    flying = _flying(session, now)
    total, out = flying.total(), list[Notice]()
    for webhook_id in sorted(_endpoints_due(session, now), key=lambda one: flying[one]):
        first = int(flying[webhook_id] == 0 and total < 2 * slots)
        room = max(min(AT_ONE_ENDPOINT - flying[webhook_id], slots - total), first)
        sent = _take_out(session, webhook_id, now, room) if room > 0 else []
        total += len(sent)
        out += sent
    return out


def anything_due(session: Transaction, now: datetime) -> bool:
    """Whether there is anything to be sent; asked again and again, and mostly there is not."""
    some = select(WebhookDelivery.id).where(_PENDING, WebhookDelivery.due_at <= now).limit(1)
    return session.execute(some).first() is not None


def _alone(session: Transaction) -> bool:
    """Whether no other process counts and marks at this moment; whoever comes second leaves it to the first."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.execute(text("SELECT pg_try_advisory_xact_lock(:it)"), {"it": _ONE_AT_A_TIME}).scalar_one())


def _flying(session: Transaction, now: datetime) -> "Counter[str]":
    """How many are under way to each endpoint, also those claimed since this transaction read the clock."""
    held = WebhookDelivery.due_at >= now
    query = select(WebhookDelivery.webhook_id, func.count()).where(_PENDING, held, WebhookDelivery.error == "")
    return Counter(dict(session.execute(query.group_by(WebhookDelivery.webhook_id)).all()))


def _endpoints_due(session: Transaction, now: datetime) -> Sequence[str]:
    first = select(WebhookDelivery.id).where(*_due_at(Webhook.id, now)).order_by(*_IN_TURN).limit(1)
    # Should there be very many of them, it is left to chance whose turn it is.
    query = select(Webhook.id).where(first.scalar_subquery().is_not(None)).order_by(func.random())
    return session.scalars(query.limit(_MOST_ENDPOINTS)).all()


def _next(webhook_id: str, now: datetime, most: int) -> Select[str, int, str]:
    query = select(WebhookDelivery.id, WebhookDelivery.attempts, WebhookDelivery.event)
    query = query.where(*_due_at(webhook_id, now)).order_by(*_IN_TURN)
    return query.limit(most).with_for_update(skip_locked=True)


def _due_at(webhook_id: Any, now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What is due at one endpoint. As a range, so that its order can come from the index that begins with endpoints:

    from the one on `due_at` alone the database would read all that waits at others before it.
    """
    return WebhookDelivery.webhook_id.between(webhook_id, webhook_id), _PENDING, WebhookDelivery.due_at <= now


def _take_out(session: Transaction, webhook_id: str, now: datetime, most: int) -> list[Notice]:
    found = session.execute(_next(webhook_id, now, most)).all()
    held = {"due_at": now + timedelta(seconds=HELD_SECONDS), "error": "", "status_code": None}
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id.in_([row.id for row in found]))
        .values(**held)
        .execution_options(synchronize_session=False)
    )
    return [Notice(row.id, row.attempts, f"{row.event} · {webhook_id}") for row in found]


def claim(session: Transaction, delivery_id: str, attempts: int, now: datetime) -> Letter | None:
    """Take a delivery for its next try; None where another has, or it is settled."""
    held = now + timedelta(seconds=HELD_SECONDS)
    if not _change(session, delivery_id, attempts, attempts=attempts + 1, due_at=held, error="", status_code=None):
        return None
    query = select(WebhookDelivery.body, Webhook.id, Webhook.url, Webhook.secret, Webhook.disabled_at)
    query = query.join(Webhook, Webhook.id == WebhookDelivery.webhook_id).where(WebhookDelivery.id == delivery_id)
    found = session.execute(query).one()
    if found.disabled_at is not None:
        _change(session, delivery_id, attempts + 1, state=DeliveryState.FAILED, error=_DISABLED)
        return None
    return Letter(delivery_id, found.id, attempts + 1, found.body, found.url, found.secret, now)


def claim_next(session: Transaction, webhook_id: str, now: datetime) -> Letter | None:
    """Take what is due next at an endpoint, in the place of one that has just arrived there."""
    found = session.execute(_next(webhook_id, now, 1)).one_or_none()
    return claim(session, found.id, found.attempts, now) if found else None


def arrived(session: Transaction, letter: Letter, now: datetime, status_code: int) -> bool:
    """The other side has it; whether that was still to be written down."""
    done = {"state": DeliveryState.DELIVERED, "status_code": status_code, "error": "", "delivered_at": now}
    return _change(session, letter.id, letter.attempt, **done)


def went_wrong(
    session: Transaction, letter: Letter, now: datetime, error: str, status_code: int | None, wait: float | None
) -> bool:
    """It did not arrive: again after so many seconds, or never."""
    values: dict[str, Any] = {"error": error or "it did not arrive", "status_code": status_code}
    if wait is None:
        values["state"] = DeliveryState.FAILED
    else:
        values["due_at"] = now + timedelta(seconds=wait)
    return _change(session, letter.id, letter.attempt, **values)


def put_back(session: Transaction, delivery_id: str, attempts: int, now: datetime) -> None:
    """Whoever was to send it can't begin: it is due for others, and no try was used up."""
    _change(session, delivery_id, attempts, due_at=now)


def gone(session: Transaction, letter: Letter, now: datetime, error: str, status_code: int) -> None:
    """The endpoint says that it is no more: nothing is sent there, nor what was still to be sent.

    The endpoint's row first, its deliveries' after it: so does whoever deletes it.
    """
    session.execute(
        update(Webhook)
        .where(Webhook.id == letter.webhook_id, Webhook.disabled_at.is_(None))
        .values(disabled_at=now, why=error)
        .execution_options(synchronize_session=False)
    )
    went_wrong(session, letter, now, error, status_code, None)
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.webhook_id == letter.webhook_id, _PENDING)
        .values(state=DeliveryState.FAILED, error=_DISABLED)
        .execution_options(synchronize_session=False)
    )


def forget(session: Transaction, now: datetime, days: float) -> int:
    """Delete settled deliveries older than so many days, so many at a time; how many those were."""
    settled = (WebhookDelivery.state != DeliveryState.PENDING, WebhookDelivery.created_at < now - timedelta(days=days))
    old = select(WebhookDelivery.id).where(*settled).limit(_FORGOTTEN_AT_ONCE)
    gone: Any = session.execute(
        delete(WebhookDelivery).where(WebhookDelivery.id.in_(old)).execution_options(synchronize_session=False)
    )
    return int(gone.rowcount)


def _change(session: Transaction, delivery_id: str, fence: int, **values: Any) -> bool:
    """Set columns of a delivery that is still to be sent, if no newer try has begun."""
    there = (WebhookDelivery.id == delivery_id, WebhookDelivery.attempts == fence, _PENDING)
    done: Any = session.execute(
        update(WebhookDelivery).where(*there).values(**values).execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)
