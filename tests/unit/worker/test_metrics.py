"""A worker's counters: what counts as what, each process for itself, and an address that is taken."""

from collections.abc import Iterator

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
    return generate_latest(metrics.registry).decode()


@pytest.mark.parametrize(
    ("came", "last", "ended"),
    [
        (Came.DONE, True, 'reelq_jobs_ended_total{code="",status="succeeded"} 1.0'),
        (Came.FAILED, False, 'reelq_jobs_ended_total{code="no_effect",status="failed"} 1.0'),
        (Came.CANCELLED, False, 'reelq_jobs_ended_total{code="",status="cancelled"} 1.0'),
        (Came.DONE, False, ""),
        *((came, True, "") for came in (Came.NOT_YET, Came.AGAIN, Came.HELD_OFF, Came.PARKED, Came.LET_GO)),
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
    never = 'reelq_lifeline_round_timestamp_seconds{duty="due_work"} 0.0'
    with pytest.raises(ZeroDivisionError):
        metrics.noted("due work", lambda: 1 // 0)()
    assert never in _told(metrics)
    metrics.noted("due work", lambda: None)()
    assert never not in _told(metrics)


def test_two_in_one_interpreter_do_not_count_together(metrics: Metrics) -> None:
    other = Metrics()
    other.rescued.inc(3)
    assert "reelq_leases_rescued_total 0.0" in _told(metrics)
    assert "reelq_leases_rescued_total 3.0" in _told(other)
