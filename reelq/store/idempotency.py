"""Requests that create, asked once more under the same key: answered as before, and what they make is made once."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from reelq.store.clients import IdempotencyKey
from reelq.store.session import Store, Transaction

KEPT: Final = timedelta(hours=24)
"""An answer is given again for so long."""
HELD: Final = timedelta(seconds=120)
"""Whoever is at a request for longer has most likely died over it."""


@dataclass(frozen=True, slots=True)
class Mine:
    """The request is ours to serve; what it makes is to have this id."""

    owner: str
    key: str
    made_id: str
    held_until: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """It was served, and this was the answer."""

    status: int
    answer: str


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Somebody is serving it, for so many seconds at most."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Another:
    """The key stands for another request."""


def claim(store: Store, owner: str, key: str, fingerprint: str, made_id: str) -> Mine | Answered | UnderWay | Another:
    """Take a request, unless it was served or somebody is at it.

    `made_id` is for the first try; every later one gets the first one's.
    """
    while True:
        with suppress(IntegrityError), store.write() as session:  # the same came at this moment: it is under way
            return _claim(session, store.now(session), owner, key, fingerprint, made_id)


def _claim(
    session: Transaction, now: datetime, owner: str, key: str, fingerprint: str, made_id: str
) -> Mine | Answered | UnderWay | Another:
    found = session.get(IdempotencyKey, (owner, key), with_for_update=True)
    if found is not None and found.created_at < now - KEPT:
        session.delete(found)
        session.flush()
        found = None
    if found is None:
        values: dict[str, Any] = {"owner": owner, "key": key, "fingerprint": fingerprint, "made_id": made_id}
        session.execute(insert(IdempotencyKey).values(**values, held_until=now + HELD, answer="", created_at=now))
        return Mine(owner, key, made_id, now + HELD)
    if found.fingerprint != fingerprint:
        return Another()
    if found.status is not None:
        return Answered(found.status, found.answer)
    if found.held_until > now:
        return UnderWay((found.held_until - now).total_seconds())
    found.held_until = now + HELD
    return Mine(owner, key, found.made_id, found.held_until)


def answer(session: Transaction, mine: Mine, status: int, said: str) -> None:
    """It is served: from now on this is what it is answered."""
    served = (IdempotencyKey.owner == mine.owner, IdempotencyKey.key == mine.key)
    this = (*served, IdempotencyKey.made_id == mine.made_id, IdempotencyKey.status.is_(None))
    session.execute(update(IdempotencyKey).where(*this).values(status=status, answer=said))


def let_go(session: Transaction, mine: Mine, now: datetime) -> None:
    """It was not served to its end, and something may have been made: the next try goes on with the same id."""
    session.execute(update(IdempotencyKey).where(*_held(mine)).values(held_until=now))


def give_up(session: Transaction, mine: Mine) -> bool:
    """It was refused, and nothing was made: the key is free, also for a request that was mended."""
    gone: Any = session.execute(delete(IdempotencyKey).where(*_held(mine)))
    return bool(gone.rowcount == 1)


def forget(session: Transaction, now: datetime) -> int:
    """Answers that are not given any more; how many."""
    old = delete(IdempotencyKey).where(IdempotencyKey.created_at < now - KEPT)
    gone: Any = session.execute(old.execution_options(synchronize_session=False))
    return int(gone.rowcount)


def _held(mine: Mine) -> tuple[Any, ...]:
    """The claim as we made it: a later try's is not ours to give up."""
    this = (IdempotencyKey.owner == mine.owner, IdempotencyKey.key == mine.key, IdempotencyKey.status.is_(None))
    return (*this, IdempotencyKey.held_until == mine.held_until)
