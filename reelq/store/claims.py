"""One at a time: a process's threads take turns, and processes claim a column of the account, which lapses by itself.

Both are for requests that must not be made side by side: a fresh token, a reading of the balance. A claim is a moment:
whoever set it holds it until then, and for as long as nobody else has set another. So a holder that is late finds out
when it gives the claim back, and a holder that died is in nobody's way for long.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Update, or_, update
from sqlalchemy.orm import InstrumentedAttribute

from reelq.store.models import Account
from reelq.store.session import Transaction

_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5

T = TypeVar("T")
Claim = InstrumentedAttribute[datetime | None]
"""`Account.refreshing_until` or `Account.reading_until`."""


class Turns(Generic[T]):
    """Threads that want the same done, one after another; what began after a thread asked is done for it as well.

    So is what failed: a service that is away is asked once for all who wait, not once for each of them in turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = 0
        self._began_at = -math.inf
        self._last: Future[T] | None = None

    def take(self, work: Callable[[], T], fresh: float = 0.0) -> T:
        """What `work` gives or raises, be it this call of it or one that began since.

        Or one that went well and began less than so many seconds ago.
        """
        begun_before = self._begun
        with self._lock:
            # None: whoever began was interrupted, and what it began has come to nothing.
            if self._last is None or not (self._begun != begun_before or self._is_fresh(self._last, fresh)):
                self._began_at = time.monotonic()
                self._begun += 1
                self._last = None
                self._last = _attempt(work)
            return self._last.result()

    def _is_fresh(self, last: Future[T], seconds: float) -> bool:
        return time.monotonic() - self._began_at < seconds and last.exception() is None


def _attempt(work: Callable[[], T]) -> Future[T]:
    done: Future[T] = Future()
    try:
        done.set_result(work())
    except Exception as failure:  # noqa: BLE001 - it is raised again, in each thread that it answers
        done.set_exception(failure.with_traceback(None))
    return done


def claim(
    session: Transaction, account_id: str, column: Claim, now: datetime, seconds: float, *where: ColumnElement[bool]
) -> datetime | None:
    """Take the claim, if it is free and the rest still holds: the moment that stands for it, else None."""
    until = now + timedelta(seconds=seconds)
    free = or_(column.is_(None), column <= now)
    taken = changed(session, update(Account).where(Account.id == account_id, free, *where).values({column: until}))
    return until if taken else None


def give_back(session: Transaction, account_id: str, column: Claim, mine: datetime) -> bool:
    """End the claim; False where another has taken it over meanwhile."""
    held = update(Account).where(Account.id == account_id, column == mine)
    return changed(session, held.values({column: None}))


def changed(session: Transaction, statement: Update) -> bool:
    """Whether the statement changed its row: compare-and-set, and the answer to who won."""
    result: Any = session.execute(statement, execution_options={"synchronize_session": False})
    return bool(result.rowcount == 1)


def pauses() -> Iterator[float]:
    """Seconds between looks at somebody else's claim: short at first, as most requests are."""
    seconds = _SHORTEST_PAUSE
    while True:
        yield seconds
        seconds = min(seconds * 1.5, _LONGEST_PAUSE)
