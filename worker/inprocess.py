"""A whole worker inside the process that calls it, over the memory transport: nothing to install, nothing to start."""

import threading
from typing import Any, Final

from celery.bootsteps import CLOSE  # type: ignore[attr-defined] # the stubs leave it out
from celery.platforms import EX_OK
from celery.worker import WorkController

from reelq.store import due
from worker.process import Process

_STOP_SECONDS: Final = 1
_LOOK_EVERY: Final = 0.1


class InProcess:
    """The worker of `reelq run`. Truth being in SQL, another process goes on where a killed one stood."""

    def __init__(self, process: Process, threads: int, batch_id: str | None = None) -> None:
        """With a batch, it works on that alone, and on what that waits for."""
        self.process = process
        self._batch_id = batch_id
        app = process.app
        app.finalize()
        # Tasks in pool threads publish the next link through the current app; without these it would be another one.
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
        """Begin to take jobs, those first that an earlier process had messages for."""
        with self.process.pipeline.store.write() as session:
            due.all_lost(session, self._batch_id)
        self.process.begin(self._batch_id)
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more, let what is open end within the grace, and release the rest for whoever goes on.

        `Process.at_once`, from another thread or a signal, cuts the grace short. Threads that sit in a silent stream
        would hold up the interpreter's end: leave by `worker.process.leave`.
        """
        self.process.take_no_more()
        self.process.see_out()
        # The controller waits for its threads for as long as they take; nobody waits for the controller.
        stopper = threading.Thread(target=self._take_down, name="reelq take down", daemon=True)
        stopper.start()
        stopper.join(_STOP_SECONDS)
        self.process.end()

    def _take_down(self) -> None:
        """First whoever brings messages, then the pool: a message for a pool that is gone would be an error."""
        while self._thread.is_alive():
            self._controller.consumer.blueprint.state = CLOSE
            self._thread.join(_LOOK_EVERY)
        self._controller.stop(exitcode=EX_OK)
