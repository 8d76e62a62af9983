"""Keys to the REST service: made once, shown once, and known from then on by their hash alone."""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, select, update

from reelq.store.clients import ApiKey, Scope
from reelq.store.ids import new_id
from reelq.store.session import AWAY, Store, Transaction

PREFIX: Final = "rq_"
_HINT: Final = 8
_RANDOM_BYTES: Final = 32
_USE_NOTED_EVERY: Final = timedelta(minutes=1)
"""A write for each request would make every reader wait for the writers."""
_LONGEST: Final = 200
_LADDER: Final = (Scope.READ, Scope.SUBMIT, Scope.ADMIN)
_COLUMNS: Final = (
    ApiKey.id, ApiKey.owner, ApiKey.scope, ApiKey.hint, ApiKey.created_at, ApiKey.used_at, ApiKey.revoked_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it may be shown."""

    id: str
    owner: str
    scope: Scope
    hint: str
    created_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks, and what the key in their hand allows."""

    key_id: str
    owner: str
    scope: Scope

    def may(self, scope: Scope) -> bool:
        """Whether the key allows this: each scope has all before it, but figures of all owners are no owner's."""
        if Scope.METRICS in {self.scope, scope}:
            return self.scope is scope
        return _LADDER.index(self.scope) >= _LADDER.index(scope)


def make(store: Store, owner: str, scope: Scope = Scope.SUBMIT) -> tuple[Key, str]:
    """A new key, and the secret: it is never to be had again."""
    secret = f"{PREFIX}{secrets.token_urlsafe(_RANDOM_BYTES)}"
    with store.write() as session:
        made = Key(new_id("key"), owner, scope, secret[:_HINT], store.now(session), None, None)
        values = {"id": made.id, "owner": owner, "scope": scope, "hint": made.hint, "created_at": made.created_at}
        session.execute(insert(ApiKey).values(**values, hash=_hash(secret)))
    return made, secret


def holder_of(store: Store, secret: str) -> Holder | None:
    """Whose key this is; nobody's, where it is wrong or was revoked."""
    if not secret.startswith(PREFIX) or len(secret) > _LONGEST:
        return None
    query = select(ApiKey.id, ApiKey.owner, ApiKey.scope, ApiKey.used_at)
    with store.read() as session:
        found = session.execute(query.where(ApiKey.hash == _hash(secret), ApiKey.revoked_at.is_(None))).one_or_none()
        now = store.now(session)
    if found is None:
        return None
    if found.used_at is None or found.used_at < now - _USE_NOTED_EVERY:
        _note_use(store, found.id, now)
    return Holder(found.id, found.owner, found.scope)


def _note_use(store: Store, key_id: str, now: datetime) -> None:
    with suppress(*AWAY), store.write() as session:  # to know it is a comfort; to be served does not depend on it
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(used_at=now))


def is_good(session: Transaction, key_id: str) -> bool:
    """Whether the key still opens what it opened."""
    good = select(ApiKey.id).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
    return session.execute(good).first() is not None


def all_keys(store: Store) -> list[Key]:
    """Every key that was ever made, owner by owner, the oldest first."""
    with store.read() as session:
        rows = session.execute(select(*_COLUMNS).order_by(ApiKey.owner, ApiKey.id))
        return [Key(*row) for row in rows]


def revoke(store: Store, key_id: str) -> bool:
    """The key opens nothing from now on; False where there is no such key, or it was revoked before."""
    with store.write() as session:
        still = (ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        done = session.execute(update(ApiKey).where(*still).values(revoked_at=store.now(session)).returning(ApiKey.id))
        return done.first() is not None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
