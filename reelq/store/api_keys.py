"""API keys of the REST service: shown once, stored as a hash."""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, select, update

from reelq.store.db.client_models import ApiKey, Scope
from reelq.store.db.engine import UNAVAILABLE, Store, Transaction
from reelq.store.db.types import new_id

PREFIX: Final = "rq_"
_HINT_LENGTH: Final = 8
_RANDOM_BYTES: Final = 32
_USE_RECORDED_EVERY: Final = timedelta(minutes=1)
"""`used_at` is updated this rarely, since a write per request would make all readers wait for writers."""
_MAX_LENGTH: Final = 200
_SCOPES_ASCENDING: Final = (Scope.READ, Scope.SUBMIT, Scope.ADMIN)
_COLUMNS: Final = (
    ApiKey.id, ApiKey.owner, ApiKey.scope, ApiKey.hint, ApiKey.created_at, ApiKey.used_at, ApiKey.revoked_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret."""

    id: str
    owner: str
    scope: Scope
    hint: str
    created_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Holder:
    """The owner of a request, and the scope of its key."""

    key_id: str
    owner: str
    scope: Scope

    def may(self, scope: Scope) -> bool:
        """Whether the key allows this scope. Scopes include those before them, except metrics: it spans all owners."""
        if Scope.METRICS in {self.scope, scope}:
            return self.scope is scope
        return _SCOPES_ASCENDING.index(self.scope) >= _SCOPES_ASCENDING.index(scope)


def create(store: Store, owner: str, scope: Scope = Scope.SUBMIT) -> tuple[Key, str]:
    """Create a key. Returns it with its secret, which can't be shown again."""
    secret = f"{PREFIX}{secrets.token_urlsafe(_RANDOM_BYTES)}"
    with store.write() as session:
        key = Key(new_id("key"), owner, scope, secret[:_HINT_LENGTH], store.now(session), None, None)
        values = {"id": key.id, "owner": owner, "scope": scope, "hint": key.hint, "created_at": key.created_at}
        session.execute(insert(ApiKey).values(**values, hash=_hash(secret)))
    return key, secret


def holder_of(store: Store, secret: str) -> Holder | None:
    """The holder of the key with this secret; None if the key is unknown or revoked."""
    if not secret.startswith(PREFIX) or len(secret) > _MAX_LENGTH:
        return None
    query = select(ApiKey.id, ApiKey.owner, ApiKey.scope, ApiKey.used_at)
    with store.read() as session:
        row = session.execute(query.where(ApiKey.hash == _hash(secret), ApiKey.revoked_at.is_(None))).one_or_none()
        now = store.now(session)
    if row is None:
        return None
    if row.used_at is None or row.used_at < now - _USE_RECORDED_EVERY:
        _record_use(store, row.id, now)
    return Holder(row.id, row.owner, row.scope)


def _record_use(store: Store, key_id: str, now: datetime) -> None:
    with suppress(*UNAVAILABLE), store.write() as session:  # best effort: a request does not fail because of it
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(used_at=now))


def is_valid(session: Transaction, key_id: str) -> bool:
    """Whether the key has not been revoked."""
    good = select(ApiKey.id).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
    return session.execute(good).first() is not None


def all_keys(store: Store) -> list[Key]:
    """All keys, also revoked ones, ordered by owner and age."""
    with store.read() as session:
        rows = session.execute(select(*_COLUMNS).order_by(ApiKey.owner, ApiKey.id))
        return [Key(*row) for row in rows]


def revoke(store: Store, key_id: str) -> bool:
    """Revoke a key; False if there is no such key or it is revoked already."""
    with store.write() as session:
        not_revoked = (ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        result = session.execute(
            update(ApiKey).where(*not_revoked).values(revoked_at=store.now(session)).returning(ApiKey.id)
        )
        return result.first() is not None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
