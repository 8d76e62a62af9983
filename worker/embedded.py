"""A complete worker inside the calling process, with Celery's in-memory transport: for `reelq run` without a broker."""

import threading
from typing import Any, Final

from celery.bootsteps import CLOSE  # type: ignore[attr-defined] # the stubs leave it out
from celery.platforms import EX_OK
from celery.worker import WorkController

from reelq.store.jobs import scheduler
from worker.process import Process

_STOP_SECONDS: Final = 1
_CHECK_INTERVAL: Final = 0.1


class EmbeddedWorker:
    """The worker of `reelq run`. State is in the database, so a later process continues where a killed one stopped."""

    def __init__(self, process: Process, threads: int, batch_id: str | None = None) -> None:
        """With a batch, it runs only that batch and the rows that it waits for."""
        self.process = process
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
        with self.process.executor.store.write() as session:
            scheduler.republish_all(session, self._batch_id)
        self.process.begin(self._batch_id)
        self._thread.start()

    def stop(self) -> None:
        """Accept no new jobs, let running stages finish within the grace period, and release the rest.

        `Process.at_once`, called from another thread or a signal handler, ends the grace period. Threads that wait for
        a silent stream would delay the interpreter's exit: exit by `worker.process.leave`.
        """
        self.process.take_no_more()
        self.process.see_out()
        # The controller waits for its threads without limit, so it stops in a thread that is not waited for.
        stopper = threading.Thread(target=self._stop_controller, name="reelq take down", daemon=True)
        stopper.start()
        stopper.join(_STOP_SECONDS)
        self.process.end()

    def _stop_controller(self) -> None:
        """Stop the consumer first, then the pool: a message for a stopped pool would be an error."""
        while self._thread.is_alive():
            self._controller.consumer.blueprint.state = CLOSE
            self._thread.join(_CHECK_INTERVAL)
        self._controller.stop(exitcode=EX_OK)
