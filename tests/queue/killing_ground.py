"""Where rows lose their worker at a named moment: a deployment for each row, and workers that cost next to nothing."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import select, update

from reelq.job import FINAL, Status
from reelq.media import is_whole_mp4
from reelq.settings import Settings
from reelq.store import actions
from reelq.store.models import Account, Job, JobEvent, Send
from tests.databases import new_database, shown
from tests.queue.farm import QUICK, STEADY, Farm
from tests.queue.fates import LOST_BEFORE_A_RESCUE, RESCUE
from tests.queue.killed_worker import watch
from tests.queue.worker_process import WorkerProcess
from tests.sandbox_process import SandboxProcess
from tests.servers import Redis

THREADS: Final = 4
PATIENCE: Final = 90.0
INTERVAL: Final = 0.4
WAITS: Final = QUICK | {
    "reelq_poll_interval": INTERVAL,
    "reelq_rate_limit_wait": 0.3,
    # Room for a busy machine: a stream that is given up, or a lease that lapses, would be another story.
    "reelq_edit_timeout": 10.0,
    "reelq_silence_timeout": 9.0,
    "reelq_settle_first_wait": 0.2,
    "reelq_settle_wait": 0.2,
    "reelq_lease_seconds": 60.0,
}
SERVICE: Final = STEADY | {"edit_seconds": 0.4, "render_seconds": 0.8}
LONGEST_REPUBLISH: Final = timedelta(seconds=60)


@dataclass(slots=True)
class Story:
    """What became of one row, and of its worker."""

    moment: str
    text: str
    exitcode: int | None = None
    broken_at_kill: list[str] = field(default_factory=list)
    """Files that stood in a result's place and were not whole."""
    first_end: str = ""
    first_run: int = 0
    job: Job = field(init=False)
    sends: list[Send] = field(default_factory=list)
    events: list[JobEvent] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    user: str = ""
    costs: int = 0
    seconds: float = 0


class Ground:
    """Where rows are worked on, each in a deployment of its own."""

    def __init__(self, kind: str, folder: Path, service: SandboxProcess, clip: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._service = service
        self._clip = clip
        self._one_by_one = threading.Lock()  # migrations of one process share Alembic's context

    def story(self, number: int, moment: str) -> Story:
        """A worker is killed at this moment, and another takes over."""
        began, story = time.monotonic(), Story(moment, f"Add a title that says Take {number}")
        with self._deployment(f"{number}") as made:
            batch = made.submit([f"{self._clip},{story.text}"])
            if moment.startswith(RESCUE):
                self._lose_worker(made, batch, LOST_BEFORE_A_RESCUE)
            story.exitcode = self._lose_worker(made, batch, moment)
            story.broken_at_kill = [path.name for path in _results(made) if not is_whole_mp4(path)]
            successor = self._worker(made)
            try:
                self._to_its_end(made, batch, story)
            finally:
                _end(successor)
            _gather(made, batch, story)
        story.seconds = time.monotonic() - began
        return story

    def trace(self) -> list[str]:
        """The moments of a row that nothing happens to."""
        with self._deployment("trace") as made:
            batch = made.submit([f"{self._clip},Add a title that says Nothing happened"])
            worker = self._worker(made, trace=made.folder / "trace")
            try:
                made.ended(batch, PATIENCE)
            finally:
                _end(worker)
            return (made.folder / "trace").read_text().splitlines()

    @contextmanager
    def _deployment(self, name: str) -> Iterator[Farm]:
        folder = self._folder / name
        folder.mkdir()
        redis = Redis(folder) if self._kind == "redis" else None
        with new_database("postgresql" if redis else "sqlite", folder) as database:
            told: dict[str, Any] = {
                "nemo_api_url": self._service.url,
                "nemo_client_id": str(uuid.uuid4()),
                "reelq_data_dir": folder / "data",
                "reelq_database_url": SecretStr(shown(database)),
                "reelq_secret_key": SecretStr("a key for tests, long enough"),
                "reelq_broker_url": SecretStr(redis.url) if redis else None,
            }
            with self._one_by_one:
                made = Farm(folder, self._service, Settings(**told, **WAITS), redis, THREADS)
            try:
                yield made
            finally:
                made.stop()
                if redis:
                    redis.stop()

    def _worker(self, made: Farm, **moments: Any) -> WorkerProcess:
        return made.start_worker("--without-heartbeat", prepare=watch, **moments)

    def _lose_worker(self, made: Farm, batch: str, moment: str) -> int | None:
        """What a worker that is to be killed at this moment ended with; None where the moment never came."""
        worker = self._worker(made, ends_at=moment)
        until = time.monotonic() + PATIENCE
        while worker.poll() is None and time.monotonic() < until:
            over = made.jobs(batch)[0].status in FINAL
            with suppress(TimeoutExpired):
                worker.wait(1)  # once more after the end: the receipt shows a moment before the worker gets past it
            if over:
                break
        exitcode = worker.poll()
        _end(worker)
        _a_while_passes(made)
        return exitcode

    def _to_its_end(self, made: Farm, batch: str, story: Story) -> None:
        """By itself; and where a person has to say so, with another instruction."""
        job = _settled(made, batch)
        story.first_end, story.first_run = job.error_code or job.cause or job.status, job.run
        if job.error_code == "edit_unconfirmed":
            with made.store.write() as session:
                assert actions.retry(session, session.get_one(Job, job.id), made.store.now(session))
            _settled(made, batch)


def _end(worker: WorkerProcess) -> None:
    worker.kill()
    worker.wait()


def _a_while_passes(made: Farm) -> None:
    """A minute or two: until a message counts as lost, a lease has lapsed, and so has the right to ask for a token or a
    reading.
    """
    made.lapse_leases()
    with made.store.write() as session:
        now = made.store.now(session)
        for job in session.scalars(select(Job).where(Job.status == Status.QUEUED, Job.publish_at > now)):
            assert job.publish_at is not None
            assert job.publish_at - now <= LONGEST_REPUBLISH
            moved = update(Job).where(Job.id == job.id)
            looked_at = job.publish_at == job.due_at and job.publishes  # a look keeps the row from being due as well
            session.execute(moved.values(publish_at=now, **({"due_at": now} if looked_at else {})))
        session.execute(update(Account).values(refreshing_until=None, reading_until=None))


def _settled(made: Farm, batch: str) -> Job:
    """The row, once it is final or waits for something that does not come by itself; or as it stands after so long."""
    until = time.monotonic() + PATIENCE
    (job,) = made.jobs(batch)
    while job.status not in {*FINAL, Status.WAITING} and time.monotonic() < until:
        time.sleep(0.2)
        (job,) = made.jobs(batch)
    return job


def _files(made: Farm) -> list[Path]:
    return [path for path in (made.folder / "out").rglob("*") if path.is_file()]


def _results(made: Farm) -> list[Path]:
    return [path for path in _files(made) if path.suffix == ".mp4"]


def _gather(made: Farm, batch: str, story: Story) -> None:
    (story.job,) = made.jobs(batch)
    story.sends = sorted(made.sends(), key=lambda send: send.number)
    story.events = made.events(story.job.id)
    story.files = {path.name: path for path in _files(made)}
    story.costs = made.costs()
    with made.store.read() as session:
        story.user = session.scalars(select(Account.remote_user_id)).one()
