"""What keeps jobs alive: leases renewed, jobs of silent workers taken back, due work published, parked rows revived.

Every worker has one. Their claims compare and set, so that ten do no harm and one suffices.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from reelq.dispatch import Dispatch
from reelq.store import jobs
from reelq.store.session import is_away
from worker.pipeline import Pipeline

log = logging.getLogger(__name__)

_TICK: Final = 0.2
_RESCUED_AT_ONCE: Final = 200


class Lifeline:
    """A thread for each duty, for as long as the worker lives."""

    def __init__(self, pipeline: Pipeline, dispatch: Dispatch) -> None:
        self._pipeline = pipeline
        self._dispatch = dispatch
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        lease = self._pipeline.settings.reelq_lease_seconds
        poll = self._pipeline.settings.reelq_poll_interval
        duties = (
            ("leases", self._leases, lease / 4),
            ("due work", self._due_work, _TICK),
            ("parked accounts", self._pipeline.look_at_parked, poll),
        )
        for name, act, every in duties:
            thread = threading.Thread(target=self._repeat, args=(name, act, every), name=f"reelq {name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End them, after what they are at."""
        self._over.set()
        for thread in self._threads:
            thread.join(5)

    def _repeat(self, name: str, act: Callable[[], None], every: float) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                act()
            except Exception as error:
                if is_away(error):
                    log.warning("the database is away: %s waits", name)
                else:
                    log.exception("%s failed; it goes on", name)
            self._over.wait(max(every - (time.monotonic() - began), _TICK / 4))

    def _leases(self) -> None:
        """Our own first, so that a process that slept takes nothing from itself."""
        pipeline = self._pipeline
        held = {each.job_id: each for each in pipeline.hands.all()}
        began = time.monotonic()
        with pipeline.store.write() as session:
            now = pipeline.store.now(session)
            wished = jobs.renew(
                session, now, pipeline.hands.worker, {i: h.run for i, h in held.items()}, pipeline.hands.lease_seconds
            )
        for job_id, each in held.items():
            if job_id not in wished:
                each.lost = True
            else:
                each.deadline = began + pipeline.hands.lease_seconds
                each.cancelled = wished[job_id]

    def _due_work(self) -> None:
        pipeline = self._pipeline
        with pipeline.store.write() as session:
            now = pipeline.store.now(session)
            interval, lease = pipeline.settings.reelq_poll_interval, pipeline.hands.lease_seconds
            rescued = jobs.rescue(session, now, _RESCUED_AT_ONCE, interval, lease)
        if rescued:
            log.warning("took %d jobs back from workers that fell silent", len(rescued))
        self._dispatch.due()
        self._dispatch.admit()
