"""Endpoints, as their owners see them: made, listed, deleted; and what became of all that they were to be told."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import delete, func, insert, select, update

from reelq.store.clients import DeliveryState, Webhook, WebhookDelivery
from reelq.store.ids import new_id
from reelq.store.outbox import Event
from reelq.store.secrets import Vault
from reelq.store.session import Transaction

MOST: Final = 20
"""Endpoints of one owner."""
_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_FEWEST_BYTES, _MOST_BYTES = 24, 64


class TooMany(Exception):
    """The owner has as many endpoints as one may have."""


class Disabled(Exception):
    """Nothing is sent to the endpoint any more."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an owner wants to be told of what."""

    id: str
    url: str
    events: list[str]
    created_at: datetime
    disabled_at: datetime | None
    why: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, and how far it has come."""

    id: str
    event: str
    batch: str
    job: str | None
    state: DeliveryState
    attempts: int
    due_at: datetime
    status_code: int | None
    error: str
    created_at: datetime
    delivered_at: datetime | None


_ENDPOINT: Final = (Webhook.id, Webhook.url, Webhook.events, Webhook.created_at, Webhook.disabled_at, Webhook.why)
_DELIVERY: Final = (
    WebhookDelivery.id, WebhookDelivery.event, WebhookDelivery.batch_id, WebhookDelivery.job_id, WebhookDelivery.state,
    WebhookDelivery.attempts, WebhookDelivery.due_at, WebhookDelivery.status_code, WebhookDelivery.error,
    WebhookDelivery.created_at, WebhookDelivery.delivered_at,
)  # fmt: skip


def new_secret() -> str:
    """What both sides sign with, as the Standard Webhooks scheme writes it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def is_secret(word: str) -> bool:
    """Whether an owner's own secret is one: the prefix, and 24 to 64 bytes in base64."""
    try:
        kept = base64.b64decode(word.removeprefix(_PREFIX), validate=True)
    except ValueError:
        return False
    return word.startswith(_PREFIX) and _FEWEST_BYTES <= len(kept) <= _MOST_BYTES


def create(
    session: Transaction,
    vault: Vault,
    owner: str,
    url: str,
    events: Sequence[Event],
    secret: str,
    now: datetime,
    webhook_id: str = "",
) -> Endpoint:
    """A new endpoint; TooMany where the owner has enough. Asked for twice under one id, it is made once."""
    _one_at_a_time(session, owner)
    if webhook_id and (there := endpoint(session, owner, webhook_id)):
        return there
    if session.execute(select(func.count()).where(Webhook.owner == owner)).scalar_one() >= MOST:
        raise TooMany(f"{owner} has {MOST} endpoints")
    values = {
        "id": webhook_id or new_id("hook"),
        "owner": owner,
        "url": url,
        "secret": vault.lock(SecretStr(secret)),
        "events": [str(event) for event in Event if event in events],
        "created_at": now,
    }
    made = session.execute(insert(Webhook).values(**values).returning(*_ENDPOINT)).one()
    return Endpoint(*made)


def _one_at_a_time(session: Transaction, owner: str) -> None:
    """Two that count at the same moment would each find room for one more."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"webhooks of {owner}", 0))))


def secret_of(session: Transaction, vault: Vault, owner: str, webhook_id: str) -> str | None:
    """The secret of an endpoint, for the answer that shows it; None where there is none by that id."""
    query = select(Webhook.secret).where(Webhook.owner == owner, Webhook.id == webhook_id)
    kept = session.execute(query).scalar_one_or_none()
    return None if kept is None else vault.unlock(kept).get_secret_value()


def endpoints(session: Transaction, owner: str, limit: int, before: str | None = None) -> list[Endpoint]:
    """The owner's endpoints, the newest first."""
    query = select(*_ENDPOINT).where(Webhook.owner == owner)
    if before is not None:
        query = query.where(Webhook.id < before)
    return [Endpoint(*row) for row in session.execute(query.order_by(Webhook.id.desc()).limit(limit))]


def endpoint(session: Transaction, owner: str, webhook_id: str) -> Endpoint | None:
    """One of the owner's endpoints."""
    row = session.execute(select(*_ENDPOINT).where(Webhook.owner == owner, Webhook.id == webhook_id)).one_or_none()
    return Endpoint(*row) if row else None


def remove(session: Transaction, owner: str, webhook_id: str) -> bool:
    """Delete an endpoint with all that it was and was to be told; False where the owner has none by that id."""
    mine = delete(Webhook).where(Webhook.owner == owner, Webhook.id == webhook_id)
    gone: Any = session.execute(mine.execution_options(synchronize_session=False))
    return bool(gone.rowcount == 1)


def deliveries(session: Transaction, webhook_id: str, limit: int, before: str | None = None) -> list[Delivery]:
    """What an endpoint was, or is to be, told; the newest first."""
    query = select(*_DELIVERY).where(WebhookDelivery.webhook_id == webhook_id)
    if before is not None:
        query = query.where(WebhookDelivery.id < before)
    return [Delivery(*row) for row in session.execute(query.order_by(WebhookDelivery.id.desc()).limit(limit))]


def redeliver(session: Transaction, webhook_id: str, delivery_id: str, now: datetime) -> Delivery | None:
    """Tell it once more, at once, whatever came of it before, under the same id; Disabled where nothing is sent there.

    Its tries go on being counted: one that has had all of them has this one more.
    """
    disabled = select(Webhook.disabled_at).where(Webhook.id == webhook_id)
    if session.execute(disabled).scalar_one_or_none() is not None:
        raise Disabled(f"{webhook_id} is disabled")
    again = update(WebhookDelivery).where(WebhookDelivery.id == delivery_id, WebhookDelivery.webhook_id == webhook_id)
    again = again.values(state=DeliveryState.PENDING, due_at=now, error="", status_code=None, delivered_at=None)
    row: Any = session.execute(again.returning(*_DELIVERY).execution_options(synchronize_session=False)).one_or_none()
    return Delivery(*row) if row else None
