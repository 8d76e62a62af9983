"""Workers as processes of their own, so that a test can signal them and kill them.

They come from a fork server that has imported all they need: a start costs next to no CPU.
"""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from reelq import logs
from reelq.settings import Settings
from worker.inprocess import InProcess
from worker.process import Process, as_worker, leave

_LAZY: Final = (
    "celery.app.events",
    "celery.app.log",
    "celery.backends.disabled",
    "celery.bin.celery",
    "celery.bin.worker",
    "celery.concurrency.thread",
    "celery.events.dispatcher",
    "celery.events.state",
    "celery.fixups.django",
    "celery.loaders.app",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.heartbeat",
    "celery.worker.strategy",
    "frontmatter",
    "kombu.pidbox",
    "kombu.transport.memory",
    "kombu.transport.redis",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "worker.consumer",
)
"""What a worker imports only when it runs."""

_forks: Final = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__, *_LAZY])


class WorkerProcess:
    """A worker, with the methods of `subprocess.Popen`."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        options: list[str],
        prepare: Callable[..., None] | None = None,
        **prepared: Any,
    ) -> None:
        """Options are Celery's. `prepare` is called with `prepared` in the new process, before the worker begins."""
        log.touch()
        self._process = _forks.Process(target=_work, args=(environment, log, options, prepare, prepared), daemon=True)
        self._process.start()
        assert self._process.pid
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _work(
    environment: Mapping[str, str],
    log: Path,
    options: list[str],
    prepare: Callable[..., None] | None,
    prepared: dict[str, Any],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as file:
        for number, stream in enumerate((sys.stdout, sys.stderr), start=1):
            stream.flush()
            os.dup2(file.fileno(), number)
    if prepare:
        prepare(**prepared)
    settings = Settings.read()
    if settings.reelq_broker_url:
        logs.for_celery(settings.reelq_log_format)
        sys.exit(as_worker(settings).worker_main(["worker", *options]))
    _in_process(settings, threads=int(options[options.index("-c") + 1]))


def _in_process(settings: Settings, threads: int) -> None:
    """The worker of `reelq run`, until a signal comes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for name in ("httpx", "httpcore", "kombu", "celery", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    over = threading.Event()
    process = Process(settings, home=Path.home())

    def stop(*_: object) -> None:
        if over.is_set():
            process.at_once()
        over.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker = InProcess(process, threads)
    worker.start()
    over.wait()
    worker.stop()
    leave()
