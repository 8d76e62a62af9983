"""The metrics of the deployment for Prometheus, read from the database every few seconds."""

import threading
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Final

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.deps import Here
from reelq.store.db.engine import Store
from reelq.store.queries import metrics
from reelq.store.queries.metrics import ReadingSums, gauge

ANSWERS: Final = {
    200: {"description": "Metrics, as Prometheus reads them", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def show_metrics(here: Here, request: Request) -> Response:
    """Metrics of the whole deployment, over all owners. They contain no names of batches or rows."""
    return Response(request.app.state.exposition.text(here.store), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class Exposition:
    """The text of `/metrics`. The request that finds it outdated reads it again."""

    def __init__(self, kept_seconds: float = 5.0, share: int = 20) -> None:
        """Keep figures for `kept_seconds`, or for `share` times the duration of the query if that is longer.

        This limits the load on the database.
        """
        self._kept_seconds, self._share = kept_seconds, share
        self._sums: dict[str, ReadingSums] = {}
        self._lock = threading.Lock()
        self._text = b""
        self._expires_at = 0.0

    def text(self, store: Store) -> bytes:
        """Return the text. Requests that arrive during a query wait for it and share its result."""
        with self._lock:
            if time.monotonic() >= self._expires_at:
                started_at = time.monotonic()
                with store.read() as session:
                    found = list(metrics.collect(session, store.now(session), self._sums))
                seconds = time.monotonic() - started_at
                found.append(gauge("reelq_build_info", "Always 1", {version("reelq"): 1}, "version"))
                help_text = "Duration of the database query for these metrics"
                found.append(gauge("reelq_collected_seconds", help_text, {(): seconds}))
                self._text = generate_latest(_Collected(found))
                self._expires_at = time.monotonic() + max(self._kept_seconds, self._share * seconds)
            return self._text


class _Collected(Collector):
    """Metrics that have been collected."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        return iter(self._found)
