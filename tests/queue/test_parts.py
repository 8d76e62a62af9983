"""A deployment's parts stopped and started in any order, under load: no row is stuck, none lost, none paid twice."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httpx
import imageio_ffmpeg
import pytest
from httpx_sse import EventSource
from pydantic import SecretStr

from reelq.broker import make_celery
from reelq.settings import Settings
from reelq.store import api_keys
from reelq.store.db.client_models import Scope
from tests.queue.farm import CLIP, KINDS, ROOT, Farm, farm, until
from tests.queue.sizes import PROVING, size
from tests.queue.test_chaos import nothing_is_wrong
from tests.queue.test_outages import PATIENT, both_take_work, let_a_minute_pass
from tests.servers import Postgres, Redis, free_port, own_postgres

pytestmark = pytest.mark.skipif("redis" not in KINDS, reason="needs Redis and PostgreSQL")

SEEDS: Final = range(1, 1 + size(1, 6))
ROWS: Final = size(10, 100)
ROUNDS: Final = size(1, 4)
"""How often each part is stopped."""
MORE: Final = 2
"""Rows that are handed in while something is away."""
WORKERS: Final = ("worker 1", "worker 2")
_WORKER: Final = ("celery", "-A", "worker", "worker", "-c", "4", "--loglevel=INFO")
_HANGS_UP_AFTER: Final = 25


@dataclass
class Process:
    """A part that is a process of ours."""

    command: list[str]
    environment: dict[str, str]
    log_file: Path
    running: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            command = [sys.executable, "-m", *self.command]
            self.running = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def stop(self, how: signal.Signals) -> None:
        if self.running:
            self.running.send_signal(how)
            self.running.wait(40)
            self.running = None

    @property
    def log(self) -> str:
        """All that it has said, over all its lives."""
        return self.log_file.read_text()


@dataclass
class Deployment:
    """All of them, and somebody with a key to the REST service."""

    made: Farm
    parts: dict[str, Redis | Postgres | Process]
    api: httpx.Client
    flower: httpx.Client
    away: set[str] = field(default_factory=set)

    def start(self, *names: str) -> None:
        for name in names:
            self.parts[name].start()
            self.away.discard(name)

    def stop(self, how: signal.Signals, *names: str) -> None:
        for name in names:
            self.away.add(name)
            self.parts[name].stop(how)

    def process(self, name: str) -> Process:
        """One that is a process of ours."""
        part = self.parts[name]
        assert isinstance(part, Process)
        return part


def answers(client: httpx.Client, path: str) -> int:
    """The status of an answer; 0 without one."""
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0


@contextmanager
def deployed(folder: Path, faults: dict[str, object], **settings: Any) -> Iterator[Deployment]:
    """Redis and PostgreSQL run; what is ours does not yet."""
    with (
        own_postgres() as server,
        farm("redis", folder, faults=faults, reelq_database_url=SecretStr(server.url()), **settings) as made,
    ):
        assert made.redis
        ports = {name: free_port() for name in ("api", "flower")}
        parts: dict[str, Redis | Postgres | Process] = {"redis": made.redis, "postgresql": server}
        for name, command in _commands(ports).items():
            parts[name] = Process(command, made.environment(), folder / f"{name}.log")
        key = api_keys.create(made.store, "ann", Scope.ADMIN)[1]
        with _client(ports["api"], {"Authorization": f"Bearer {key}"}) as api, _client(ports["flower"], {}) as flower:
            whole = Deployment(made, parts, api, flower)
            try:
                yield whole
            finally:
                for part in parts.values():
                    if isinstance(part, Process):
                        part.stop(signal.SIGKILL)
                for name in whole.away & {"postgresql"}:
                    parts[name].start()  # it is stopped in order, with its store


def _commands(ports: dict[str, int]) -> dict[str, list[str]]:
    return {
        "api": ["uvicorn", "api.app:app", "--port", str(ports["api"])],
        **{name: [*_WORKER, "-n", f"{name.replace(' ', '')}@%h"] for name in WORKERS},
        "flower": ["celery", "-A", "worker", "flower", "--address=127.0.0.1", f"--port={ports['flower']}"],
    }


def _client(port: int, headers: dict[str, str]) -> httpx.Client:
    """Somebody who asks this machine."""
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20, trust_env=False)


class Follower:
    """A client that follows a batch's events, and comes back when it is cut off. Every few it hangs up by itself."""

    def __init__(self, api: httpx.Client, batch_id: str) -> None:
        self._api = api
        self._path = f"/v1/batches/{batch_id}/events"
        self._mark = ""
        self.heard: list[dict[str, Any]] = []
        self.ended = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _follow(self) -> None:
        while not (self._over.is_set() or self.ended.is_set()):
            with suppress(httpx.TransportError):
                self._listen()
            time.sleep(0.2)

    def _listen(self) -> None:
        headers = {"Last-Event-ID": self._mark} if self._mark else {}
        with self._api.stream("GET", self._path, headers=headers) as told:
            if not told.is_success:
                return
            for event in EventSource(told).iter_sse():
                self._mark = event.id
                if event.event == "job":
                    self.heard.append(json.loads(event.data))
                if event.event == "end":
                    self.ended.set()
                if event.event == "job" and len(self.heard) % _HANGS_UP_AFTER == 0:
                    return


class Orders:
    """Somebody who hands in rows, and does so again where it did not get through."""

    def __init__(self, whole: Deployment) -> None:
        self._whole = whole
        answer = whole.api.post("/v1/assets", params={"name": CLIP.name}, content=CLIP.read_bytes())
        self._clip = answer.raise_for_status().json()["id"]
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
                rows = [{"file": self._clip, "instruction": f"Add a title that says Take {take}"} for take in takes]
                headers = {"Idempotency-Key": key}  # asked again with the same one, it is the same batch
                answer = self._whole.api.post("/v1/batches", json={"rows": rows}, headers=headers)
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
        until(lambda: answers(whole.api, "/readyz") == 200, "the service")
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
                    until(lambda: answers(whole.api, "/readyz") == 200, "the service")
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
        assert set(Counter(message["text"] for _, message in made.heard()).values()) == {1}
        nothing_is_wrong(made)
        assert made.costs() == made.sandbox.ledger()["charged"]
        done = [job for job in jobs if job.status == "succeeded"]
        assert [job.row for job in done if fetched(whole, job.id) != job.result_sha256] == []
        some = (whole.api.get(f"/v1/jobs/{job.id}/output").content for job in done[:: len(done) // 4])
        assert all(is_playable(video, tmp_path) for video in some)
        _told_whole(made, follower, orders.batches[0])
        until(lambda: answers(whole.flower, "/") == 200, "Flower")
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
        until(lambda: answers(whole.api, "/healthz") == 200, "the service")
        until(
            lambda: all("the worker starts when it answers" in whole.process(each).log for each in WORKERS),
            "their words about it",
        )
        told = whole.api.get("/readyz")
        missing = ["the database does not respond", "the broker does not respond"]
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
        assert answers(whole.api, "/readyz") == 200
        until(lambda: answers(whole.flower, "/") == 200, "Flower")
        log = whole.process(WORKERS[0]).log
        assert "Traceback" not in log
        nothing_is_wrong(whole.made)


def test_a_worker_waits_for_its_broker_however_long_that_takes() -> None:
    """Celery's own patience ends after a hundred attempts, which is less than an hour."""
    assert make_celery(Settings()).conf.broker_connection_max_retries is None
