"""The tables that belong to clients of the REST service: API keys, assets, webhooks, idempotency keys."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from reelq.store.db.models import Base
from reelq.store.db.types import Id, enum_type, partial_index


class Scope(StrEnum):
    """What an API key allows.

    READ, SUBMIT and ADMIN apply to what the key's owner has; each includes those before it. METRICS allows only to read
    the metrics of the whole deployment.
    """

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"
    METRICS = "metrics"


class DeliveryState(StrEnum):
    """The state of the delivery of one event to one endpoint."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class ApiKey(Base):
    """An API key of the REST service. Only its hash is stored."""

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("hash"), Index(None, "owner", "id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    scope: Mapped[Scope] = mapped_column(enum_type(Scope, "scope"))
    hash: Mapped[str] = mapped_column(String(64))
    hint: Mapped[str] = mapped_column(String(16))
    """The first characters of the key: enough to recognise it, too few to use it."""
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Asset(Base):
    """A file that an owner has uploaded. Its content is stored once, even if other owners upload the same."""

    __tablename__ = "assets"
    __table_args__ = (Index(None, "sha256"),)

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    """The name of the uploaded file. Its extension tells the type."""
    created_at: Mapped[datetime]
    used_at: Mapped[datetime]
    """When it was last uploaded or submitted with a batch. Assets that no batch has used for long are deleted."""


class Webhook(Base):
    """An endpoint of an owner, and the events to deliver to it."""

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "owner", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    url: Mapped[str]
    secret: Mapped[bytes]
    events: Mapped[list[str]]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    """Nothing is sent to the endpoint since then, for the reason in `why`."""
    why: Mapped[str] = mapped_column(default="")


class WebhookDelivery(Base):
    """One event for one endpoint: written in the transaction of the event, and retried for hours until delivered."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(None, "webhook_id", "id"),
        # For fairness: a long backlog of one endpoint must not delay the deliveries of others.
        partial_index("webhook_id", "due_at", where="state = 'pending'"),
        partial_index("due_at", where="state = 'pending'"),
        partial_index("state", "created_at", where="state <> 'delivered'", name="ix_webhook_deliveries_undelivered"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    """Also the message id that the endpoint sees: the same at every attempt."""
    webhook_id: Mapped[str] = mapped_column(Id, ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(40))
    batch_id: Mapped[str] = mapped_column(Id)
    job_id: Mapped[str | None] = mapped_column(Id)
    body: Mapped[str]
    """The JSON that is signed and sent: the same at every attempt."""
    state: Mapped[DeliveryState] = mapped_column(enum_type(DeliveryState, "state"))
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    """When it is next attempted. A process that takes the delivery postpones this first, so that no other takes it."""
    status_code: Mapped[int | None]
    error: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """A request that creates something, under the key that its client chose, and the answer to it."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "created_at"),)

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """The sha256 of method, path and body."""
    made_id: Mapped[str] = mapped_column(Id)
    """The id of what the request creates. A retry uses the same id, so that it is created once."""
    held_until: Mapped[datetime]
    """Until then the request is being processed, unless there is an answer."""
    status: Mapped[int | None]
    answer: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
