"""Prometheus metrics of the whole deployment, read from the database every few seconds."""

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
from reelq.store.db.engine import Store
from reelq.store.queries import metrics
from reelq.store.queries.metrics import AccountMetrics, Balance, DeploymentMetrics, ReadingSums, WebhookMetrics

_PARKING_CAUSES: Final = (Cause.CREDITS, Cause.PLAN, Cause.TOKEN)


class MetricsCollector(Collector):
    """The text of `/metrics`. The request that finds it outdated reads it again."""

    def __init__(self, kept_seconds: float = 5.0, share: int = 20) -> None:
        """Keep figures for `kept_seconds`, or for `share` times the duration of the query if that is longer.

        This limits the load on the database.
        """
        self._kept_seconds, self._share = kept_seconds, share
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._ledger = ReadingSums()
        self._lock = threading.Lock()
        self._text = b""
        self._expires_at = 0.0
        self._last_result: tuple[DeploymentMetrics, float] | None = None

    def told(self, store: Store) -> bytes:
        """Return the text. Requests that arrive during a query wait for it and share its result."""
        with self._lock:
            if time.monotonic() >= self._expires_at:
                started_at = time.monotonic()
                with store.read() as session:
                    figures = metrics.collect(session, store.now(session), self._ledger)
                seconds = time.monotonic() - started_at
                self._last_result = (figures, seconds)
                self._text = generate_latest(self._registry)
                self._expires_at = time.monotonic() + max(self._kept_seconds, self._share * seconds)
            return self._text

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering this collector does not query the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the last query."""
        if self._last_result is None:
            return
        figures, seconds = self._last_result
        yield from _row_metrics(figures)
        yield from _account_metrics(figures.accounts)
        yield from _webhook_metrics(figures.webhooks)
        current = int(figures.schema_is_current)
        yield _gauge(
            "reelq_schema_current",
            "Whether the database has this program's version",
            {figures.schema: current},
            "version",
        )
        yield _gauge("reelq_build_info", "Always 1", {version("reelq"): 1}, "version")
        yield _gauge("reelq_collected_seconds", "Duration of the database query for these metrics", {"": seconds})


def _gauge(name: str, help_text: str, values: Mapping[Any, float], *labels: str) -> Metric:
    """Return a gauge with at most one label."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for label, value in values.items():
        family.add_metric([label] if labels else [], value)
    return family


def _row_metrics(figures: DeploymentMetrics) -> Iterator[Metric]:
    counts = {(stage, status): 0 for stage in PIPELINE for status in Status}
    waiting = dict.fromkeys(Cause, 0)
    for place in figures.places:
        counts[place.stage, place.status] += place.count
        if place.cause:
            waiting[place.cause] += place.count
    jobs = GaugeMetricFamily("reelq_jobs", "Rows at this stage with this status", labels=("stage", "status"))
    for labels, count in counts.items():
        jobs.add_metric(labels, count)
    yield jobs
    yield _gauge("reelq_jobs_waiting", "Waiting rows, by cause", waiting, "cause")
    yield _gauge("reelq_jobs_overdue", "Due rows that no worker has claimed", {"": figures.overdue})
    yield _gauge(
        "reelq_job_oldest_seconds",
        "Age of the oldest batch that has rows with this status",
        figures.oldest_seconds,
        "status",
    )
    yield _gauge("reelq_queue_late_seconds", "How long the oldest due work has waited", {"": figures.late_seconds})
    yield _gauge("reelq_batches", "Batches, by state", figures.batches, "state")


_ACCOUNT_GAUGES: Final[tuple[tuple[str, str, Callable[[AccountMetrics], float]], ...]] = (
    ("reelq_account_in_flight", "Rows of the account in progress", lambda account: account.in_flight),
    ("reelq_account_window", "Maximum rows in progress at once", lambda account: account.window),
    (
        "reelq_account_blocked_seconds",
        "Seconds until the account resumes after a 429",
        lambda account: account.blocked_seconds,
    ),
)
_PURSE_COUNTERS: Final[tuple[tuple[str, str, Callable[[Balance], int]], ...]] = (
    ("reelq_account_credits_spent", "Total credits spent", lambda purse: purse.spent),
    (
        "reelq_account_credits_unattributed",
        "Credits spent that no row was charged for",
        lambda purse: purse.unattributed,
    ),
    ("reelq_account_credits_topped_up", "Total credits added", lambda purse: purse.topped_up),
)


def _account_metrics(accounts: Iterable[AccountMetrics]) -> Iterator[Metric]:
    purses = {account.account_id: account.purse for account in accounts if account.purse}
    for name, help_text, value_of in _ACCOUNT_GAUGES:
        yield _gauge(name, help_text, {account.account_id: value_of(account) for account in accounts}, "account")
    parked = GaugeMetricFamily("reelq_account_parked", "1 while it is parked for this", labels=("account", "cause"))
    for account in accounts:
        for cause in _PARKING_CAUSES:
            parked.add_metric([account.account_id, cause], int(account.parked is cause))
    yield parked
    balance = GaugeMetricFamily("reelq_account_credits", "Balance at its last reading", labels=("account", "kind"))
    for account_id, purse in purses.items():
        balance.add_metric([account_id, "available"], purse.available)
        balance.add_metric([account_id, "frozen"], purse.frozen)
    yield balance
    read_at = {account_id: purse.at.timestamp() for account_id, purse in purses.items()}
    yield _gauge("reelq_account_credits_read_timestamp_seconds", "Time of the last balance reading", read_at, "account")
    for name, help_text, credits_of in _PURSE_COUNTERS:
        family = CounterMetricFamily(name, help_text, labels=("account",))
        for account_id, purse in purses.items():
            family.add_metric([account_id], credits_of(purse))
        yield family


def _webhook_metrics(figures: WebhookMetrics) -> Iterator[Metric]:
    states = {"active": figures.active, "disabled": figures.disabled}
    yield _gauge("reelq_webhooks", "Endpoints", states, "state")
    yield _gauge("reelq_webhook_deliveries", "Undelivered messages, by state", figures.deliveries, "state")
    oldest = {"": figures.oldest_pending_seconds}
    yield _gauge("reelq_webhook_oldest_pending_seconds", "How long the oldest message has been pending", oldest)
