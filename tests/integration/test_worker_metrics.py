"""A worker's counters: what the log says counts, and an address that is taken costs a line and nothing else."""

import logging
import socket

import pytest
from prometheus_client import generate_latest

from worker.metrics import Metrics


def test_what_the_log_says_is_counted_though_the_port_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    metrics, log = Metrics(), logging.getLogger("worker.test")
    with socket.create_server(("127.0.0.1", 0)) as other, caplog.at_level(logging.INFO):
        port = other.getsockname()[1]
        metrics.serve(("127.0.0.1", port), "studio:1:abc")
        assert caplog.messages == [
            f"Cannot serve metrics at REELQ_METRICS_ADDRESS=127.0.0.1:{port}: Address already in use"
        ]
        log.warning("the database is away", extra={"away": "database"})
        log.error("a fault")
    metrics.close()
    told = generate_latest(metrics.registry).decode()
    for line in (
        'reelq_away_total{what="database"} 1.0',
        'reelq_log_lines_total{level="warning"} 2.0',
        'reelq_log_lines_total{level="error"} 1.0',
    ):
        assert line in told
    assert 'worker="studio:1:abc"' in told
    assert "_created" not in told
