"""What keeps jobs alive: leases renewed, jobs of silent workers taken back, due work published, parked rows revived.

Every worker has one. Their claims compare and set, so that ten do no harm and one suffices.
"""

import logging
import threading
from typing import Final

from reelq.dispatch import Dispatch
from reelq.store import jobs, retention
from worker.pipeline import Pipeline
from worker.repeat import repeat

log = logging.getLogger(__name__)

_TICK: Final = 0.2
_RESCUED_AT_ONCE: Final = 200
_RETENTION_EVERY: Final = 600.0


class Lifeline:
    """A thread for each duty, for as long as the worker lives."""

    def __init__(self, pipeline: Pipeline, dispatch: Dispatch, batch_id: str | None = None) -> None:
        """With a batch, it looks after what belongs to that alone."""
        self._pipeline = pipeline
        self._dispatch = dispatch
        self._batch_id = batch_id
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        settings = self._pipeline.settings
        self._pipeline.keep_leases()
        duties = (
            ("due work", self._due_work, _TICK),
            ("parked accounts", self._look_at_parked, settings.reelq_poll_interval),
            ("retention", self._retention, _RETENTION_EVERY),
        )
        self._threads = [repeat(name, act, every, self._over) for name, act, every in duties]

    def stop(self) -> None:
        """End them, after what they are at."""
        self._over.set()
        for thread in self._threads:
            thread.join(5)

    def _due_work(self) -> None:
        pipeline = self._pipeline
        if pipeline.hands.stopping.is_set():
            return  # it is for those who stay; in one process it would come back to ourselves
        with pipeline.store.write(urgent=True) as session:
            now = pipeline.store.now(session)
            # A process that slept, or is too busy to renew in time, does not take itself for dead.
            held = {each.job_id for each in pipeline.hands.all()}
            interval, lease = pipeline.settings.reelq_poll_interval, pipeline.hands.lease_seconds
            rescued = jobs.rescue(session, now, _RESCUED_AT_ONCE, interval, lease, held, self._batch_id)
        if rescued:
            log.warning("took %d jobs back from workers that fell silent", len(rescued))
        self._dispatch.due()
        self._dispatch.admit()

    def _look_at_parked(self) -> None:
        self._pipeline.look_at_parked(self._batch_id)

    def _retention(self) -> None:
        days = self._pipeline.settings.reelq_keep_days
        if days is None:
            return
        with self._pipeline.store.write() as session:
            gone = retention.forget(session, self._pipeline.store.now(session), days)
        if gone:
            log.info("forgot %d batches that ended more than %g days ago; their results stay", gone, days)
