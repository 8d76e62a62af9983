"""A duty that a thread of its own does again and again, whatever goes wrong with it once."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from reelq.store.session import is_away

log = logging.getLogger(__name__)

_SHORTEST_PAUSE: Final = 0.05


def repeat(name: str, act: Callable[[], None], every: float, over: threading.Event) -> threading.Thread:
    """Do it every so many seconds until it is over."""

    def duty() -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                act()
            except Exception as error:
                if is_away(error):
                    log.warning("the database is away: %s waits for it", name, extra={"away": "database"})
                else:
                    log.exception("%s failed; it goes on", name)
            over.wait(max(every - (time.monotonic() - began), _SHORTEST_PAUSE))

    thread = threading.Thread(target=duty, name=f"reelq {name}", daemon=True)
    thread.start()
    return thread
