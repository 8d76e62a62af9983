"""What a worker process tells Prometheus of itself: counted as it works, served where it is told to.

Each process has a registry of its own, so that two in one interpreter, as in tests, do not count together.
"""

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Final, TypeVar

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
from worker.ending import Came

log = logging.getLogger(__name__)

T = TypeVar("T")

_STAGE_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 900)
"""From the upload of a small clip to the longest edit."""
_DELIVERY_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ENDS: Final[Mapping[Came, Status]] = MappingProxyType(
    {Came.DONE: Status.SUCCEEDED, Came.FAILED: Status.FAILED, Came.CANCELLED: Status.CANCELLED}
)


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._server: Any = None
        self._lines: _Lines | None = None
        registry = self.registry
        self.stages = Histogram(
            "reelq_stage_seconds", "How long stages took, by how they ended", ("stage", "ending"), registry=registry,
            buckets=_STAGE_SECONDS,
        )  # fmt: skip
        self.ended = Counter("reelq_jobs_ended", "Rows brought to their end", ("status", "code"), registry=registry)
        self.messages = Counter("reelq_messages", "Messages by what came of them", ("stage", "came"), registry=registry)
        self.retries = Counter("reelq_retries", "Stages to be tried again", ("stage", "code"), registry=registry)
        self.limited = Counter("reelq_rate_limited", "Answers 429", ("stage",), registry=registry)
        self.tokens = Counter("reelq_token_requests", "Free tokens asked for", ("outcome",), registry=registry)
        self.rescued = Counter("reelq_leases_rescued", "Rows taken back from the silent", registry=registry)
        self.lost = Counter("reelq_leases_lost", "Rows held, and not kept", registry=registry)
        self.in_hand = Gauge("reelq_jobs_in_hand", "Rows that it works on now", registry=registry)
        self.slots = Gauge("reelq_slots", "How many rows it can work on at once", registry=registry)
        self.deliveries = Histogram(
            "reelq_delivery_seconds", "Tries to tell an endpoint something", ("outcome",), registry=registry,
            buckets=_DELIVERY_SECONDS,
        )  # fmt: skip
        self.away = Counter("reelq_away", "Times that work had to wait for it", ("what",), registry=registry)
        self.lines = Counter("reelq_log_lines", "Lines of the log, from warnings on", ("level",), registry=registry)
        self.rounds = Gauge(
            "reelq_lifeline_round_timestamp_seconds", "When a duty was last done", ("duty",), registry=registry
        )
        self.info = Gauge("reelq_worker_info", "Always 1", ("worker", "version"), registry=registry)
        ProcessCollector(namespace="reelq", registry=registry)
        self._begin_at_nought()

    def _begin_at_nought(self) -> None:
        """What an alert waits for is there before it first happens: else the first time would be no increase."""
        for stage in Stage:
            self.limited.labels(stage)
        for family, words in (
            (self.tokens, ("granted", "refused")),
            (self.away, ("database", "broker")),
            (self.lines, ("warning", "error", "critical")),
        ):
            for word in words:
                family.labels(word)
        for status in (Status.SUCCEEDED, Status.CANCELLED):
            self.ended.labels(status, "")

    def told_of(self, stage: Stage, came: Came, seconds: float, *, code: str = "", last: bool = False) -> None:
        """A stage has ended: how, after how long, and with which error; `last` where no stage follows it."""
        self.stages.labels(stage, came).observe(seconds)
        if came is Came.AGAIN:
            self.retries.labels(stage, code).inc()
        if came in _ENDS and (last or came is not Came.DONE):
            self.ended.labels(_ENDS[came], code if came is Came.FAILED else "").inc()

    def noted(self, duty: str, act: Callable[[], T]) -> Callable[[], T]:
        """The duty, with each round that it brings to its end written down."""
        when = self.rounds.labels(duty.replace(" ", "_"))

        def round_() -> T:
            said = act()
            when.set_to_current_time()
            return said

        return round_

    def serve(self, place: tuple[str, int], worker: str) -> None:
        """Answer there from now on; that it can't is no reason not to work."""
        disable_created_metrics()  # type: ignore[no-untyped-call] # when a series began is of no use here
        host, port = place
        shown = f"{f'[{host}]' if ':' in host else host}:{port}"
        self.info.labels(worker, version("reelq")).set(1)
        self._lines = _Lines(self)
        logging.getLogger().addHandler(self._lines)
        try:
            self._server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            log.warning("no metrics are told: REELQ_METRICS_ADDRESS=%s: %s", shown, error.strerror or error)
        else:
            log.info("metrics at http://%s/metrics", shown)

    def close(self) -> None:
        """Answer no more."""
        if self._lines:
            logging.getLogger().removeHandler(self._lines)
        if self._server:
            self._server.shutdown()
            self._server.server_close()


class _Lines(logging.Handler):
    """Counts what the log says: how much of it is bad, and which of it is about something that is away."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(logging.WARNING)
        self._metrics = metrics

    def emit(self, record: logging.LogRecord) -> None:
        self._metrics.lines.labels(record.levelname.lower()).inc()
        if what := getattr(record, "away", ""):
            self._metrics.away.labels(what).inc()
