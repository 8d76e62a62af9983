"""What keeps a worker going: leases, duties that are done again and again, and a connection that may be lost."""

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
from celery.worker.consumer import consumer as celerys

from worker import maintenance
from worker.consumer import Consumer
from worker.context import Cancelled, JobReleased
from worker.held_jobs import HeldJobs
from worker.metrics import Metrics


@pytest.mark.parametrize(
    ("began", "renewed", "wishes", "ended_by"),
    [
        pytest.param(0, None, {}, None, id="a lease that goes on"),
        pytest.param(-61, None, {}, JobReleased, id="one that has lapsed, though nobody took it"),
        pytest.param(-61, 0, {"job_1": False}, None, id="a renewed one"),
        pytest.param(-61, -61, {"job_1": False}, JobReleased, id="one whose renewal began too long ago"),
        pytest.param(0, 0, {}, JobReleased, id="a job that the renewal found elsewhere"),
        pytest.param(0, 0, {"job_1": True}, Cancelled, id="a wish to cancel that came with the renewal"),
    ],
)
def test_a_job_is_kept_while_its_lease_goes_on_and_nobody_wishes_otherwise(
    began: float, renewed: float | None, wishes: dict[str, bool], ended_by: type[Exception] | None
) -> None:
    held_jobs, now = HeldJobs(lease_seconds=60), time.monotonic()
    with held_jobs.holding("job_1", 1, now + began) as held:
        if renewed is not None:
            held_jobs.apply_renewal({"job_1": held}, wishes, now + renewed)
        with pytest.raises(ended_by) if ended_by else nullcontext():
            held_jobs.check(held)
        assert held_jobs.all() == [held]
    assert held_jobs.all() == []


def test_everything_is_let_go_of_when_the_worker_must() -> None:
    held_jobs = HeldJobs(lease_seconds=60)
    with held_jobs.holding("job_1", 1, time.monotonic()) as held:
        held_jobs.must_release.set()
        with pytest.raises(JobReleased):
            held_jobs.check(held)


class Over(threading.Event):
    """The end of all rounds, and their clock: time passes where a duty takes some, or where somebody waits."""

    passed = worked = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.passed += timeout or 0
        return self.is_set()

    def monotonic(self) -> float:
        return self.passed

    def thread_time(self) -> float:
        return self.worked


@pytest.mark.parametrize(
    ("every", "wish", "takes", "works", "distance"),
    [
        pytest.param(0.3, None, 0, 0, 0.3, id="at the usual distance"),
        pytest.param(0.3, 0.1, 0, 0, 0.1, id="as soon as it asks"),
        pytest.param(0.3, 9.0, 0, 0, 0.3, id="no later than usual"),
        pytest.param(0.3, 0.0, 0, 0, 0.02, id="after a pause at least"),
        pytest.param(0.3, -1.0, 0, 0, 0.02, id="after a pause, whatever it asks"),
        pytest.param(2.0, None, 0.5, 0, 2.0, id="its own time is part of the distance"),
        pytest.param(2.0, None, 3.0, 0, 3.02, id="a round longer than the distance"),
        pytest.param(2.0, 0.0, 0.2, 0, 0.4, id="a rest as long as the round"),
        pytest.param(2.0, 0.0, 0, 0.04, 0.44, id="ten times the processor's time"),
        pytest.param(0.3, 0.0, 0, 0.1, 0.3, id="no rest longer than usual"),
    ],
)
def test_a_round_follows_the_last_one_as_soon_as_its_wish_and_its_rest_allow(
    monkeypatch: pytest.MonkeyPatch, every: float, wish: float | None, takes: float, works: float, distance: float
) -> None:
    over = Over()
    began: list[float] = []

    def act() -> float | None:
        began.append(over.passed)
        if len(began) == 4:
            over.set()
        over.passed += takes + works
        over.worked += works
        if len(began) == 2:
            raise RuntimeError("a round that fails")
        return wish

    monkeypatch.setattr(maintenance, "time", over)
    metrics = Metrics()
    maintenance.repeat("test", act, every, over, metrics).join(60)
    distances = [later - earlier for earlier, later in pairwise(began)]
    assert metrics.rounds.labels("test")._value.get() > 0
    # The round that failed has no wish: it is followed by one at the usual distance.
    assert distances == pytest.approx([distance, max(every, takes + works + 0.02), distance])


class _Request:
    """A task that came over the lost connection."""

    id = "job.edit.1"


@pytest.fixture
def consumer() -> Any:
    """One that has lost its connection, and has nothing of its own to clear away."""
    made: Any = object.__new__(Consumer)
    made.controller = made.timer = made.pool = None
    made.task_buckets = {}
    return made


class _Changing(set[_Request]):
    """Tasks begin while somebody goes through it, the first few times."""

    times = 3

    def __iter__(self) -> Iterator[_Request]:
        self.times -= 1
        for each in super().__iter__():
            if self.times >= 0:
                self.add(_Request())
            yield each


def test_tasks_that_begin_while_a_connection_is_given_up_do_no_harm(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = _Changing({_Request()})
    monkeypatch.setattr(celerys, "reserved_requests", requests)
    consumer.on_close()
    assert requests.times < 0


def test_what_goes_wrong_for_good_is_not_tried_for_ever(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def fail(_: Any) -> None:
        tries.append(1)
        raise RuntimeError("for another reason")

    monkeypatch.setattr(Consumer.__base__, "on_close", fail)
    with pytest.raises(RuntimeError, match="for another reason"):
        consumer.on_close()
    assert 1 < len(tries) < 1000
