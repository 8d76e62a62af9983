"""Workers as processes of their own, so that a test can signal them and kill them."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reelq import logs
from reelq.settings import Settings
from tests.forked import ForkedProcess
from worker.process import EmbeddedWorker, Process, exit_now, worker_app


class WorkerProcess(ForkedProcess):
    """A worker."""

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
        super().__init__(_work, environment, log, options, prepare, prepared)


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
        logs.set_up_for_celery(settings.reelq_log_format)
        sys.exit(worker_app(settings).worker_main(["worker", *options]))
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
            process.end_grace()
        over.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker = EmbeddedWorker(process, threads)
    worker.start()
    over.wait()
    worker.stop()
    exit_now()
