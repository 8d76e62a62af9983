"""Runs a function periodically in a thread, and goes on after an error."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from reelq.logs import warn_unavailable
from reelq.store.db.engine import is_unavailable
from worker.metrics import Metrics

log = logging.getLogger(__name__)

_SHORTEST_PAUSE: Final = 0.02
_PAUSE_PER_CPU_TIME: Final = 10
"""Shortest pause before an early run, as a multiple of the CPU time of the last run. The pause is also at least as long
as that run took. This leaves time for the other work of the process and the database."""


def repeat(
    name: str, act: Callable[[], float | None], every: float, over: threading.Event, metrics: Metrics
) -> threading.Thread:
    """Call `act` every `every` seconds until `over` is set. Metrics tell when it was last completed.

    If `act` returns a number of seconds, the next call is that soon, with a minimum pause.
    """
    last_completed = metrics.rounds.labels(name.replace(" ", "_"))

    def loop() -> None:
        while not over.is_set():
            started_at, cpu_seconds = time.monotonic(), time.thread_time()
            wanted_pause = None
            try:
                wanted_pause = act()
                last_completed.set_to_current_time()
            except Exception as error:
                if is_unavailable(error):
                    warn_unavailable(log, "database", f"Duty {name!r} will run again later.")
                else:
                    log.exception("Duty %r failed. It will run again.", name)
            seconds, cpu_seconds = time.monotonic() - started_at, time.thread_time() - cpu_seconds
            pause = every - seconds
            if wanted_pause is not None:
                pause = min(pause, max(wanted_pause - seconds, seconds, _PAUSE_PER_CPU_TIME * cpu_seconds))
            over.wait(max(pause, _SHORTEST_PAUSE))

    thread = threading.Thread(target=loop, name=f"reelq {name}", daemon=True)
    thread.start()
    return thread
