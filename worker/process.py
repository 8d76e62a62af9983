"""A worker process put together: store, pipeline, tasks and lifeline around one Celery app."""

import logging
import threading
from pathlib import Path
from typing import Any, Final

from celery import Celery, bootsteps, signals

from reelq.dispatch import Dispatch, make_celery
from reelq.settings import Settings
from reelq.store.migrate import upgrade
from reelq.store.secrets import open_vault
from reelq.store.session import Store, database_url
from worker.lifeline import Lifeline
from worker.pipeline import Pipeline
from worker.tasks import register

log = logging.getLogger(__name__)

_SPARE_CONNECTIONS: Final = 4


class Process:
    """Everything that one process needs to take jobs; made when the first of it is needed, after any fork."""

    def __init__(self, settings: Settings, home: Path | None = None) -> None:
        self.settings = settings
        self.app = make_celery(settings)
        self._home = home
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._lifeline: Lifeline | None = None
        register(self.app, lambda: self.pipeline)

    @property
    def pipeline(self) -> Pipeline:
        """This process's pipeline."""
        with self._lock:
            if self._pipeline is None:
                store = Store(database_url(self.settings))
                upgrade(store)
                vault = open_vault(self.settings, local=store.is_sqlite)
                self._pipeline = Pipeline(store, vault, self.settings, self._home)
            return self._pipeline

    @property
    def dispatch(self) -> Dispatch:
        """The way out for messages."""
        return Dispatch(self.app, self.pipeline.store)

    def begin(self) -> None:
        """Start the lifeline."""
        self._lifeline = Lifeline(self.pipeline, self.dispatch)
        self._lifeline.start()

    def take_no_more(self) -> None:
        """Told to stop: nothing new; what is open may end within the grace."""
        self.pipeline.hands.stopping.set()
        timer = threading.Timer(self.settings.reelq_stop_grace, self.let_go)
        timer.daemon = True
        timer.start()

    def let_go(self) -> None:
        """What is still in hand is due at once for others."""
        self.pipeline.hands.must_let_go.set()
        self.pipeline.release_all()

    def end(self) -> None:
        """Stop the lifeline and close connections."""
        if self._lifeline:
            self._lifeline.stop()
        self.pipeline.close()


def as_worker(settings: Settings) -> Celery:
    """The app of a worker process of its own, with the lifeline as a part of the worker."""
    process = Process(settings)

    class LifelineStep(bootsteps.StartStopStep):
        """Starts with the pool, and stops before it."""

        requires = ("celery.worker.components:Pool",)

        def start(self, _worker: Any) -> None:
            process.begin()

        def stop(self, _worker: Any) -> None:
            process.take_no_more()

        def terminate(self, _worker: Any) -> None:
            process.let_go()

    @signals.worker_shutting_down.connect(weak=False)
    def shutting_down(**_: Any) -> None:
        process.take_no_more()

    @signals.worker_shutdown.connect(weak=False)
    def shut_down(**_: Any) -> None:
        process.end()

    process.app.steps["worker"].add(LifelineStep)
    return process.app
