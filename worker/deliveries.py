"""Tells endpoints what they asked to be told: takes a delivery, signs it, sends it, writes down what came of it.

Two short transactions around the sending, none across it. What is told may arrive twice, then under the same id: a
worker that dies in between leaves a try of which nobody knows what came of it, and it is made again.
"""

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httpx
from standardwebhooks import Webhook

from reelq import logs
from reelq.errors import AddressRefused, SettingsError
from reelq.outward import Outward
from reelq.store import deliveries
from reelq.store.deliveries import Letter
from reelq.store.secrets import Vault
from reelq.store.session import Store, is_away
from worker.metrics import Metrics

log = logging.getLogger(__name__)

_IN_ONE_GO: Final = 5.0
"""Seconds that one message may go on with what else is due at its endpoint: it has a slot that others wait for."""
_JITTER: Final = 0.2
_LONGEST_STAY_AWAY: Final = 3600.0
_ASKS_TO_WAIT: Final = frozenset({429, 503})
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one try: a status where there was an answer, words where it did not arrive."""

    status_code: int | None
    error: str = ""
    stay_away: float = 0.0
    """Seconds that the other side asks for, before the next try."""

    @property
    def outcome(self) -> str:
        """The same in a word."""
        if not self.error:
            return "arrived"
        if self.status_code == _GONE:
            return "gone"
        return "refused" if self.status_code else "no_answer"


class Deliveries:
    """One process's way of telling endpoints; its threads share it."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        outward: Outward,
        stopping: threading.Event,
        waits: Sequence[float] = deliveries.WAITS,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._outward = outward
        self._stopping = stopping
        self._metrics = metrics or Metrics()
        self._waits = tuple(waits)

    def run(self, delivery_id: str, attempts: int) -> bool:
        """Make the next try of a delivery that has had so many; whether it was there to be made.

        As long as all goes well, what is due next at the endpoint follows at once.
        """
        with logs.about(delivery=delivery_id):
            return self._run(delivery_id, attempts)

    def _run(self, delivery_id: str, attempts: int) -> bool:
        began = time.monotonic()
        try:
            letter = self._take(delivery_id, attempts)
            if letter is None:
                return False
            while letter is not None:
                with logs.about(delivery=letter.id, webhook=letter.webhook_id):
                    letter = self._record(letter, self._try(letter), go_on=time.monotonic() < began + _IN_ONE_GO)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("the database is away: it is told again later", extra={"away": "database"})
        return True

    def _take(self, delivery_id: str, attempts: int) -> Letter | None:
        with self._store.write() as session:
            now = self._store.now(session)
            if self._stopping.is_set():
                deliveries.put_back(session, delivery_id, attempts, now)
                return None
            return deliveries.claim(session, delivery_id, attempts, now)

    def _try(self, letter: Letter) -> Tried:
        """Send it; told to the log and the metrics."""
        began = time.monotonic()
        tried = self._send(letter)
        seconds = time.monotonic() - began
        self._metrics.deliveries.labels(tried.outcome).observe(seconds)
        log.log(logging.INFO if tried.error else logging.DEBUG, "%s in %.1f s", tried.error or "arrived", seconds)
        return tried

    def _send(self, letter: Letter) -> Tried:
        try:
            answer = self._outward.post(letter.url, letter.body.encode(), self._headers(letter))
        except (AddressRefused, SettingsError) as error:
            return Tried(None, str(error))
        except httpx.TimeoutException:
            return Tried(None, "no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Tried(None, f"no answer: {str(error) or type(error).__name__}")
        if 200 <= answer.status < 300:
            return Tried(answer.status)
        follows = "; redirects are not followed" if 300 <= answer.status < 400 else ""
        stay_away = answer.retry_after or 0.0 if answer.status in _ASKS_TO_WAIT else 0.0
        return Tried(answer.status, f"answered {answer.status}{follows}", min(stay_away, _LONGEST_STAY_AWAY))

    def _headers(self, letter: Letter) -> dict[str, str]:
        secret = self._vault.unlock(letter.secret).get_secret_value()
        return {
            "Content-Type": "application/json",
            "User-Agent": "reelq",
            "webhook-id": letter.id,
            "webhook-timestamp": str(int(letter.taken_at.timestamp())),
            "webhook-signature": Webhook(secret).sign(letter.id, letter.taken_at, letter.body),
        }

    def _record(self, letter: Letter, tried: Tried, *, go_on: bool) -> Letter | None:
        """Write it down; what follows in the same slot, if anything."""
        with self._store.write() as session:
            now = self._store.now(session)
            if tried.status_code == _GONE:
                deliveries.gone(session, letter, now, tried.error, _GONE)
                return None
            if tried.error:
                wait = self._wait(letter.attempt, tried)
                deliveries.went_wrong(session, letter, now, tried.error, tried.status_code, wait)
                return None
            deliveries.arrived(session, letter, now, tried.status_code or 0)
            follows = go_on and not self._stopping.is_set()
            return deliveries.claim_next(session, letter.webhook_id, now) if follows else None

    def _wait(self, attempt: int, tried: Tried) -> float | None:
        """Seconds to the next try, never less than is said; none where there is no other."""
        if attempt > len(self._waits):
            return None
        wait = max(self._waits[attempt - 1], tried.stay_away)
        return wait * (1 + _JITTER * random.random())
