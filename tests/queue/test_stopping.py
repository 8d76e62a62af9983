"""Workers that are told to stop, in the midst of open streams, and workers that slept: nothing twice, nothing lost."""

import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.queue.farm import KINDS, Farm, farm, lines, until
from tests.queue.sizes import crossed, size
from tests.queue.test_chaos import nothing_is_wrong
from tests.queue.worker_process import WorkerProcess

STREAMS = size(6, 50)
GRACE = 2.0
LEFT_ALONE: dict[str, object] = {"keep_alive": 600.0}
"""A service whose streams give no sign of life: a thread that listens notices nothing."""
PATIENT: dict[str, Any] = {
    "reelq_poll_limit": 500,  # the stand-in encodes two exports at a time
    "reelq_stop_grace": GRACE,
    "reelq_edit_timeout": 40.0,
    "reelq_silence_timeout": 30.0,
    "reelq_lease_seconds": 20.0,
}
"""A lease and streams that outlast the grace by far: what frees the jobs is that they are let go of."""


def streams(made: Farm) -> int:
    """How many instructions the agent is at."""
    return sum(message["outcome"] == "under way" for _, message in made.heard())


def seconds_to_exit(worker: WorkerProcess, *signals: signal.Signals, between: float = 0.3) -> float:
    """Send these, one after another; how long the process lives after the last, which is less than a minute."""
    for number, each in enumerate(signals):
        time.sleep(between if number else 0)
        worker.send_signal(each)
    began = time.monotonic()
    worker.wait(60)
    return time.monotonic() - began


def released(made: Farm) -> "Counter[str]":
    """The jobs that a stopping worker let go of, each with how often."""
    words = "its worker was stopped; requeued"
    return Counter(job_id for (job_id,) in made.sql(f"select job_id from job_events where words = '{words}'"))


def taken_after_release(made: Farm) -> int:
    """How often another worker has begun with a job that one had let go of."""
    rows = made.sql("select job_id, after from job_events where what in ('again', 'running') order by job_id, id")
    return sum((job, after, status) == (same, "queued", "running") for (job, after), (same, status) in pairwise(rows))


def two_workers_and_open_streams(made: Farm, count: int) -> tuple[str, WorkerProcess]:
    """A batch all of whose streams the first worker holds, and a second worker that stands by."""
    batch = made.submit(lines(count))
    first = made.start_worker()
    until(lambda: streams(made) == count, f"{count} open streams")
    made.start_worker()
    until(lambda: is_ready(made, 1), "a second worker")
    return batch, first


def is_ready(made: Farm, number: int) -> bool:
    """Whether this worker takes jobs."""
    log = (made.folder / f"worker{number}.log").read_text()
    return " ready." in log if made.redis else made.workers[number].poll() is None


def put_to_sleep(made: Farm, worker: WorkerProcess) -> None:
    """Between two writes: who sleeps in the midst of one keeps the locks of its rows."""
    worker.send_signal(signal.SIGSTOP)
    while not nobody_sleeps_in_a_transaction(made):
        worker.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        worker.send_signal(signal.SIGSTOP)


def nobody_sleeps_in_a_transaction(made: Farm) -> bool:
    """Of those who have connections to this database, which is PostgreSQL's."""
    time.sleep(0.5)
    asleep = "state = 'idle in transaction' and state_change < clock_timestamp() - interval '0.4 s'"
    mine = "datname = current_database() and pid <> pg_backend_pid()"
    return made.sql(f"select count(*) from pg_stat_activity where {mine} and {asleep}") == [(0,)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("kind", "life"), crossed(KINDS, ["silent streams", "streams that show life"]))
def test_a_worker_told_to_stop_is_gone_within_its_grace_and_others_carry_on_at_once(
    kind: str, life: str, tmp_path: Path
) -> None:
    alive = LEFT_ALONE if life == "silent streams" else {}
    # The second worker takes its time to begin where the machine has other tests to run.
    with farm(kind, tmp_path, faults={"edit_seconds": 20}, sandbox=alive, concurrency=64, **PATIENT) as made:
        batch, first = two_workers_and_open_streams(made, STREAMS)
        took = seconds_to_exit(first, signal.SIGTERM)
        assert first.returncode == 0
        assert took >= GRACE
        assert streams(made) == STREAMS  # which it did not wait for
        assert released(made) == Counter({job.id: 1 for job in made.jobs(batch)})
        assert {job.run for job in made.jobs(batch)} == {2}
        until(lambda: taken_after_release(made) >= STREAMS, "every job in other hands")
        assert made.sql("select 1 from job_events where what = 'rescued'") == []  # no lease had to lapse
        made.start_worker()  # as where all are restarted, one after the other
        seconds_to_exit(made.workers[1], signal.SIGTERM)
        assert made.ended(batch, 150) == {"succeeded": STREAMS}
        assert len(made.sandbox.ledger()["renders"]) == STREAMS
        nothing_is_wrong(made)
        assert made.costs() == made.sandbox.ledger()["charged"]


@pytest.mark.parametrize(("kind", "told"), crossed(KINDS, [signal.SIGINT, signal.SIGTERM]))
def test_a_second_signal_lets_go_at_once(kind: str, told: signal.Signals, tmp_path: Path) -> None:
    settings = {**PATIENT, "reelq_stop_grace": 600.0, "reelq_edit_timeout": 600.0}
    with farm(kind, tmp_path, faults={"edit_seconds": 600}, sandbox=LEFT_ALONE, **settings) as made:
        batch = made.submit(lines(4))
        worker = made.start_worker()
        until(lambda: streams(made) == 4, "four open streams")
        seconds_to_exit(worker, told, told)
        assert released(made) == Counter({job.id: 1 for job in made.jobs(batch)})
        assert {(job.stage, job.status, job.run) for job in made.jobs(batch)} == {("edit", "queued", 2)}


@pytest.mark.parametrize(("kind", "told"), crossed(KINDS, [signal.SIGINT, signal.SIGTERM]))
def test_what_ends_within_the_grace_is_recorded_and_the_next_worker_goes_on_from_there(
    kind: str, told: signal.Signals, tmp_path: Path
) -> None:
    settings = {**PATIENT, "reelq_stop_grace": 600.0}
    # Four rows work, and eight wait in the broker for a thread to be free: theirs are the messages to lose.
    with farm(kind, tmp_path, faults={"edit_seconds": 2}, concurrency=4, **settings) as made:
        batch = made.submit(lines(12))
        worker = made.start_worker()
        until(lambda: streams(made) == 4, "four open streams")
        seconds_to_exit(worker, told)
        assert released(made) == Counter()
        assert sum(send.ended_well for send in made.sends()) == 4
        made.start_worker()
        assert made.ended(batch) == {"succeeded": 12}
        assert {job.run for job in made.jobs(batch)} == {1}
        nothing_is_wrong(made)


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_without_work_stops_at_once(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, reelq_stop_grace=600.0) as made:
        batch = made.submit(lines(1))
        worker = made.start_worker()
        made.ended(batch, 60)
        seconds_to_exit(worker, signal.SIGTERM)
        assert worker.returncode == 0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_a_worker_does_that_slept_beyond_its_lease_is_refused(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"edit_seconds": 12}, concurrency=64, **PATIENT) as made:
        batch, first = two_workers_and_open_streams(made, STREAMS)
        put_to_sleep(made, first)
        made.lapse_leases()
        until(lambda: {job.run for job in made.jobs(batch)} == {2}, "every job taken back")
        until(lambda: streams(made) == 0, "the end of the streams that nobody hears")
        first.send_signal(signal.SIGCONT)
        assert made.ended(batch, 120) == {"succeeded": STREAMS}
        assert (made.folder / "worker0.log").read_text().count("Released job_") == STREAMS
        assert {job.run for job in made.jobs(batch)} == {2}
        nothing_is_wrong(made)
        assert made.costs() == made.sandbox.ledger()["charged"]
        made.workers[1].kill()
        assert made.ended(made.submit(lines(3, "Scene")), 60) == {"succeeded": 3}  # it is of use again
