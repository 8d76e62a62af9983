"""The tables of those who come over HTTP: keys, files, where they want to be told, and what they asked once."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from reelq.store.models import Base
from reelq.store.types import Id, words


class Scope(StrEnum):
    """What a key allows: of what is its owner's, each with all before it; or the figures of the whole deployment."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"
    METRICS = "metrics"


class DeliveryState(StrEnum):
    """What became of telling one endpoint of one event."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class ApiKey(Base):
    """A key to the REST service. Only its hash is kept: nobody can read it here."""

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("hash"), Index(None, "owner", "id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    scope: Mapped[Scope] = mapped_column(words(Scope, "scope"))
    hash: Mapped[str] = mapped_column(String(64))
    hint: Mapped[str] = mapped_column(String(16))
    """How the key begins: enough to be recognised by, too little to be used."""
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Asset(Base):
    """A file that an owner has uploaded. Its bytes are kept once, whoever else has the same."""

    __tablename__ = "assets"
    __table_args__ = (Index(None, "sha256"),)

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    """What it was called when it came; its ending says what it is."""
    created_at: Mapped[datetime]
    used_at: Mapped[datetime]
    """When it was last uploaded or handed in with a batch: what no batch has needed for long is forgotten."""


class Webhook(Base):
    """Where an owner wants to be told of what."""

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "owner", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    url: Mapped[str]
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    events: Mapped[list[str]]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    """Nothing is sent there since; `why` says why."""
    why: Mapped[str] = mapped_column(default="")


class WebhookDelivery(Base):
    """One event for one endpoint: written with the event itself, sent until it has arrived or hours have gone by."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(None, "webhook_id", "id"),
        # What one endpoint has waiting must not stand before what others have, however much it is.
        Index(
            None,
            "webhook_id",
            "due_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            None,
            "due_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_webhook_deliveries_undelivered",
            "state",
            "created_at",
            sqlite_where=text("state <> 'delivered'"),
            postgresql_where=text("state <> 'delivered'"),
        ),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    """Also the message's id for the endpoint: the same at every try."""
    webhook_id: Mapped[str] = mapped_column(Id, ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(40))
    batch_id: Mapped[str] = mapped_column(Id)
    job_id: Mapped[str | None] = mapped_column(Id)
    body: Mapped[str]
    """The JSON as it is signed and sent, the same at every try."""
    state: Mapped[DeliveryState] = mapped_column(words(DeliveryState, "state"))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime]
    """When it is tried (again); whoever takes it moves this on first, so that nobody else does meanwhile."""
    status_code: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """A request that creates, by the word that its client gave it, and what it was answered."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "created_at"),)

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """The sha256 of method, path and body."""
    made_id: Mapped[str] = mapped_column(Id)
    """What the request is to make has this id, at its second try as well: so it is made once."""
    held_until: Mapped[datetime]
    """Somebody is at it until then, unless there is an answer."""
    status: Mapped[int | None] = mapped_column(Integer)
    answer: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
