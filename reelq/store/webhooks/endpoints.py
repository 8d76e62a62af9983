"""Webhook endpoints as their owners see them: create, list and delete them, and inspect their deliveries."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import SecretStr
from sqlalchemy import delete, func, select, update

from reelq.store.db.client_models import DeliveryState, Webhook, WebhookDelivery
from reelq.store.db.engine import Transaction
from reelq.store.db.statements import execute_dml
from reelq.store.db.types import new_id
from reelq.store.db.vault import Vault
from reelq.store.webhooks.outbox import Event

MAX_ENDPOINTS: Final = 20
"""The most endpoints that an owner may have."""
_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_MIN_BYTES, _MAX_BYTES = 24, 64


class TooManyEndpoints(Exception):
    """The owner already has the most endpoints that are allowed."""


class EndpointDisabled(Exception):
    """The endpoint is disabled: nothing is sent to it."""


def new_secret() -> str:
    """Generate a signing secret in the format of Standard Webhooks."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def is_secret(text: str) -> bool:
    """Whether a text is a valid signing secret: the prefix, then 24 to 64 bytes in base64."""
    try:
        decoded = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:
        return False
    return text.startswith(_PREFIX) and _MIN_BYTES <= len(decoded) <= _MAX_BYTES


def create(
    session: Transaction,
    vault: Vault,
    owner: str,
    url: str,
    events: Sequence[Event],
    secret: str,
    now: datetime,
    webhook_id: str = "",
) -> Webhook:
    """Create an endpoint. Raises at the limit. A second call with the same id returns the existing endpoint."""
    _lock_owner(session, owner)
    if webhook_id and (existing := endpoint(session, owner, webhook_id)):
        return existing
    if session.execute(select(func.count()).where(Webhook.owner == owner)).scalar_one() >= MAX_ENDPOINTS:
        raise TooManyEndpoints(f"{owner} has {MAX_ENDPOINTS} endpoints")
    created = Webhook(
        id=webhook_id or new_id("hook"),
        owner=owner,
        url=url,
        secret=vault.lock(SecretStr(secret)),
        events=[str(event) for event in Event if event in events],
        created_at=now,
        disabled_at=None,
        why="",
    )
    session.add(created)
    return created


def _lock_owner(session: Transaction, owner: str) -> None:
    """Serialize an owner's calls: two that count at the same time would both find room for one more."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"webhooks of {owner}", 0))))


def secret_of(session: Transaction, vault: Vault, owner: str, webhook_id: str) -> str | None:
    """The decrypted secret of an endpoint; None if the owner has no endpoint with this id."""
    query = select(Webhook.secret).where(Webhook.owner == owner, Webhook.id == webhook_id)
    encrypted = session.execute(query).scalar_one_or_none()
    return None if encrypted is None else vault.unlock(encrypted).get_secret_value()


def endpoints(session: Transaction, owner: str, limit: int, before: str | None = None) -> Sequence[Webhook]:
    """The owner's endpoints, newest first."""
    query = select(Webhook).where(Webhook.owner == owner)
    if before is not None:
        query = query.where(Webhook.id < before)
    return session.scalars(query.order_by(Webhook.id.desc()).limit(limit)).all()


def endpoint(session: Transaction, owner: str, webhook_id: str) -> Webhook | None:
    """The endpoint with this id, if it belongs to the owner."""
    return session.scalars(select(Webhook).where(Webhook.owner == owner, Webhook.id == webhook_id)).one_or_none()


def delete_endpoint(session: Transaction, owner: str, webhook_id: str) -> bool:
    """Delete an endpoint with all its deliveries; False if the owner has no endpoint with this id."""
    return execute_dml(session, delete(Webhook).where(Webhook.owner == owner, Webhook.id == webhook_id)) == 1


def deliveries(
    session: Transaction, webhook_id: str, limit: int, before: str | None = None
) -> Sequence[WebhookDelivery]:
    """The deliveries of an endpoint, newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    if before is not None:
        query = query.where(WebhookDelivery.id < before)
    return session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit)).all()


def redeliver(session: Transaction, webhook_id: str, delivery_id: str, now: datetime) -> WebhookDelivery | None:
    """Send a delivery again at once under the same id, whatever its state. Raises if the endpoint is disabled.

    Its attempts are still counted: a delivery that has used them all gets just one more.
    """
    disabled = select(Webhook.disabled_at).where(Webhook.id == webhook_id)
    if session.execute(disabled).scalar_one_or_none() is not None:
        raise EndpointDisabled(f"{webhook_id} is disabled")
    same = (WebhookDelivery.id == delivery_id, WebhookDelivery.webhook_id == webhook_id)
    values = {"state": DeliveryState.PENDING, "due_at": now, "error": "", "status_code": None, "delivered_at": None}
    if not execute_dml(session, update(WebhookDelivery).where(*same).values(**values)):
        return None
    return session.get_one(WebhookDelivery, delivery_id)
