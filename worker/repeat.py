"""A duty that a thread of its own does again and again, whatever goes wrong with it once."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from reelq.store.session import is_away

log = logging.getLogger(__name__)

_SHORTEST_PAUSE: Final = 0.02
_REST: Final = 10
"""So many times as long as it kept the processor is rested before it is done sooner than usual, and at least as long as
it took: the process has other work, and so has the database."""


def repeat(name: str, act: Callable[[], float | None], every: float, over: threading.Event) -> threading.Thread:
    """Do it every so many seconds until it is over, or sooner, where it says in how many there is more to do."""

    def duty() -> None:
        while not over.is_set():
            began, used = time.monotonic(), time.thread_time()
            wish = None
            try:
                wish = act()
            except Exception as error:
                if is_away(error):
                    log.warning("the database is away: %s waits for it", name, extra={"away": "database"})
                else:
                    log.exception("%s failed; it goes on", name)
            took, used = time.monotonic() - began, time.thread_time() - used
            rest = max(took, _REST * used)
            pause = every - took if wish is None else min(every - took, max(wish - took, rest))
            over.wait(max(pause, _SHORTEST_PAUSE))

    thread = threading.Thread(target=duty, name=f"reelq {name}", daemon=True)
    thread.start()
    return thread
