"""Notices that batches have finished: looks where something has happened lately, and now and then everywhere."""

import logging
import time
from collections import deque
from typing import Final

from reelq.store import finishes
from reelq.store.session import Store, is_away

log = logging.getLogger(__name__)

_AT_ONCE: Final = 200
_LOOKS_BACK: Final = 10
"""An event's number is drawn before its transaction ends: what came to light since so many looks ago is looked at."""
_EVERYWHERE_EVERY: Final = 60.0
"""Seconds between two looks at all unfinished batches: for what no event tells of, or told too late."""


class Finishing:
    """One process's look-out for ends; ten of them do no harm, and tell of each once."""

    def __init__(self, store: Store, batch_id: str | None = None) -> None:
        """With a batch, it looks at that alone."""
        self._store = store
        self._batch_id = batch_id
        self._marks: deque[int] = deque(maxlen=_LOOKS_BACK)
        self._everywhere_at = 0.0

    def look(self) -> None:
        """Note and tell what has finished since."""
        with self._store.read() as session:
            newest = finishes.newest_event(session)
            found = finishes.ended(session, _AT_ONCE, self._since(), self._batch_id)
        for batch_id in found:
            with self._store.write() as session:
                finishes.finish(session, batch_id, self._store.now(session))
        self._marks.append(newest)
        if len(found) == _AT_ONCE:
            self._everywhere_at = 0.0  # there are more

    def look_a_last_time(self) -> None:
        """Before the process ends: the last row of its batch may have ended a moment ago."""
        try:
            self.look()
        except Exception as error:
            if not is_away(error):
                raise
            log.info("the database is away: whoever works next notes what has finished")

    def _since(self) -> int | None:
        """The number of the event from which on to look; none where all batches are looked at."""
        now = time.monotonic()
        if self._marks and now < self._everywhere_at:
            return self._marks[0]
        self._everywhere_at = now + _EVERYWHERE_EVERY
        return None
