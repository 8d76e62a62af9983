"""Idempotency keys: a repeated request gets the first answer again and creates nothing."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, insert, update
from sqlalchemy.exc import IntegrityError

from reelq.store.db.client_models import IdempotencyKey
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.statements import execute_dml

TTL: Final = timedelta(hours=24)
"""How long an answer is replayed."""
HELD_FOR: Final = timedelta(seconds=120)
"""How long a request is held by the process that serves it: after that, the process has most likely died."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed request: the caller serves it, and what it creates gets the id `made_id`."""

    owner: str
    key: str
    made_id: str
    held_until: datetime


@dataclass(frozen=True, slots=True)
class Replay:
    """The request has been served, with this answer."""

    status: int
    answer: str


@dataclass(frozen=True, slots=True)
class InProgress:
    """Another process serves the request, for at most this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The key was used for a different request."""


def claim(
    store: Store, owner: str, key: str, fingerprint: str, made_id: str
) -> Claim | Replay | InProgress | KeyReused:
    """Claim a request, unless it has been served or another process serves it.

    The first attempt stores `made_id`, and all later attempts get the id that the first one stored.
    """
    while True:
        with suppress(IntegrityError), store.write() as session:  # a concurrent request has inserted the key: read it
            return _claim(session, store.now(session), owner, key, fingerprint, made_id)


def _claim(
    session: Transaction, now: datetime, owner: str, key: str, fingerprint: str, made_id: str
) -> Claim | Replay | InProgress | KeyReused:
    found = session.get(IdempotencyKey, (owner, key), with_for_update=True)
    if found is not None and found.created_at < now - TTL:
        session.delete(found)
        session.flush()
        found = None
    if found is None:
        values: dict[str, Any] = {"owner": owner, "key": key, "fingerprint": fingerprint, "made_id": made_id}
        session.execute(insert(IdempotencyKey).values(**values, held_until=now + HELD_FOR, answer="", created_at=now))
        return Claim(owner, key, made_id, now + HELD_FOR)
    if found.fingerprint != fingerprint:
        return KeyReused()
    if found.status is not None:
        return Replay(found.status, found.answer)
    if found.held_until > now:
        return InProgress((found.held_until - now).total_seconds())
    found.held_until = now + HELD_FOR
    return Claim(owner, key, found.made_id, found.held_until)


def answer(session: Transaction, claimed: Claim, status: int, body: str) -> None:
    """Store the answer of a request that has been served."""
    same_request = (*_unanswered(claimed), IdempotencyKey.made_id == claimed.made_id)
    session.execute(update(IdempotencyKey).where(*same_request).values(status=status, answer=body))


def release(session: Transaction, claimed: Claim, now: datetime) -> None:
    """Release a request that was interrupted. Something may have been created, so the next attempt gets the same id."""
    session.execute(update(IdempotencyKey).where(*_still_claimed(claimed)).values(held_until=now))


def discard(session: Transaction, claimed: Claim) -> bool:
    """Delete the key of a request that was refused without creating anything: a corrected request may use it."""
    return execute_dml(session, delete(IdempotencyKey).where(*_still_claimed(claimed))) == 1


def forget(session: Transaction, now: datetime) -> int:
    """Delete expired keys; returns their number."""
    return execute_dml(session, delete(IdempotencyKey).where(IdempotencyKey.created_at < now - TTL))


def _still_claimed(claimed: Claim) -> tuple[ColumnElement[bool], ...]:
    """Conditions for this very claim: a later attempt may have claimed the request since."""
    return (*_unanswered(claimed), IdempotencyKey.held_until == claimed.held_until)


def _unanswered(claimed: Claim) -> tuple[ColumnElement[bool], ...]:
    return IdempotencyKey.owner == claimed.owner, IdempotencyKey.key == claimed.key, IdempotencyKey.status.is_(None)
