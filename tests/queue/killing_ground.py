"""Where rows lose their worker at a named moment: a deployment for each row, and workers that cost next to nothing."""

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, Final

from sqlalchemy import select, update

from reelq.job import FINAL, Status
from reelq.media import is_whole_mp4
from reelq.store.db.models import Account, Job, JobEvent, Send
from reelq.store.jobs import retries
from tests.queue.farm import CLIP, STEADY, Farm, farm
from tests.queue.fates import LOST_BEFORE_A_RESCUE, RESCUE
from tests.queue.killed_worker import watch
from tests.queue.worker_process import WorkerProcess
from tests.sandbox_process import SandboxProcess

PATIENCE: Final = 90.0
INTERVAL: Final = 0.4
WAITS: Final[dict[str, Any]] = {
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

    def __init__(self, kind: str, folder: Path, service: SandboxProcess) -> None:
        self._kind = kind
        self._folder = folder
        self._service = service

    @staticmethod
    def service() -> SandboxProcess:
        """One for all of a ground's deployments."""
        options: dict[str, Any] = {"no_latency": True, "credits": 100_000, "keep_alive": 0.2}
        return SandboxProcess.start(faults=SERVICE, clients_per_address=1000, **options)

    def submit(self, made: Farm, text: str) -> str:
        """Hand in the row; its batch."""
        return made.submit([f"{CLIP},{text}"])

    def files(self, made: Farm) -> list[Path]:
        """All files where results go."""
        return [path for path in (made.folder / "out").rglob("*") if path.is_file()]

    def broken(self, made: Farm) -> list[str]:
        """Files that stand in a result's place and are not whole."""
        return [path.name for path in self.files(made) if path.suffix == ".mp4" and not is_whole_mp4(path)]

    def stories(self, moments: Sequence[str], at_once: int) -> dict[str, Story]:
        """Of all these moments, some at a time."""
        with ThreadPoolExecutor(at_once) as pool:
            return dict(zip(moments, pool.map(self.story, range(len(moments)), moments), strict=True))

    def story(self, number: int, moment: str) -> Story:
        """A worker is killed at this moment, and another takes over."""
        began, story = time.monotonic(), Story(moment, f"Add a title that says Take {number}")
        with self._deployment(f"{number}") as made:
            batch = self.submit(made, story.text)
            if moment.startswith(RESCUE):
                self._lose_worker(made, batch, LOST_BEFORE_A_RESCUE)
            story.exitcode = self._lose_worker(made, batch, moment)
            story.broken_at_kill = self.broken(made)
            successor = self._worker(made)
            try:
                self._to_its_end(made, batch, story)
            finally:
                _end(successor)
            self._gather(made, batch, story)
        story.seconds = time.monotonic() - began
        return story

    def trace(self) -> list[str]:
        """The moments of a row that nothing happens to."""
        with self._deployment("trace") as made:
            batch = self.submit(made, "Add a title that says Nothing happened")
            worker = self._worker(made, trace=made.folder / "trace")
            try:
                made.ended(batch, PATIENCE)
            finally:
                _end(worker)
            return (made.folder / "trace").read_text().splitlines()

    def _deployment(self, name: str) -> AbstractContextManager[Farm]:
        folder = self._folder / name
        folder.mkdir()
        client = str(uuid.uuid4())
        return farm(self._kind, folder, concurrency=4, sandbox=self._service, nemo_client_id=client, **WAITS)

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
                assert retries.retry(session, session.get_one(Job, job.id), made.store.now(session))
            _settled(made, batch)

    def _gather(self, made: Farm, batch: str, story: Story) -> None:
        (story.job,) = made.jobs(batch)
        story.sends = sorted(made.sends(), key=lambda send: send.number)
        story.events = made.events(story.job.id)
        story.files = {path.name: path for path in self.files(made)}
        story.costs = made.costs()
        with made.store.read() as session:
            story.user = session.scalars(select(Account.remote_user_id)).one()


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
