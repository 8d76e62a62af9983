"""A worker's counters: what counts as what, each process for itself, and an address that is taken."""

import re
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest

from reelq.job import Stage
from worker.maintenance import repeat
from worker.metrics import Metrics
from worker.outcomes import StageResult


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
        (StageResult.DONE, True, 'code="",status="succeeded"'),
        (StageResult.FAILED, False, 'code="no_effect",status="failed"'),
        (StageResult.CANCELLED, False, 'code="",status="cancelled"'),
        (StageResult.DONE, False, ""),
        *(
            (came, True, "")
            for came in (
                StageResult.NOT_YET,
                StageResult.AGAIN,
                StageResult.HELD_OFF,
                StageResult.PARKED,
                StageResult.LET_GO,
            )
        ),
    ],
)
def test_a_row_has_ended_where_no_stage_follows_and_none_is_to_come_again(
    metrics: Metrics, came: StageResult, last: bool, ended: str
) -> None:
    metrics.record_stage(Stage.VERIFY, came, 0.3, code="no_effect", last=last)
    told = _told(metrics)
    counted = [line for line in told.splitlines() if re.match(r"reelq_jobs_ended_total\{.* [1-9]", line)]
    assert counted == ([f"reelq_jobs_ended_total{{{ended}}} 1.0"] if ended else [])
    assert f'reelq_stage_seconds_bucket{{ending="{came}",le="0.5",stage="verify"}} 1.0' in told
    assert f'reelq_stage_seconds_bucket{{ending="{came}",le="0.25",stage="verify"}} 0.0' in told
    assert ('reelq_retries_total{code="no_effect",stage="verify"} 1.0' in told) == (came is StageResult.AGAIN)


def test_a_duty_that_fails_leaves_the_time_of_its_last_round(metrics: Metrics) -> None:
    never = 'reelq_lifeline_round_timestamp_seconds{duty="due_work"} 0.0'
    for error, is_left in ((ZeroDivisionError(), True), (None, False)):
        over = threading.Event()

        def act(error: Exception | None = error, over: threading.Event = over) -> None:
            over.set()
            if error:
                raise error

        repeat("due work", act, 1, over, metrics).join(60)
        assert (never in _told(metrics)) is is_left


def test_two_in_one_interpreter_do_not_count_together(metrics: Metrics) -> None:
    other = Metrics()
    other.rescued.inc(3)
    assert "reelq_leases_rescued_total 0.0" in _told(metrics)
    assert "reelq_leases_rescued_total 3.0" in _told(other)
