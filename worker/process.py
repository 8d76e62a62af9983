"""Puts a worker together: the store, the executor, the tasks and the maintenance threads of a Celery app.

A worker is a process of its own, started by `celery -A worker`, or runs inside `reelq run`.
"""

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
from celery.bootsteps import CLOSE  # type: ignore[attr-defined] # the stubs leave it out
from celery.platforms import EX_OK
from celery.worker import WorkController

from reelq.broker import Dispatch, make_celery, task_id
from reelq.egress import EgressClient
from reelq.job import Stage
from reelq.logs import warn_unavailable
from reelq.settings import Settings
from reelq.store.db.engine import Store, database_url, is_unavailable
from reelq.store.db.migrations import upgrade
from reelq.store.db.vault import open_vault
from reelq.store.jobs import scheduler
from reelq.store.jobs.scheduler import Message
from worker.executor import Executor
from worker.maintenance import Maintenance, repeat
from worker.render_poller import OnUnfinished
from worker.tasks import register
from worker.webhooks import Deliveries

log = logging.getLogger(__name__)
_RELEASED_STAGES_SECONDS: Final = 1.5
"""Seconds that released stages get to end by themselves, before the process exits anyway."""
_CONTROLLER_STOP_SECONDS: Final = 1
_CHECK_INTERVAL: Final = 0.1
_GC_THRESHOLD: Final = 20_000
"""Net new objects that start a garbage collection. Python's default is 700."""
_DATABASE_RETRY_SECONDS: Final = 2.0
"""Seconds between attempts to reach the database at startup."""


class Process:
    """Everything that one process needs to run jobs. Its parts are created on first use."""

    def __init__(self, settings: Settings, home: Path | None = None) -> None:
        self.settings = settings
        self.app = make_celery(settings)
        self._home = home
        self._lock = threading.RLock()
        self._executor: Executor | None = None
        self._deliveries: Deliveries | None = None
        self._maintenance: Maintenance | None = None
        register(self.app, lambda: self.executor, lambda: self.deliveries)

    @property
    def executor(self) -> Executor:
        """The executor of this process. On first use, migrate the database and start to renew leases."""
        with self._lock:
            if self._executor is None:
                store = Store(database_url(self.settings))
                upgrade(store)
                vault = open_vault(self.settings, local=store.is_sqlite)
                executor = Executor(store, vault, self.settings, self._home)
                every = executor.held_jobs.lease_seconds / 4
                repeat("leases", executor.renew_leases, every, executor.closed, executor.metrics)
                self._executor = executor
            return self._executor

    @property
    def has_begun(self) -> bool:
        """Whether there is an executor, and thus something to shut down in order."""
        return self._executor is not None

    def wait_for_database(self) -> None:
        """Wait until the database answers, so that processes may be started in any order."""
        while True:
            try:
                _ = self.executor
            except Exception as error:
                if not is_unavailable(error):
                    raise
                why = str(getattr(error, "orig", error)).strip().partition("\n")[0]
                log.warning("The database is unavailable; the worker starts when it answers (%s)", why)
            else:
                return
            time.sleep(_DATABASE_RETRY_SECONDS)

    @property
    def deliveries(self) -> Deliveries:
        """The sender of webhooks, created when the first delivery is due."""
        with self._lock:
            if self._deliveries is None:
                executor, egress = self.executor, EgressClient(self.settings.allowed_networks)
                stopping = executor.held_jobs.stopping
                self._deliveries = Deliveries(executor.store, executor.vault, egress, stopping, executor.metrics)
            return self._deliveries

    def start_maintenance(self, batch_id: str | None = None, on_unfinished: OnUnfinished | None = None) -> None:
        """Start the maintenance threads, for one batch only if it is given."""
        dispatch = Dispatch(self.app, self.executor.store, batch_id)
        self._maintenance = Maintenance(self.executor, dispatch, batch_id, on_unfinished)
        self._maintenance.start()

    @property
    def has_checked_parked(self) -> bool:
        """Whether rows that wait for credits or for a token have been checked once since the start."""
        return self._maintenance is not None and self._maintenance.parked_checked.is_set()

    def drain(self) -> None:
        """Accept no new jobs. Let running stages finish until the grace period ends, and release the rest."""
        held_jobs = self.executor.held_jobs
        held_jobs.stopping.set()
        deadline = time.monotonic() + self.settings.reelq_stop_grace
        while held_jobs.all() and time.monotonic() < deadline and not held_jobs.must_release.wait(_CHECK_INTERVAL):
            pass
        self.release_jobs()

    def end_grace(self) -> None:
        """End the grace period now. A second signal does this."""
        self.executor.held_jobs.must_release.set()

    def release_jobs(self) -> None:
        """Release all held jobs, which makes them due at once for other workers."""
        held_jobs = self.executor.held_jobs
        held_jobs.must_release.set()
        try:
            self.executor.release(held_jobs.all())
        except Exception as error:
            if not is_unavailable(error):
                raise
            warn_unavailable(log, "database", "Held jobs will be rescheduled when their leases expire.")

    def close(self) -> None:
        """Stop the maintenance threads and close all connections."""
        if self._maintenance:
            self._maintenance.stop()
        self.executor.metrics.close()
        self.executor.close()


def exit_now(code: int = 0) -> NoReturn:
    """Exit now without waiting for threads, which can wait minutes for a silent stream.

    Nothing is lost: all state is in the database, and held jobs have been released.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class EmbeddedWorker:
    """A complete worker inside this process, with Celery's in-memory transport: that of `reelq run` without a broker.

    State is in the database, so a later process continues where a killed one stopped.
    """

    def __init__(self, process: Process, threads: int, batch_id: str | None = None) -> None:
        """With a batch, it runs only that batch and the rows that it waits for."""
        self._process = process
        self._batch_id = batch_id
        app = process.app
        app.finalize()
        # Pool threads publish the next link of a chain through the current app, which must be this one.
        app.set_current()
        app.set_default()
        self._controller: Any = WorkController(
            app=app,
            pool_cls="threads",
            concurrency=threads,
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
            loglevel="WARNING",
        )
        self._thread = threading.Thread(target=self._controller.start, name="reelq worker", daemon=True)

    def start(self) -> None:
        """Start running jobs. Jobs whose messages were lost with an earlier process are published again."""
        with self._process.executor.store.write() as session:
            scheduler.republish_all(session, self._batch_id)
        self._process.start_maintenance(self._batch_id)
        self._thread.start()

    def stop(self) -> None:
        """Accept no new jobs, let running stages finish within the grace period, and release the rest.

        `Process.end_grace`, called from another thread or a signal handler, ends the grace period. Threads that wait
        for a silent stream would delay the interpreter's exit: exit by `exit_now`.
        """
        self._process.drain()
        # The controller waits for its threads without limit, so it stops in a thread that is not waited for.
        stopper = threading.Thread(target=self._stop_controller, name="reelq take down", daemon=True)
        stopper.start()
        stopper.join(_CONTROLLER_STOP_SECONDS)
        self._process.close()

    def _stop_controller(self) -> None:
        """Stop the consumer first, then the pool: a message for a stopped pool would be an error."""
        while self._thread.is_alive():
            self._controller.consumer.blueprint.state = CLOSE
            self._thread.join(_CHECK_INTERVAL)
        self._controller.stop(exitcode=EX_OK)


def worker_app(settings: Settings) -> Celery:
    """Return the Celery app of a separate worker process, which runs the maintenance threads too."""
    process = Process(settings)
    process.app.conf.worker_consumer = "worker.consumer:Consumer"
    stop = _Stop(process)

    class MaintenanceStep(bootsteps.StartStopStep):
        """Starts after the worker's pool, and stops before it."""

        requires = ("celery.worker.components:Pool",)

        def start(self, worker: Any) -> None:
            process.wait_for_database()
            _make_gc_rare()
            executor = process.executor
            executor.metrics.slots.set(worker.concurrency)
            if address := settings.metrics_place:
                executor.metrics.serve(address, executor.held_jobs.worker)
            process.start_maintenance(on_unfinished=partial(_send_retry_events, worker))

        def stop(self, _worker: Any) -> None:
            stop.begin()

        def terminate(self, _worker: Any) -> None:
            process.release_jobs()

    @signals.worker_shutting_down.connect(weak=False)
    def shutting_down(**_: Any) -> None:
        stop.begin()
        for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(signal_number, stop.end_grace)

    @signals.worker_shutdown.connect(weak=False)
    def shut_down(**_: Any) -> None:
        process.close()

    process.app.steps["worker"].add(MaintenanceStep)
    return process.app


def _make_gc_rare() -> None:
    """Make garbage collections rare.

    Loaded modules live as long as the process, and reference counting frees most of what stages create. With the
    default threshold, collections take a twentieth of a worker's time.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def _send_retry_events(worker: Any, message: Message, text: str) -> None:
    """Send the Celery events of a retried task for a poll made without one, so that Flower shows it."""
    consumer = worker.consumer
    if consumer and (events := consumer.event_dispatcher):
        task = {"uuid": task_id(message, Stage.POLL), "name": str(Stage.POLL), "args": message.title, "kwargs": "{}"}
        if not message.again:  # Flower sorts by the time of this event, and would put the row last without it
            events.send("task-received", **task, retries=0, eta=None, expires=None)
        events.send("task-retried", **task, retries=message.again, exception=text, traceback="")


class _Stop:
    """Stops a worker process. Celery alone would wait for its threads without limit; this limits the wait."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._thread = threading.Thread(target=self._stop_within_grace, name="reelq stop", daemon=True)

    def begin(self) -> None:
        """Start to stop, once. It runs in a thread, as the signal may interrupt a thread that holds a lock."""
        if not self._process.has_begun:
            exit_now()  # still waiting for the database, so no job is held
        with suppress(RuntimeError):  # the thread was started before
            self._thread.start()

    def end_grace(self, *_: object) -> None:
        """Handle a further signal."""
        threading.Thread(target=self._process.end_grace, name="reelq stop at once", daemon=True).start()

    def _stop_within_grace(self) -> None:
        process = self._process
        deadline = time.monotonic() + process.settings.reelq_stop_grace
        process.drain()
        held = process.executor.held_jobs.all
        # If no job is held, Celery ends by itself. It gets what is left of the grace period for that.
        time.sleep((0 if held() else max(deadline - time.monotonic(), 0)) + _RELEASED_STAGES_SECONDS)
        log.warning("Exiting with %d threads still waiting for a response", len(held()))
        exit_now()
