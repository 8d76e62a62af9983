"""Finds out what instructions cost once they have ended: a reading of the balance for all at once, and no row waits."""

import logging
import time
from datetime import timedelta

from reelq.errors import RemoteError
from reelq.store import credits
from worker.pipeline import Pipeline

log = logging.getLogger(__name__)


class Costs:
    """One process's look-out for instructions that have ended and whose costs may not all be known."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._not_before: dict[str, float] = {}

    def look(self) -> None:
        """Read what is to be read, for each account once."""
        store, settings = self._pipeline.store, self._pipeline.settings
        # A stream that lives as long as one may has its end recorded a moment later.
        longest = timedelta(seconds=settings.reelq_edit_timeout + settings.reelq_settle_first_wait)
        with store.read() as session:
            ended = credits.ended(session, settings.nemo_api_url, store.now(session) - longest)
        for account_id, sends in ended.items():
            if time.monotonic() < self._not_before.get(account_id, 0.0):
                continue
            try:
                credits.find_out(store, account_id, sends, self._pipeline.remote(account_id).balance)
            except RemoteError as error:
                log.info("what %d instructions cost can't be read yet: %s", len(sends), error)
                self._not_before[account_id] = time.monotonic() + settings.reelq_poll_interval
