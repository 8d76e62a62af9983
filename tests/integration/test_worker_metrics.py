"""A worker's counters over HTTP, and an address that is taken."""

import logging
import socket
from collections.abc import Iterator

import httpx
import pytest

from worker.metrics import Metrics


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
    yield made
    made.close()


def _taken() -> tuple[socket.socket, int]:
    other = socket.create_server(("127.0.0.1", 0))
    return other, int(other.getsockname()[1])


def test_it_answers_where_it_is_told_to_and_counts_what_the_log_says(metrics: Metrics) -> None:
    other, port = _taken()
    other.close()
    metrics.serve(("127.0.0.1", port), "studio:1:abc")
    log = logging.getLogger("worker.test")
    log.warning("the database is away", extra={"away": "database"})
    log.error("a fault")
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    for line in (
        'reelq_away_total{what="database"} 1.0',
        'reelq_log_lines_total{level="warning"} 1.0',
        'reelq_log_lines_total{level="error"} 1.0',
    ):
        assert line in told
    assert 'worker="studio:1:abc"' in told
    assert "_created" not in told


def test_a_port_that_is_taken_costs_a_line_and_nothing_else(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    other, port = _taken()
    with other, caplog.at_level(logging.INFO):
        metrics.serve(("127.0.0.1", port), "studio:1:abc")
    (line,) = caplog.messages
    assert line == f"no metrics are told: REELQ_METRICS_ADDRESS=127.0.0.1:{port}: Address already in use"
