"""API keys of the REST service: shown once, stored as a hash."""

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update

from reelq.store.db.client_models import ApiKey, Scope
from reelq.store.db.engine import UNAVAILABLE, Store, Transaction
from reelq.store.db.statements import execute_dml
from reelq.store.db.types import new_id

PREFIX: Final = "rq_"
_HINT_LENGTH: Final = 8
_RANDOM_BYTES: Final = 32
_USE_RECORDED_EVERY: Final = timedelta(minutes=1)
"""`used_at` is updated this rarely, since a write per request would make all readers wait for writers."""
_MAX_LENGTH: Final = 200
_SCOPES_ASCENDING: Final = (Scope.READ, Scope.SUBMIT, Scope.ADMIN)


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


def create(store: Store, owner: str, scope: Scope = Scope.SUBMIT) -> tuple[ApiKey, str]:
    """Create a key. Returns it with its secret, which can't be shown again."""
    secret = f"{PREFIX}{secrets.token_urlsafe(_RANDOM_BYTES)}"
    with store.write() as session:
        values = {"owner": owner, "scope": scope, "hash": _hash(secret), "hint": secret[:_HINT_LENGTH]}
        key = ApiKey(id=new_id("key"), **values, created_at=store.now(session), used_at=None, revoked_at=None)
        session.add(key)
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


def all_keys(store: Store) -> Sequence[ApiKey]:
    """All keys, also revoked ones, ordered by owner and age."""
    with store.read() as session:
        return session.scalars(select(ApiKey).order_by(ApiKey.owner, ApiKey.id)).all()


def revoke(store: Store, key_id: str) -> bool:
    """Revoke a key; False if there is no such key or it is revoked already."""
    with store.write() as session:
        not_revoked = update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        return execute_dml(session, not_revoked.values(revoked_at=store.now(session))) == 1


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
