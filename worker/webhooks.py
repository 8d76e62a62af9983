"""Sends webhook deliveries: claims one, signs it, sends it, records the answer.

One short transaction before the request and one after it, none while it runs. An event can arrive twice, but with the
same id: if a worker dies during a request, its result is unknown and the request is made again.
"""

import logging
import random
import threading
import time
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
    retry_after: float = 0.0
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
        egress: EgressClient,
        stopping: threading.Event,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._egress = egress
        self._stopping = stopping
        self._metrics = metrics or Metrics()

    def run(self, delivery_id: str, attempts: int) -> bool:
        """Make the next attempt of a delivery that has had this many. Return False if it could not be claimed.

        After a success, the next due delivery to the same endpoint follows at once.
        """
        until = time.monotonic() + _SLOT_SECONDS
        with logs.log_context(delivery=delivery_id):
            try:
                claimed = delivery = self._claim(delivery_id, attempts)
                while delivery:
                    with logs.log_context(delivery=delivery.id, webhook=delivery.webhook_id):
                        delivery = self._record(delivery, self._attempt(delivery), until)
            except Exception as error:
                if not is_unavailable(error):
                    raise
                logs.warn_unavailable(log, "database", "The delivery will be retried.")
                return True
        return claimed is not None

    def _claim(self, delivery_id: str, attempts: int) -> ClaimedDelivery | None:
        with self._store.write() as session:
            now = self._store.now(session)
            if self._stopping.is_set():
                deliveries.give_back(session, delivery_id, attempts, now)
                return None
            return deliveries.claim(session, delivery_id, attempts, now)

    def _attempt(self, delivery: ClaimedDelivery) -> AttemptResult:
        """Send a delivery, and write the result to the log and the metrics."""
        began = time.monotonic()
        result = self._send(delivery)
        seconds = time.monotonic() - began
        self._metrics.deliveries.labels(result.outcome).observe(seconds)
        log.log(logging.INFO if result.error else logging.DEBUG, "%s in %.1f s", result.error or "arrived", seconds)
        return result

    def _send(self, delivery: ClaimedDelivery) -> AttemptResult:
        try:
            answer = self._egress.post(delivery.url, delivery.body.encode(), self._headers(delivery))
        except (AddressRefused, SettingsError) as error:
            return AttemptResult(None, str(error))
        except httpx.TimeoutException:
            return AttemptResult(None, "no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return AttemptResult(None, f"no answer: {str(error) or type(error).__name__}")
        if 200 <= answer.status < 300:
            return AttemptResult(answer.status)
        note = "; redirects are not followed" if 300 <= answer.status < 400 else ""
        retry_after = answer.retry_after or 0.0 if answer.status in _RETRY_AFTER_STATUSES else 0.0
        return AttemptResult(answer.status, f"answered {answer.status}{note}", min(retry_after, _MAX_RETRY_AFTER))

    def _headers(self, delivery: ClaimedDelivery) -> dict[str, str]:
        secret = self._vault.unlock(delivery.secret).get_secret_value()
        return {
            "Content-Type": "application/json",
            "User-Agent": "reelq",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(delivery.taken_at.timestamp())),
            "webhook-signature": Webhook(secret).sign(delivery.id, delivery.taken_at, delivery.body),
        }

    def _record(self, delivery: ClaimedDelivery, result: AttemptResult, until: float) -> ClaimedDelivery | None:
        """Record the result. Return the next delivery to send in the same slot, if any."""
        with self._store.write() as session:
            now = self._store.now(session)
            if result.status_code == _GONE:
                deliveries.disable_endpoint(session, delivery, now, result.error, _GONE)
                return None
            if result.error:
                wait = self._wait(delivery.attempt, result)
                deliveries.record_failure(session, delivery, now, result.error, result.status_code, wait)
                return None
            deliveries.record_delivered(session, delivery, now, result.status_code or 0)
            continues = time.monotonic() < until and not self._stopping.is_set()
            return deliveries.claim_next(session, delivery.webhook_id, now) if continues else None

    def _wait(self, attempt: int, result: AttemptResult) -> float | None:
        """Return the seconds until the next attempt, or None if this was the last. Jitter only adds to the wait."""
        if attempt > len(deliveries.RETRY_DELAYS):
            return None
        wait = max(deliveries.RETRY_DELAYS[attempt - 1], result.retry_after)
        return wait * (1 + _JITTER * random.random())
