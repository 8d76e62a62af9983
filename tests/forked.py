"""Processes forked from a server that has imported all that they need: a start costs next to no CPU."""

import multiprocessing
import os
import pkgutil
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from multiprocessing.context import ForkServerContext
from typing import Final

import api
import reelq
import worker

_NOT_BEFORE: Final = {"worker.celery", "worker.flowerconfig", "api.app"}
"""Modules that read the environment as they are imported, or begin at once."""
_LAZY: Final = (
    "alembic.command", "alembic.ddl.postgresql", "alembic.ddl.sqlite", "celery.app.amqp", "celery.app.control",
    "celery.app.events", "celery.app.log", "celery.backends.disabled", "celery.bin.celery", "celery.bin.worker",
    "celery.concurrency.thread", "celery.events.dispatcher", "celery.events.state", "celery.fixups.django",
    "celery.loaders.app", "celery.worker.autoscale", "celery.worker.components", "celery.worker.consumer",
    "celery.worker.heartbeat", "celery.worker.strategy", "flower.command", "frontmatter", "kombu.pidbox",
    "kombu.transport.memory", "kombu.transport.redis", "psycopg", "redis", "rich.live", "rich.progress", "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite", "uvicorn.lifespan.on",
    "uvicorn.loops.auto", "uvicorn.main", "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto",
    "tests.queue.worker_process", "tests.acceptance.running",
)  # fmt: skip
"""What is imported only when it is needed."""


@cache
def _forks() -> ForkServerContext:
    packages = [(package.__path__, f"{package.__name__}.") for package in (reelq, worker, api)]
    ours = [module.name for path, prefix in packages for module in pkgutil.walk_packages(path, prefix)]
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([*(name for name in ours if name not in _NOT_BEFORE), *_LAZY])
    return made


class ForkedProcess:
    """Calls a function in a process of its own; with the methods of `subprocess.Popen`."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        self._process = _forks().Process(target=target, args=args, daemon=True)
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
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
