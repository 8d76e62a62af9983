"""A deployment's parts stopped and started in any order, under load: no row is stuck, none lost, none paid twice."""

import hashlib
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx
import imageio_ffmpeg
import pytest

from reelq.dispatch import make_celery
from reelq.settings import Settings
from tests.queue.farm import KINDS, Farm, farm, lines, until
from tests.queue.parts import WORKERS, Deployment, Follower, deployed
from tests.queue.sizes import PROVING, size
from tests.queue.test_chaos import nothing_is_wrong
from tests.queue.test_messages import STRAYS, push, queue_of
from tests.queue.test_outages import PATIENT, both_take_work, let_a_minute_pass
from tests.queue.test_stopping import pauses_after_release, released
from tests.queue.worker_process import WorkerProcess

pytestmark = pytest.mark.skipif("redis" not in KINDS, reason="needs Redis and PostgreSQL")

SEEDS: Final = range(1, 1 + size(1, 6))
ROWS: Final = size(10, 100)
ROUNDS: Final = size(1, 4)
"""How often each part is stopped."""
MORE: Final = 2
"""Rows that are handed in while something is away."""
NEWER: Final = ("more-arguments", "unknown-task", "unknown-stage-next")


class Orders:
    """Somebody who hands in rows, and does so again where it did not get through."""

    def __init__(self, whole: Deployment) -> None:
        self._whole = whole
        self._clip = whole.upload()
        self._next = 0
        self.open: dict[str, range] = {}
        self.batches: list[str] = []

    def place(self, count: int) -> None:
        """One more order."""
        self.open[f"order-{self._next}"] = range(self._next, self._next + count)
        self._next += count
        self.try_all()

    def try_all(self) -> None:
        """Whatever is open is asked for: it is taken, or refused for a reason that is so."""
        for key, takes in list(self.open.items()):
            try:
                answer = self._whole.hand_in(self._clip, takes, key)
            except httpx.TransportError:
                assert "api" in self._whole.away
                continue
            if answer.status_code == 201:
                del self.open[key]
                self.batches.append(answer.json()["id"])
            else:
                told = answer.json()
                assert (answer.status_code, told["code"]) == (503, "database_away"), told
                assert "postgresql" in self._whole.away

    def taken(self) -> bool:
        """Whether all orders got through by now."""
        self.try_all()
        return not self.open


def times_told(made: Farm) -> "Counter[str]":
    """How often the agent was told each instruction, in all sessions."""
    return Counter(message["text"] for _, message in made.heard())


def is_playable(video: bytes, folder: Path) -> bool:
    """Whether it can be decoded from its beginning to its end."""
    path = folder / "fetched.mp4"
    path.write_bytes(video)
    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(decode, capture_output=True, timeout=60, check=False)
    return done.returncode == 0 and not done.stderr


def all_over(made: Farm) -> bool:
    """Whether no row goes on by itself."""
    return made.sql("select 1 from jobs where status in ('queued', 'running') limit 1") == []


def fetched(whole: Deployment, job_id: str) -> str:
    """What the row's result is, as one who fetches it would know it again."""
    return hashlib.sha256(whole.api.get(f"/v1/jobs/{job_id}/output").content).hexdigest()


def in_groups(parts: list[str], chance: random.Random) -> list[list[str]]:
    """The parts in an order of chance, one or several at a time."""
    shuffled, groups = chance.sample(parts, len(parts)), []
    while shuffled:
        count = chance.choice((1, 1, 2, 3))
        groups.append(shuffled[:count])
        shuffled = shuffled[count:]
    return groups


@pytest.mark.timeout(900 if PROVING else 240)
@pytest.mark.parametrize("seed", SEEDS)
def test_parts_stopped_and_started_in_any_order_leave_no_row_stuck(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    with deployed(tmp_path, {"edit_seconds": 1}, **PATIENT) as whole:
        made = whole.made
        whole.start("api", *WORKERS, "flower")
        until(lambda: whole.answers("/readyz") == 200, "the service")
        orders = Orders(whole)
        orders.place(ROWS)
        until(lambda: len(made.sends()) >= 2, "the first instructions")
        story, killed = [], False
        with Follower(whole.api, orders.batches[0]) as follower:
            for _ in range(ROUNDS):
                for group in in_groups(list(whole.parts), chance):
                    how = {name: chance.choice((signal.SIGTERM, signal.SIGKILL)) for name in group}
                    killed = killed or any(how.get(name) is signal.SIGKILL for name in WORKERS)
                    story.append(" + ".join(f"{each.name[3:].lower()} {name}" for name, each in how.items()))
                    for name, each in how.items():
                        whole.stop(each, name)
                    orders.place(MORE)
                    time.sleep(chance.uniform(0.2, 1.5))
                    whole.start(*chance.sample(group, len(group)))
                    until(lambda: whole.answers("/readyz") == 200, "the service")
            until(orders.taken, "all orders taken")
            back = time.monotonic()
            let_a_minute_pass(made)
            until(lambda: all_over(made), "an end of every row", 300 if PROVING else 90)
            with capsys.disabled():
                print(f"\nseed {seed}: {'; '.join(story)}; all over {time.monotonic() - back:.0f} s after the last")
            until(follower.ended.is_set, "the end of the story")
        jobs = [job for batch in orders.batches for job in made.jobs(batch)]
        ends = Counter(job.error_code or str(job.status) for job in jobs)
        assert ends.total() == ROWS + MORE * len(story)
        # Killed between its decision to send and the sending, a worker leaves a doubt that no reading settles.
        assert set(ends) <= ({"succeeded", "edit_unconfirmed"} if killed else {"succeeded"}), ends
        assert ends["edit_unconfirmed"] <= 1
        assert set(times_told(made).values()) == {1}
        nothing_is_wrong(made)
        assert made.costs() == made.sandbox.ledger()["charged"]
        done = [job for job in jobs if job.status == "succeeded"]
        assert [job.row for job in done if fetched(whole, job.id) != job.result_sha256] == []
        some = (whole.api.get(f"/v1/jobs/{job.id}/output").content for job in done[:: len(done) // 4])
        assert all(is_playable(video, tmp_path) for video in some)
        _told_whole(made, follower, orders.batches[0])
        until(whole.shows, "Flower")
        if PROVING:
            both_take_work(made)


def _told_whole(made: Farm, follower: Follower, batch: str) -> None:
    happened = Counter((job.id, event.what, event.words) for job in made.jobs(batch) for event in made.events(job.id))
    heard = Counter((event["job"], event["what"], event["words"]) for event in follower.heard)
    assert heard == happened


@pytest.mark.timeout(150)
def test_what_is_ours_may_be_started_before_its_redis_and_its_database(tmp_path: Path) -> None:
    with deployed(tmp_path, {}, **PATIENT) as whole:
        whole.stop(signal.SIGTERM, "redis", "postgresql")
        whole.start("flower", *WORKERS, "api")
        until(lambda: whole.answers("/healthz") == 200, "the service")
        until(
            lambda: all("this worker begins when it is there" in whole.process(each).log for each in WORKERS),
            "their words about it",
        )
        told = whole.api.get("/readyz")
        missing = ["the database does not answer", "the broker does not answer"]
        assert (told.status_code, told.json()["missing"]) == (503, missing)
        assert whole.api.get("/v1/batches").status_code == 503
        impatient = whole.process(WORKERS[1])
        assert impatient.running
        impatient.running.send_signal(signal.SIGTERM)
        assert impatient.running.wait(5) == 0  # it is not deaf while it waits
        whole.start("postgresql")
        orders = Orders(whole)
        orders.place(4)
        assert orders.open == {}  # rows are taken in without a broker
        assert whole.api.get("/readyz").json()["missing"] == missing[1:]
        until(lambda: "Cannot connect to redis" in whole.process(WORKERS[0]).log, "words about Redis")
        whole.start("redis")
        until(lambda: all_over(whole.made), "an end of every row")
        assert whole.made.ends(orders.batches[0]) == {"succeeded": 4}
        assert whole.answers("/readyz") == 200
        until(whole.shows, "Flower")
        log = whole.process(WORKERS[0]).log
        assert "Traceback" not in log
        nothing_is_wrong(whole.made)


def test_a_worker_waits_for_its_broker_however_long_that_takes() -> None:
    """Celery's own patience ends after a hundred attempts, which is less than an hour."""
    assert make_celery(Settings()).conf.broker_connection_max_retries is None


@pytest.mark.timeout(300 if PROVING else 150)
def test_a_rolling_restart_under_load_loses_nothing_and_repeats_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = size(24, 60)
    settings: dict[str, Any] = {**PATIENT, "reelq_max_in_flight": rows // 3}  # there is work left for the second worker
    faults: dict[str, object] = {"edit_seconds": size(3, 6)}
    with farm("redis", tmp_path, faults=faults, concurrency=4, **settings) as made, queue_of(made) as queue:
        batch = made.submit(lines(rows))
        graces = (30.0, 0.3)  # the first sees its edits out, the second has no time for that
        left: list[int] = []
        for grace, worker in [(grace, start(made, grace)) for grace in graces]:
            until(lambda worker=worker: has_begun_edits(made, worker), "open streams")  # type: ignore[misc]
            worker.terminate()
            worker.wait(40)
            left.append(released(made).total() - sum(left))
            # Left behind by a newer version, of which there was a worker for a while.
            for job, newer in zip(made.jobs(batch), NEWER, strict=False):
                push(queue, STRAYS[newer], job=job.id)
            start(made, grace)
        let_a_minute_pass(made)
        assert made.ended(batch, 200 if PROVING else 120) == {"succeeded": rows}
        with capsys.disabled():
            print(f"\n{rows} rows, two workers restarted in turn: {left} let go of", end="; ")
            print(f"those were in other hands within {max(pauses_after_release(made)):.1f} s")
        assert left[0] == 0
        assert left[1] > 0
        assert {job.run for job in made.jobs(batch) if job.id not in released(made)} == {1}
        assert set(times_told(made).values()) == {1}
        assert times_told(made).total() == rows
        assert len(made.sandbox.ledger()["renders"]) == rows
        nothing_is_wrong(made)
        assert made.costs() == made.sandbox.ledger()["charged"]


def start(made: Farm, grace: float) -> WorkerProcess:
    """A worker that has so much time when it is told to stop."""
    made.settings = made.settings.model_copy(update={"reelq_stop_grace": grace})
    return made.start_worker()


def has_begun_edits(made: Farm, worker: WorkerProcess) -> bool:
    """Whether this worker is at two edits or more, whose streams began within the last second."""
    held = f"status = 'running' and stage = 'edit' and worker like '%:{worker.pid}:%'"
    sent = f"select count(*) from sends join jobs on jobs.id = sends.job_id where outcome = 'open' and {held}"
    sent += " and sent_at > now() - interval '1 second'"
    return int(made.sql(sent)[0][0]) >= 2
