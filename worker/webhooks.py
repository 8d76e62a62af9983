"""Sends webhook deliveries: claims one, signs it, sends it, records the answer.

One short transaction before the request and one after it, none while it runs. An event can arrive twice, but with the
same id: if a worker dies during a request, its result is unknown and the request is made again.
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
from reelq.egress import EgressClient
from reelq.errors import AddressRefused, SettingsError
from reelq.store.db.engine import Store, is_unavailable
from reelq.store.db.vault import Vault
from reelq.store.webhooks import deliveries
from reelq.store.webhooks.deliveries import ClaimedDelivery
from worker.metrics import Metrics

log = logging.getLogger(__name__)
_SLOT_SECONDS: Final = 5.0
"""Seconds after which a task starts no further delivery to its endpoint, as others wait for its slot."""
_JITTER: Final = 0.2
_MAX_RETRY_AFTER: Final = 3600.0
_RETRY_AFTER_STATUSES: Final = frozenset({429, 503})
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of one attempt: the status if the endpoint answered, and an error unless the delivery arrived."""

    status_code: int | None
    error: str = ""
    stay_away: float = 0.0
    """Seconds that the endpoint asks to wait before the next attempt."""

    @property
    def outcome(self) -> str:
        """The result in one word, for metrics."""
        if not self.error:
            return "arrived"
        if self.status_code == _GONE:
            return "gone"
        return "refused" if self.status_code else "no_answer"


class Deliveries:
    """Sends webhook deliveries. The threads of a process share one instance."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        outward: EgressClient,
        stopping: threading.Event,
        waits: Sequence[float] = deliveries.RETRY_DELAYS,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._outward = outward
        self._stopping = stopping
        self._metrics = metrics or Metrics()
        self._waits = tuple(waits)

    def run(self, delivery_id: str, attempts: int) -> bool:
        """Make the next attempt of a delivery that has had this many. Return False if it could not be claimed.

        After a success, the next due delivery to the same endpoint follows at once.
        """
        with logs.log_context(delivery=delivery_id):
            return self._run(delivery_id, attempts)

    def _run(self, delivery_id: str, attempts: int) -> bool:
        began = time.monotonic()
        try:
            letter = self._claim(delivery_id, attempts)
            if letter is None:
                return False
            while letter is not None:
                with logs.log_context(delivery=letter.id, webhook=letter.webhook_id):
                    letter = self._record(letter, self._attempt(letter), go_on=time.monotonic() < began + _SLOT_SECONDS)
        except Exception as error:
            if not is_unavailable(error):
                raise
            logs.warn_unavailable(log, "database", "The delivery will be retried.")
        return True

    def _claim(self, delivery_id: str, attempts: int) -> ClaimedDelivery | None:
        with self._store.write() as session:
            now = self._store.now(session)
            if self._stopping.is_set():
                deliveries.give_back(session, delivery_id, attempts, now)
                return None
            return deliveries.claim(session, delivery_id, attempts, now)

    def _attempt(self, letter: ClaimedDelivery) -> AttemptResult:
        """Send a delivery, and write the result to the log and the metrics."""
        began = time.monotonic()
        result = self._send(letter)
        seconds = time.monotonic() - began
        self._metrics.deliveries.labels(result.outcome).observe(seconds)
        log.log(logging.INFO if result.error else logging.DEBUG, "%s in %.1f s", result.error or "arrived", seconds)
        return result

    def _send(self, letter: ClaimedDelivery) -> AttemptResult:
        try:
            answer = self._outward.post(letter.url, letter.body.encode(), self._headers(letter))
        except (AddressRefused, SettingsError) as error:
            return AttemptResult(None, str(error))
        except httpx.TimeoutException:
            return AttemptResult(None, "no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return AttemptResult(None, f"no answer: {str(error) or type(error).__name__}")
        if 200 <= answer.status < 300:
            return AttemptResult(answer.status)
        note = "; redirects are not followed" if 300 <= answer.status < 400 else ""
        stay_away = answer.retry_after or 0.0 if answer.status in _RETRY_AFTER_STATUSES else 0.0
        return AttemptResult(answer.status, f"answered {answer.status}{note}", min(stay_away, _MAX_RETRY_AFTER))

    def _headers(self, letter: ClaimedDelivery) -> dict[str, str]:
        secret = self._vault.unlock(letter.secret).get_secret_value()
        return {
            "Content-Type": "application/json",
            "User-Agent": "reelq",
            "webhook-id": letter.id,
            "webhook-timestamp": str(int(letter.taken_at.timestamp())),
            "webhook-signature": Webhook(secret).sign(letter.id, letter.taken_at, letter.body),
        }

    def _record(self, letter: ClaimedDelivery, result: AttemptResult, *, go_on: bool) -> ClaimedDelivery | None:
        """Record the result. Return the next delivery to send in the same slot, if any."""
        with self._store.write() as session:
            now = self._store.now(session)
            if result.status_code == _GONE:
                deliveries.disable_endpoint(session, letter, now, result.error, _GONE)
                return None
            if result.error:
                wait = self._wait(letter.attempt, result)
                deliveries.record_failure(session, letter, now, result.error, result.status_code, wait)
                return None
            deliveries.record_delivered(session, letter, now, result.status_code or 0)
            continues = go_on and not self._stopping.is_set()
            return deliveries.claim_next(session, letter.webhook_id, now) if continues else None

    def _wait(self, attempt: int, result: AttemptResult) -> float | None:
        """Return the seconds until the next attempt, or None if this was the last. Jitter only adds to the wait."""
        if attempt > len(self._waits):
            return None
        wait = max(self._waits[attempt - 1], result.stay_away)
        return wait * (1 + _JITTER * random.random())
