"""Who is compared: how each is prepared, started, handed its rows, and what it claims."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.benchmarks.grounds import Ground

Command = list[str]

_MOST_PROCESSES: Final = 32
"""Of a pool of processes: each holds tens of megabytes, and a machine with two cores has to hold them all."""
_PEERS: Final = "tests.benchmarks.peers"


@dataclass(frozen=True)
class Contender:
    """One way of doing it. What is started and prepared before the clock is what would be running anyway."""

    name: str
    title: str
    hand_in: Callable[[Ground], Command]
    workers: Callable[[Ground], list[Command]] | None = None
    """Without any, handing in is working, and ends with the last row."""
    ready: str = ""
    """What each worker writes when it has started."""
    retry: Callable[[Ground], Command] | None = None
    """What has rows go again that it says have failed, where it says so."""
    server: Callable[[Ground], tuple[Command, str]] | None = None
    """What has to run beside the workers and is not killed with them, and where it answers once it has started."""
    prepare: Command | None = None
    environment: Callable[[Ground], dict[str, str]] = lambda _: {}
    durable: bool = False
    """Whether it claims to go on after its worker was killed."""
    keeps_events: bool = False
    """Whether the database tells when a row was taken back and claimed again."""
    packages: tuple[str, ...] = ("httpx",)
    """Whose versions belong to its figures."""

    @property
    def works_by_itself(self) -> bool:
        return self.workers is None


def _python(*words: str) -> Command:
    return [sys.executable, "-m", *words]


def _script(name: str) -> Callable[[Ground], Command]:
    return lambda ground: _python(f"{_PEERS}.{name}", str(ground.manifest))


def celery_worker(app: str, *words: str) -> Command:
    return _python("celery", "-A", app, "worker", "--loglevel=INFO", *words)


def _obvious(pool: str) -> Callable[[Ground], list[Command]]:
    def workers(ground: Ground) -> list[Command]:
        count = min(ground.window, _MOST_PROCESSES) if pool == "prefork" else ground.window
        return [celery_worker(f"{_PEERS}.celery_obvious", "-P", pool, "-c", str(count))]

    return workers


def _dramatiq(ground: Ground) -> list[Command]:
    threads = ["--processes", "2", "--threads", str(max(1, ground.window // 2))]
    return [_python("dramatiq", f"{_PEERS}.dramatiq_pipeline", *threads)]


def _procrastinate(*words: str) -> Command:
    return _python("procrastinate", f"--app={_PEERS}.procrastinate_tasks.app", *words)


def _procrastinate_worker(ground: Ground) -> list[Command]:
    """What is scheduled for later is found by looking: as often as a render is to be looked at."""
    look = ["--fetch-job-polling-interval", str(ground.latencies.look_every)]
    return [_procrastinate("-v", "worker", "--concurrency", str(ground.window), *look)]


def _prefect(ground: Ground) -> tuple[Command, str]:
    command = _python("prefect", "server", "start", "--port", str(ground.spare_port), "--no-ui")
    return command, f"http://127.0.0.1:{ground.spare_port}/api/health"


def reelq(*words: str) -> Command:
    return [str(Path(sys.executable).with_name("reelq")), *words]


def _reelq_submit(ground: Ground) -> Command:
    return reelq("submit", str(ground.manifest), "--out", str(ground.out), "--yes")


def _reelq_workers(count: int) -> Callable[[Ground], list[Command]]:
    return lambda _: [celery_worker("worker", "-n", f"bench{number}@%h") for number in range(count)]


def _reelq_environment(ground: Ground) -> dict[str, str]:
    return {
        "REELQ_BROKER_URL": ground.redis.url,
        "REELQ_DATABASE_URL": ground.database.replace("postgresql://", "postgresql+psycopg://"),
        "REELQ_SECRET_KEY": "a key for the bench, long enough",
    }


_REELQ: Final = ("reelq", "celery", "redis", "httpx", "sqlalchemy", "psycopg")

_TABLE: Final = (
    Contender("serial", "one row after the other", _script("serial")),
    Contender("asyncio-bare", "asyncio and httpx, not durable", _script("asyncio_bare")),
    *(
        Contender(
            f"celery-{pool}",
            f"plain Celery, {pool}",
            _script("celery_obvious"),
            _obvious(pool),
            " ready.",
            packages=("celery", "kombu", "redis", "httpx"),
        )
        for pool in ("prefork", "threads")
    ),
    Contender(
        "dramatiq",
        "Dramatiq, one pipeline per row",
        _script("dramatiq_pipeline"),
        _dramatiq,
        "Worker process is ready",
        durable=True,
        packages=("dramatiq", "redis", "httpx"),
    ),
    Contender(
        "prefect",
        "Prefect, one flow per row",
        _script("prefect_flow"),
        server=_prefect,
        environment=lambda ground: {
            "PREFECT_HOME": str(ground.folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{ground.spare_port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        },
        durable=True,
        packages=("prefect", "httpx"),
    ),
    Contender(
        "procrastinate",
        "Procrastinate on PostgreSQL",
        _script("procrastinate_tasks"),
        _procrastinate_worker,
        "Starting worker",
        prepare=_procrastinate("schema", "--apply"),
        durable=True,
        packages=("procrastinate", "psycopg", "httpx"),
    ),
    Contender(
        "reelq-run",
        "reelq in one process",
        lambda ground: reelq("run", str(ground.manifest), "--out", str(ground.out), "--yes"),
        retry=lambda ground: reelq("run", str(ground.manifest), "--out", str(ground.out), "--yes", "--retry-failed"),
        durable=True,
        packages=_REELQ,
    ),
    *(
        Contender(
            f"reelq-{count}",
            f"reelq, Redis and PostgreSQL, {words}",
            _reelq_submit,
            _reelq_workers(count),
            " ready.",
            retry=lambda _: reelq("retry", "last"),
            prepare=reelq("db", "upgrade"),
            environment=_reelq_environment,
            durable=True,
            keeps_events=True,
            packages=_REELQ,
        )
        for count, words in ((1, "one worker"), (2, "two workers"))
    ),
)

CONTENDERS: Final[Mapping[str, Contender]] = MappingProxyType({one.name: one for one in _TABLE})
