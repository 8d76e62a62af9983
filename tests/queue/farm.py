"""A whole deployment for a test: a sandbox, a database, a way for messages, and workers that can be killed."""

import atexit
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import func, select, text, update

from reelq import skills
from reelq.job import FINAL, Status
from reelq.manifest import checks
from reelq.settings import Settings
from reelq.store.billing import accounts, ledger
from reelq.store.db.engine import UNAVAILABLE, Store, database_url
from reelq.store.db.migrations import upgrade
from reelq.store.db.models import Job, JobEvent, Send
from reelq.store.db.vault import Vault, open_vault
from reelq.store.submission import submitter
from reelq.store.submission.request import Submission
from tests.databases import new_database, shown
from tests.queue.sizes import PROVING
from tests.queue.worker_process import WorkerProcess
from tests.sandbox_process import SandboxProcess
from tests.servers import HAS_POSTGRES, HAS_REDIS, Redis
from worker.process import Process

ROOT: Final = Path(__file__).parents[2]
CLIP: Final = Path(__file__).with_name("beach.mp4")
"""A second of a small test picture: what the stand-in encodes has to be real, and need not be large."""
QUICK: Final[dict[str, Any]] = {
    "reelq_poll_interval": 0.5,
    "reelq_poll_limit": 500,
    "reelq_rate_limit_wait": 0.5,
    "reelq_edit_timeout": 20.0,
    "reelq_silence_timeout": 15.0,
    "reelq_settle_first_wait": 0.3,
    "reelq_settle_wait": 0.6,
    "reelq_settle_reads": 5,
    "reelq_lease_seconds": 6.0,
    "reelq_stop_grace": 3.0,
}
"""Waits in proportion to the service's, short enough for a test."""

STEADY: Final[dict[str, object]] = {
    "silent_edit": 0,
    "temporary_issue": 0,
    "screen_talk": 0,
    "edit_seconds": 0.2,
    "render_seconds": 0.4,
}
"""A service that leaves nothing to chance, and whose agent asks for no second instruction."""

KINDS: Final = ("in-process", "redis") if HAS_REDIS and HAS_POSTGRES else ("in-process",)
"""Celery within one process, on SQLite; and workers on Redis and PostgreSQL."""
IN_PROCESS: Final = KINDS if PROVING else KINDS[:1]
ON_REDIS: Final = KINDS if PROVING else KINDS[-1:]
"""One kind each, for tests in which neither broker nor database makes a difference; the full form runs them on both."""


def until(met: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for something to be so, also over times when the database can't be asked."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(*UNAVAILABLE):
            if met():
                return
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def lines(count: int, what: str = "Take") -> list[str]:
    """Rows that differ in what they say, so that the service's ledger can tell them apart."""
    return [f"{CLIP},Add a title that says {what} {number}" for number in range(count)]


class Farm:
    """One deployment; its workers are processes."""

    def __init__(
        self, folder: Path, sandbox: SandboxProcess, settings: Settings, redis: Redis | None, concurrency: int = 16
    ) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.settings = settings
        self.redis = redis
        self.concurrency = concurrency
        self.store = Store(database_url(settings))
        upgrade(self.store)
        self.workers: list[WorkerProcess] = []

    def submit(
        self,
        rows: Sequence[str],
        *,
        header: str = "file,instruction",
        name: str = "jobs",
        out: str = "out",
        **order: Any,
    ) -> str:
        """Hand in a manifest of these lines; the batch's id."""
        path = self.folder / f"{name}.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        checked = checks.check_file(path, skills=skills.load())
        account = accounts.account_for(self.store, self.vault(), self.settings, home=self.folder)
        wanted = Submission(
            "me", name, self.folder, self.folder / out, checked.rows_or_raise(), checked.columns, **order
        )
        return submitter.submit(self.store, wanted, service=self.settings.nemo_api_url, account_id=account).batch_id

    def vault(self) -> Vault:
        return open_vault(self.settings, local=self.store.is_sqlite)

    def start_worker(self, *more: str, **prepared: Any) -> WorkerProcess:
        """Another worker process; with more of Celery's options, or prepared as `WorkerProcess` tells."""
        number = len(self.workers)
        quiet = ["--without-mingle", "--without-gossip"]
        options = ["-P", "threads", "-c", str(self.concurrency), "-l", "INFO", "-n", f"w{number}@%h", *quiet, *more]
        self.workers.append(WorkerProcess(self.environment(), self.folder / f"worker{number}.log", options, **prepared))
        return self.workers[-1]

    def environment(self) -> dict[str, str]:
        """What a worker process is told."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REELQ_", "NEMO_"))}
        told = {}
        for name, value in self.settings.model_dump(exclude_none=True).items():
            told[name.upper()] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        return {**kept, **told, "HOME": str(self.folder)}

    def jobs(self, batch_id: str) -> list[Job]:
        """All jobs of a batch, by row."""
        with self.store.read() as session:
            return list(session.scalars(select(Job).where(Job.batch_id == batch_id).order_by(Job.row)))

    def heard(self) -> list[tuple[str, dict[str, Any]]]:
        """All that the agent was told, refusals included, each with its session's id."""
        sessions = self.sandbox.ledger()["sessions"].items()
        return [(session_id, message) for session_id, one in sessions for message in one["messages"]]

    def sends(self) -> list[Send]:
        """Every decision to send."""
        with self.store.read() as session:
            return list(session.scalars(select(Send)))

    def decisions(self) -> list[tuple[Job, Send]]:
        """Every decision to send, with the job whose it is."""
        with self.store.read() as session:
            return [(job, send) for job, send in session.execute(select(Job, Send).join(Send, Send.job_id == Job.id))]

    def lapse_leases(self) -> None:
        """As if nothing had been heard of those who have jobs in hand, for as long as their leases last."""
        with self.store.write() as session:
            lapsed = self.store.now(session) - timedelta(seconds=1)
            session.execute(update(Job).where(Job.status == Status.RUNNING).values(lease_until=lapsed))

    def costs(self) -> int:
        """What the account lost by its readings: the sends' costs and what nobody could be charged with."""
        sends = self.sql("select coalesce(sum(cost), 0) from sends")[0][0]
        rest = self.sql("select coalesce(sum(unattributed), 0) from credit_readings")[0][0]
        return int(sends) + int(rest)

    def read_balance(self) -> None:
        """Nobody takes a reading after the last instruction of all, if that one's own met a fault."""
        ((account_id,),) = self.sql("select id from accounts")
        executor = Process(self.settings).executor
        ledger.take_reading(self.store, account_id, "asked", executor.remote(account_id).balance)
        executor.close()

    def events(self, job_id: str) -> list[JobEvent]:
        """A job's story."""
        with self.store.read() as session:
            return list(session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)))

    def ended(self, batch_id: str, seconds: float = 60) -> "Counter[str]":
        """Wait until all jobs are final; how many ended as what."""
        try:
            until(lambda: self.over(batch_id), "the end", seconds)
        except AssertionError as late:
            waiting = Counter(job.cause for job in self.jobs(batch_id) if job.cause)
            raise AssertionError(f"{late}; {self.where(batch_id)}, waiting for {dict(waiting)}") from None
        return self.ends(batch_id)

    def over(self, batch_id: str) -> bool:
        """Whether all jobs are final."""
        left = select(func.count()).where(Job.batch_id == batch_id, Job.status.not_in(FINAL))
        with self.store.read() as session:
            return session.scalar(left) == 0

    def ends(self, batch_id: str) -> "Counter[str]":
        """How many jobs ended as what: `succeeded`, or their error's code."""
        return Counter(job.error_code or str(job.status) for job in self.jobs(batch_id))

    def where(self, batch_id: str) -> dict[tuple[str, str], int]:
        """How many jobs are where."""
        return dict(Counter((str(job.stage), str(job.status)) for job in self.jobs(batch_id)))

    def sql(self, statement: str) -> list[Any]:
        """Look at anything."""
        with self.store.read() as session:
            return list(session.execute(text(statement)).all())

    def stop(self) -> None:
        """End everything."""
        for process in self.workers:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.store.close()


@contextmanager
def farm(
    kind: str,
    folder: Path,
    *,
    faults: dict[str, object] | None = None,
    concurrency: int = 16,
    sandbox: SandboxProcess | dict[str, object] | None = None,
    database_kind: str = "",
    **settings: Any,
) -> Iterator[Farm]:
    """A deployment of this kind, without a worker yet; SQLite or PostgreSQL as usual for it, if none is named.

    Its sandbox is one that runs already, or one with these options.
    """
    with ExitStack() as stack:
        if isinstance(sandbox, SandboxProcess):
            service = sandbox
        else:
            options = {"no_latency": True, "credits": 10_000_000, "keep_alive": 0.2, **(sandbox or {})}
            service = stack.enter_context(_sandbox(faults or {}, options))
        redis = Redis(folder) if kind == "redis" else None
        if redis:
            stack.callback(redis.stop)
        database = stack.enter_context(new_database(database_kind or ("postgresql" if redis else "sqlite"), folder))
        told: dict[str, Any] = {
            "nemo_api_url": service.url,
            "reelq_data_dir": folder / "data",
            "reelq_database_url": SecretStr(shown(database)),
            "reelq_secret_key": SecretStr("a key for tests, long enough"),
            **QUICK,
            **settings,
        }
        if redis:
            told["reelq_broker_url"] = SecretStr(redis.url)
        made = Farm(folder, service, Settings(**told), redis, concurrency)
        stack.callback(made.stop)
        yield made


_idle: dict[str, SandboxProcess] = {}
"""Sandboxes that no deployment uses, by the options that they were started with."""


@contextmanager
def _sandbox(faults: dict[str, object], options: dict[str, Any]) -> Iterator[SandboxProcess]:
    """One that knows nothing of others; where an idle one has these options, it is reset rather than started."""
    key = repr(sorted(options.items()))
    service = _idle.pop(key, None) or SandboxProcess.start(faults=STEADY, **options)
    service.faults(**faults)
    try:
        yield service
    except BaseException:
        service.stop()
        raise
    if key in _idle or not service.alive:
        service.stop()
    else:
        service.reset()
        _idle[key] = service


@atexit.register
def _stop_idle() -> None:
    for service in _idle.values():
        service.stop()
