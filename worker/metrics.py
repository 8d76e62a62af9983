"""The Prometheus metrics of a worker process.

Each `Metrics` has its own registry, so that two workers in one interpreter, as in tests, count separately.
"""

import logging
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from reelq.job import Stage, Status
from worker.outcomes import StageResult

log = logging.getLogger(__name__)

_STAGE_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 900)
"""From the upload of a small clip to the longest edit."""
_DELIVERY_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_FINAL_STATUSES: Final[Mapping[StageResult, Status]] = MappingProxyType(
    {StageResult.DONE: Status.SUCCEEDED, StageResult.FAILED: Status.FAILED, StageResult.CANCELLED: Status.CANCELLED}
)


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._server: Any = None
        self._log_counter: _LogCounter | None = None
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.stages = histogram(
            "reelq_stage_seconds",
            "How long stages took, by how they ended",
            ("stage", "ending"),
            buckets=_STAGE_SECONDS,
        )
        self.ended = counter("reelq_jobs_ended", "Rows that have ended", ("status", "code"))
        self.messages = counter("reelq_messages", "Messages by result", ("stage", "came"))
        self.retries = counter("reelq_retries", "Stages that will be retried", ("stage", "code"))
        self.limited = counter("reelq_rate_limited", "Answers 429", ("stage",))
        self.tokens = counter("reelq_token_requests", "Requests for free tokens", ("outcome",))
        self.rescued = counter("reelq_leases_rescued", "Rows rescheduled after their lease expired")
        self.lost = counter("reelq_leases_lost", "Rows whose lease was lost")
        self.in_hand = gauge("reelq_jobs_in_hand", "Rows in progress")
        self.slots = gauge("reelq_slots", "How many rows it can work on at once")
        self.deliveries = histogram(
            "reelq_delivery_seconds", "Webhook delivery attempts", ("outcome",), buckets=_DELIVERY_SECONDS
        )
        self.away = counter("reelq_away", "Times that work waited for an unavailable service", ("what",))
        self.lines = counter("reelq_log_lines", "Log records, from warnings up", ("level",))
        self.rounds = gauge(
            "reelq_lifeline_round_timestamp_seconds", "Time of the last completed run of a duty", ("duty",)
        )
        self.info = gauge("reelq_worker_info", "Always 1", ("worker", "version"))
        ProcessCollector(namespace="reelq", registry=self.registry)
        self._create_series()

    def _create_series(self) -> None:
        """Create series with the value 0 that alerts use. Otherwise the first event would not be an increase."""
        for stage in Stage:
            self.limited.labels(stage)
        for family, labels in (
            (self.tokens, ("granted", "refused")),
            (self.away, ("database", "broker")),
            (self.lines, ("warning", "error", "critical")),
        ):
            for label in labels:
                family.labels(label)
        for status in (Status.SUCCEEDED, Status.CANCELLED):
            self.ended.labels(status, "")

    def record_stage(
        self, stage: Stage, result: StageResult, seconds: float, *, code: str = "", last: bool = False
    ) -> None:
        """Count a stage that has ended. `last` says that no stage follows it."""
        self.stages.labels(stage, result).observe(seconds)
        if result is StageResult.AGAIN:
            self.retries.labels(stage, code).inc()
        if result in _FINAL_STATUSES and (last or result is not StageResult.DONE):
            self.ended.labels(_FINAL_STATUSES[result], code if result is StageResult.FAILED else "").inc()

    def serve(self, address: tuple[str, int], worker: str) -> None:
        """Serve the metrics at this address. If that fails, log a warning and go on."""
        disable_created_metrics()  # type: ignore[no-untyped-call] # creation times are not needed
        host, port = address
        display_address = f"{f'[{host}]' if ':' in host else host}:{port}"
        self.info.labels(worker, version("reelq")).set(1)
        self._log_counter = _LogCounter(self)
        logging.getLogger().addHandler(self._log_counter)
        try:
            self._server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            log.warning(
                "Cannot serve metrics at REELQ_METRICS_ADDRESS=%s: %s", display_address, error.strerror or error
            )
        else:
            log.info("Metrics at http://%s/metrics", display_address)

    def close(self) -> None:
        """Stop serving."""
        if self._log_counter:
            logging.getLogger().removeHandler(self._log_counter)
        if self._server:
            self._server.shutdown()
            self._server.server_close()


class _LogCounter(logging.Handler):
    """Counts log records by level, from warnings on, and those that report an unavailable database or broker."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(logging.WARNING)
        self._metrics = metrics

    def emit(self, record: logging.LogRecord) -> None:
        self._metrics.lines.labels(record.levelname.lower()).inc()
        if what := getattr(record, "away", ""):
            self._metrics.away.labels(what).inc()
