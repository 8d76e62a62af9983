"""A worker process put together: store, pipeline, tasks and lifeline around one Celery app."""

import gc
import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from celery import Celery, bootsteps, signals

from reelq.dispatch import Dispatch, make_celery, task_id
from reelq.job import Stage
from reelq.outward import Outward
from reelq.settings import Settings
from reelq.store.due import Message
from reelq.store.schema import make_current
from reelq.store.secrets import open_vault
from reelq.store.session import Store, database_url, is_away
from worker.deliveries import Deliveries
from worker.lifeline import Lifeline
from worker.looks import Tell, nobody
from worker.pipeline import Pipeline
from worker.tasks import register

log = logging.getLogger(__name__)

_LAST_WORDS: Final = 1.5
"""Seconds for what was let go of to end by itself, before the process ends without it."""
_LOOK_EVERY: Final = 0.1
_COLLECTED_AFTER: Final = 20_000
"""Objects made, less those that are gone: Python's own number is 700."""
_LOOK_AGAIN: Final = 2.0
"""Seconds between looks for a database that is not there yet."""


class Process:
    """Everything that one process needs to take jobs; made when the first of it is needed, after any fork."""

    def __init__(self, settings: Settings, home: Path | None = None) -> None:
        self.settings = settings
        self.app = make_celery(settings)
        self._home = home
        self._lock = threading.RLock()
        self._pipeline: Pipeline | None = None
        self._deliveries: Deliveries | None = None
        self._lifeline: Lifeline | None = None
        register(self.app, lambda: self.pipeline, lambda: self.deliveries)

    @property
    def pipeline(self) -> Pipeline:
        """This process's pipeline."""
        with self._lock:
            if self._pipeline is None:
                store = Store(database_url(self.settings))
                make_current(store)
                vault = open_vault(self.settings, local=store.is_sqlite)
                self._pipeline = Pipeline(store, vault, self.settings, self._home)
            return self._pipeline

    @property
    def has_begun(self) -> bool:
        """Whether it has anything yet that would have to be ended in order."""
        return self._pipeline is not None

    def wait_for_database(self) -> None:
        """Return when it answers: processes may be started in any order, as they may with the broker."""
        while True:
            try:
                _ = self.pipeline
            except Exception as error:
                if not is_away(error):
                    raise
                why = str(getattr(error, "orig", error)).strip().partition("\n")[0]
                log.warning("the database is away: this worker begins when it is there (%s)", why)
            else:
                return
            time.sleep(_LOOK_AGAIN)

    @property
    def deliveries(self) -> Deliveries:
        """What tells endpoints of what has happened; only a process that does so has one."""
        with self._lock:
            if self._deliveries is None:
                pipeline = self.pipeline
                vault = open_vault(self.settings, local=pipeline.store.is_sqlite)
                outward = Outward(self.settings.allowed_networks)
                stopping, metrics = pipeline.hands.stopping, pipeline.metrics
                self._deliveries = Deliveries(pipeline.store, vault, outward, stopping, metrics=metrics)
            return self._deliveries

    def begin(self, batch_id: str | None = None, tell: Tell = nobody) -> None:
        """Start the lifeline; for one batch alone, if it is named. Whoever watches is told of looks at exports."""
        dispatch = Dispatch(self.app, self.pipeline.store, batch_id)
        self._lifeline = Lifeline(self.pipeline, dispatch, batch_id, tell)
        self._lifeline.start()

    @property
    def has_looked_at_parked(self) -> bool:
        """Whether rows that wait for credits or for a token have had their first chance to go on."""
        return self._lifeline is not None and self._lifeline.has_looked_at_parked

    def tell_metrics(self, slots: int) -> None:
        """Let Prometheus ask, where the settings say at which address; this process has so many slots."""
        self.pipeline.metrics.slots.set(slots)
        if place := self.settings.metrics_place:
            self.pipeline.metrics.serve(place, self.pipeline.hands.worker)

    def take_no_more(self) -> None:
        """Told to stop: nothing new."""
        self.pipeline.hands.stopping.set()

    def see_out(self) -> None:
        """Wait for what is open, as long as the grace lasts and nobody says `at_once`; then let go of what is left."""
        hands = self.pipeline.hands
        over = time.monotonic() + self.settings.reelq_stop_grace
        while hands.all() and time.monotonic() < over and not hands.must_let_go.wait(_LOOK_EVERY):
            pass
        self.let_go()

    def at_once(self) -> None:
        """Told to stop a second time: no grace any more."""
        self.pipeline.hands.must_let_go.set()

    def let_go(self) -> None:
        """What is still in hand is due at once for others."""
        self.pipeline.hands.must_let_go.set()
        try:
            self.pipeline.release_all()
        except Exception as error:
            if not is_away(error):
                raise
            away = {"away": "database"}
            log.warning("the database is away: what was in hand is taken back when its lease has lapsed", extra=away)

    def end(self) -> None:
        """Stop the lifeline and close connections."""
        if self._lifeline:
            self._lifeline.stop()
        self.pipeline.metrics.close()
        self.pipeline.close()


def leave(code: int = 0) -> NoReturn:
    """End this process now, whatever its threads wait for: a silent stream is let be for minutes.

    All that counts is in the database, and what was in hand is released.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _collect_seldom() -> None:
    """What is loaded by now stays, and what stages leave behind is mostly gone by itself: looking for the rest each
    time that a few hundred objects have been made takes a twentieth of a worker's time.
    """
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)


def as_worker(settings: Settings) -> Celery:
    """The app of a worker process of its own, with the lifeline as a part of the worker."""
    process = Process(settings)
    process.app.conf.worker_consumer = "worker.consumer:Consumer"
    stop = _Stop(process)

    class LifelineStep(bootsteps.StartStopStep):
        """Starts with the pool, and stops before it."""

        requires = ("celery.worker.components:Pool",)

        def start(self, worker: Any) -> None:
            process.wait_for_database()
            _collect_seldom()
            process.tell_metrics(worker.concurrency)
            process.begin(tell=partial(_tell_watchers, worker))

        def stop(self, _worker: Any) -> None:
            stop.begin()

        def terminate(self, _worker: Any) -> None:
            process.let_go()

    @signals.worker_shutting_down.connect(weak=False)
    def shutting_down(**_: Any) -> None:
        stop.begin()
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(each, stop.again)

    @signals.worker_shutdown.connect(weak=False)
    def shut_down(**_: Any) -> None:
        process.end()

    process.app.steps["worker"].add(LifelineStep)
    return process.app


def _tell_watchers(worker: Any, message: Message, words: str) -> None:
    """Flower shows a look past Celery as what it is to the row: its stage comes again."""
    consumer = worker.consumer
    if consumer and (events := consumer.event_dispatcher):
        task = {"uuid": task_id(message, Stage.POLL), "name": str(Stage.POLL), "args": message.title, "kwargs": "{}"}
        if not message.again:  # by this moment Flower sorts: without one its row stands below all others
            events.send("task-received", **task, retries=0, eta=None, expires=None)
        events.send("task-retried", **task, retries=message.again, exception=words, traceback="")


class _Stop:
    """How a worker process ends: Celery waits for its threads, and this sees to it that it does not wait for ever."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._thread = threading.Thread(target=self._see_out, name="reelq stop", daemon=True)

    def begin(self) -> None:
        """Once. In a thread: a signal may have come while this one holds a lock."""
        if not self._process.has_begun:
            leave()  # it waits for its database, with nothing in hand
        with suppress(RuntimeError):  # it was begun before
            self._thread.start()

    def again(self, *_: object) -> None:
        """Another signal: at once."""
        threading.Thread(target=self._process.at_once, name="reelq stop at once", daemon=True).start()

    def _see_out(self) -> None:
        process = self._process
        over = time.monotonic() + process.settings.reelq_stop_grace
        process.take_no_more()
        process.see_out()
        stuck = process.pipeline.hands.all
        # With nothing in hand Celery ends by itself, and is given what the grace has left.
        time.sleep((0 if stuck() else max(over - time.monotonic(), 0)) + _LAST_WORDS)
        log.warning("left with %d threads still waiting for an answer", len(stuck()))
        leave()
