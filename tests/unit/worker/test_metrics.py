"""A worker's counters: what counts as what, each process for itself, and an address that is taken."""

import logging
import socket
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import generate_latest

from reelq.job import Stage
from worker.ending import Came
from worker.metrics import Metrics


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
    yield made
    made.close()


def _told(metrics: Metrics) -> str:
    return generate_latest(metrics._registry).decode()


def _taken() -> tuple[socket.socket, int]:
    other = socket.create_server(("127.0.0.1", 0))
    return other, int(other.getsockname()[1])


@pytest.mark.parametrize(
    ("came", "last", "ended"),
    [
        (Came.DONE, True, 'reelq_jobs_ended_total{code="",status="succeeded"} 1.0'),
        (Came.FAILED, False, 'reelq_jobs_ended_total{code="no_effect",status="failed"} 1.0'),
        (Came.CANCELLED, False, 'reelq_jobs_ended_total{code="",status="cancelled"} 1.0'),
        (Came.DONE, False, ""),
        (Came.NOT_YET, True, ""),
        (Came.AGAIN, True, ""),
        (Came.HELD_OFF, True, ""),
        (Came.PARKED, True, ""),
        (Came.LET_GO, True, ""),
    ],
)
def test_a_row_has_ended_where_no_stage_follows_and_none_is_to_come_again(
    metrics: Metrics, came: Came, last: bool, ended: str
) -> None:
    metrics.told_of(Stage.VERIFY, came, 0.3, code="no_effect", last=last)
    told = [line for line in _told(metrics).splitlines() if line.startswith("reelq_jobs_ended_total{")]
    assert [line for line in told if not line.endswith(" 0.0")] == ([ended] if ended else [])
    assert f'reelq_stage_seconds_bucket{{ending="{came}",le="0.5",stage="verify"}} 1.0' in _told(metrics)
    assert f'reelq_stage_seconds_bucket{{ending="{came}",le="0.25",stage="verify"}} 0.0' in _told(metrics)
    retried = 'reelq_retries_total{code="no_effect",stage="verify"} 1.0' in _told(metrics)
    assert retried == (came is Came.AGAIN)


def test_a_duty_that_fails_leaves_the_time_of_its_last_round(metrics: Metrics) -> None:
    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        metrics.noted("due work", fail)()
    assert 'reelq_lifeline_round_timestamp_seconds{duty="due_work"} 0.0' in _told(metrics)
    metrics.noted("due work", lambda: None)()
    assert 'reelq_lifeline_round_timestamp_seconds{duty="due_work"} 0.0' not in _told(metrics)


def test_two_in_one_interpreter_do_not_count_together(metrics: Metrics) -> None:
    other = Metrics()
    other.rescued.inc(3)
    assert "reelq_leases_rescued_total 0.0" in _told(metrics)
    assert "reelq_leases_rescued_total 3.0" in _told(other)


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
