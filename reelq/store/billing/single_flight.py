"""Single-flight requests: threads of a process share one run, and processes claim a column of the account.

Both are for requests that must not overlap: for a new token, or for the balance. A claim is the time until which it
lasts, written to a column of the account. It belongs to the process that wrote it, until it expires and another process
writes a new one. So a process that is late finds out when it gives the claim back, and the claim of a process that died
expires soon.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.orm import InstrumentedAttribute

from reelq.store.db.engine import Transaction
from reelq.store.db.models import Account
from reelq.store.db.statements import execute_dml

_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
T = TypeVar("T")
Claim = InstrumentedAttribute[datetime | None]
"""`Account.refreshing_until` or `Account.reading_until`."""


class SingleFlight(Generic[T]):
    """Single-flight: a caller shares any run that starts after it asked.

    It shares a failure too: a service that is unavailable is asked once for all who wait, not once for each of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._started_at = -math.inf
        self._last: Future[T] | None = None

    def do(self, work: Callable[[], T], fresh: float = 0.0) -> T:
        """Return or raise the result of `work`: of a new run, or of one that has started since this call.

        A successful run that started less than `fresh` seconds ago is shared as well.
        """
        runs_before = self._runs
        with self._lock:
            # None: there was no run yet, or the last one was interrupted and has no result.
            if self._last is None or not (self._runs != runs_before or self._is_fresh(self._last, fresh)):
                self._started_at = time.monotonic()
                self._runs += 1
                self._last = None
                self._last = _attempt(work)
            return self._last.result()

    def _is_fresh(self, last: Future[T], seconds: float) -> bool:
        return time.monotonic() - self._started_at < seconds and last.exception() is None


def _attempt(work: Callable[[], T]) -> Future[T]:
    result: Future[T] = Future()
    try:
        result.set_result(work())
    except Exception as error:  # noqa: BLE001 - raised again in each thread that shares the run
        result.set_exception(error.with_traceback(None))
    return result


def claim(
    session: Transaction, account_id: str, column: Claim, now: datetime, seconds: float, *where: ColumnElement[bool]
) -> datetime | None:
    """Take the claim if it is free and the conditions hold; returns the time until which it lasts, else None."""
    until = now + timedelta(seconds=seconds)
    free = or_(column.is_(None), column <= now)
    statement = update(Account).where(Account.id == account_id, free, *where).values({column: until})
    return until if execute_dml(session, statement) else None


def release(session: Transaction, account_id: str, column: Claim, claimed_until: datetime) -> bool:
    """Release the claim; False if it had expired and another process has taken it."""
    held = update(Account).where(Account.id == account_id, column == claimed_until)
    return execute_dml(session, held.values({column: None})) == 1


def backoff() -> Iterator[float]:
    """Seconds to wait between attempts to take a claim: short at first, as most requests are short."""
    seconds = _SHORTEST_PAUSE
    while True:
        yield seconds
        seconds = min(seconds * 1.5, _LONGEST_PAUSE)
