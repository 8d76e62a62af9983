"""The deployment's figures as Prometheus reads them: metrics made of what the database says, and kept for a moment."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from reelq.job import PIPELINE, Cause, Status
from reelq.store import gauges
from reelq.store.gauges import AccountFigures, Figures, Ledger, Purse, WebhookFigures
from reelq.store.session import Store

_PARKING: Final = (Cause.CREDITS, Cause.PLAN, Cause.TOKEN)


class Exposition(Collector):
    """What `/metrics` answers; counted anew when the last count is old, by one of those who ask."""

    def __init__(self, kept_seconds: float = 5.0, share: int = 20) -> None:
        """A count is kept for so many seconds, and for `share` times as long as it took where that is longer: so it is
        never more than a part of the database's work."""
        self._kept_seconds, self._share = kept_seconds, share
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._ledger = Ledger()
        self._lock = threading.Lock()
        self._told = b""
        self._until = 0.0
        self._found: tuple[Figures, float] | None = None

    def told(self, store: Store) -> bytes:
        """The text; whoever comes while another counts waits for that one's."""
        with self._lock:
            if time.monotonic() >= self._until:
                began = time.monotonic()
                with store.read() as session:
                    found = gauges.figures(session, store.now(session), self._ledger)
                took = time.monotonic() - began
                self._found = (found, took)
                self._told = generate_latest(self._registry)
                self._until = time.monotonic() + max(self._kept_seconds, self._share * took)
            return self._told

    def describe(self) -> Iterable[Metric]:
        """Nothing: there are no figures before the database is asked."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric of the last count."""
        if self._found is None:
            return
        found, took = self._found
        yield from _of_rows(found)
        yield from _of_accounts(found.accounts)
        yield from _of_webhooks(found.webhooks)
        current = int(found.schema_is_current)
        yield _gauge(
            "reelq_schema_current",
            "Whether the database has this program's version",
            {found.schema: current},
            "version",
        )
        yield _gauge("reelq_build_info", "Always 1", {version("reelq"): 1}, "version")
        yield _gauge("reelq_collected_seconds", "How long the database took to answer all this", {"": took})


def _gauge(name: str, says: str, values: Mapping[Any, float], *labels: str) -> Metric:
    """A gauge with at most one label."""
    family = GaugeMetricFamily(name, says, labels=labels)
    for word, value in values.items():
        family.add_metric([word] if labels else [], value)
    return family


def _of_rows(found: Figures) -> Iterator[Metric]:
    places = {(stage, status): 0 for stage in PIPELINE for status in Status}
    waiting = dict.fromkeys(Cause, 0)
    for place in found.places:
        places[place.stage, place.status] += place.count
        if place.cause:
            waiting[place.cause] += place.count
    jobs = GaugeMetricFamily("reelq_jobs", "Rows at this stage with this status", labels=("stage", "status"))
    for at, count in places.items():
        jobs.add_metric(at, count)
    yield jobs
    yield _gauge("reelq_jobs_waiting", "Rows that wait, by what for", waiting, "cause")
    yield _gauge("reelq_jobs_overdue", "Rows that are due, and that no worker has taken", {"": found.overdue})
    yield _gauge("reelq_job_oldest_seconds", "Since when the oldest such row is here", found.oldest_seconds, "status")
    yield _gauge("reelq_queue_late_seconds", "How long work has been due that nobody does", {"": found.late_seconds})
    yield _gauge("reelq_batches", "Batches, by state", found.batches, "state")


_OF_ACCOUNTS: Final[tuple[tuple[str, str, Callable[[AccountFigures], float]], ...]] = (
    ("reelq_account_in_flight", "Rows of the account that are under way", lambda account: account.in_flight),
    ("reelq_account_window", "The most rows that may be so at once", lambda account: account.window),
    ("reelq_account_blocked_seconds", "Seconds until it goes on after a 429", lambda account: account.blocked_seconds),
)
_OF_PURSES: Final[tuple[tuple[str, str, Callable[[Purse], int]], ...]] = (
    ("reelq_account_credits_spent", "All that the balance has lost", lambda purse: purse.spent),
    ("reelq_account_credits_unattributed", "The part that no row was charged with", lambda purse: purse.unattributed),
    ("reelq_account_credits_topped_up", "All that the balance has gained", lambda purse: purse.topped_up),
)


def _of_accounts(accounts: Iterable[AccountFigures]) -> Iterator[Metric]:
    purses = {account.account_id: account.purse for account in accounts if account.purse}
    for name, says, of in _OF_ACCOUNTS:
        yield _gauge(name, says, {account.account_id: of(account) for account in accounts}, "account")
    parked = GaugeMetricFamily("reelq_account_parked", "1 while it is parked for this", labels=("account", "cause"))
    for account in accounts:
        for cause in _PARKING:
            parked.add_metric([account.account_id, cause], int(account.parked is cause))
    yield parked
    balance = GaugeMetricFamily("reelq_account_credits", "The balance as read last", labels=("account", "kind"))
    for account_id, purse in purses.items():
        balance.add_metric([account_id, "available"], purse.available)
        balance.add_metric([account_id, "frozen"], purse.frozen)
    yield balance
    read = {account_id: purse.at.timestamp() for account_id, purse in purses.items()}
    yield _gauge("reelq_account_credits_read_timestamp_seconds", "When the balance was read last", read, "account")
    for name, says, counted in _OF_PURSES:
        family = CounterMetricFamily(name, says, labels=("account",))
        for account_id, purse in purses.items():
            family.add_metric([account_id], counted(purse))
        yield family


def _of_webhooks(found: WebhookFigures) -> Iterator[Metric]:
    states = {"active": found.active, "disabled": found.disabled}
    yield _gauge("reelq_webhooks", "Endpoints", states, "state")
    yield _gauge("reelq_webhook_deliveries", "Messages that have not arrived, by state", found.deliveries, "state")
    oldest = {"": found.oldest_pending_seconds}
    yield _gauge("reelq_webhook_oldest_pending_seconds", "How long the oldest message has been pending", oldest)
