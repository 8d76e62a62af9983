"""What keeps jobs alive: leases renewed, jobs of silent workers taken back, due work published, parked rows revived.

And exports that are waited for are looked at.

And what others are to hear of it: finished batches are noted, and endpoints that are to be told are.

And what instructions cost is found out, what is old is forgotten, and the process is kept on one core.

Every worker has one. Their claims compare and set, so that ten do no harm and one suffices.
"""

import logging
import threading
import time
from datetime import timedelta
from typing import Final

from reelq.dispatch import Dispatch
from reelq.storage import Storage
from reelq.store import credits, deliveries, due, jobs, retention
from worker.core import Core
from worker.costs import Costs
from worker.finishing import Finishing
from worker.looks import Looks, Tell, nobody
from worker.pipeline import Pipeline
from worker.repeat import repeat

log = logging.getLogger(__name__)

_DUE_EVERY: Final = due.SOON.total_seconds()
_LET_IN_EVERY: Final = 0.05
"""While there are rows to let in, and workers keep up."""
_RESCUED_AT_ONCE: Final = 200
_TAKE_BACK_EVERY: Final = 0.5
_RETENTION_EVERY: Final = 600.0
_FINISHING_EVERY: Final = 1.0
COSTS_EVERY: Final = 1.0
_DELIVERIES_EVERY: Final = 0.5
_CORE_EVERY: Final = 2.0
_UNREAD_FOR: Final = timedelta(days=1)
"""How long a reading is waited for that tells what an instruction cost."""
_DELIVERIES_KEPT_DAYS: Final = 30.0
_STOP_SECONDS: Final = 5
_SLOTS_OF_DELIVERIES: Final = 4
"""One in so many of what may be in flight: the others are for jobs, however slow endpoints are."""


class Lifeline:
    """A thread for each duty, for as long as the worker lives."""

    def __init__(
        self, pipeline: Pipeline, dispatch: Dispatch, batch_id: str | None = None, tell: Tell = nobody
    ) -> None:
        """With a batch, it looks after what belongs to that alone."""
        self._pipeline = pipeline
        self._dispatch = dispatch
        self._batch_id = batch_id
        self._core = Core()
        self._costs = Costs(pipeline)
        self._finishing = Finishing(pipeline.store, batch_id)
        self._looks = Looks(pipeline, dispatch.publish, tell)
        self._lets_in_at = 0.0
        self._over = threading.Event()
        self._looked_at_parked = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        settings = self._pipeline.settings
        self._pipeline.keep_leases()
        self._looks.start()
        duties = (
            ("due work", self._due_work, _DUE_EVERY),
            ("silent workers", self._take_back, _TAKE_BACK_EVERY),
            ("parked accounts", self._look_at_parked, settings.reelq_poll_interval),
            ("costs", self._costs.look, COSTS_EVERY),
            ("finished batches", self._finishing.look, _FINISHING_EVERY),
            ("retention", self._retention, _RETENTION_EVERY),
            *((("core", self._core.look, _CORE_EVERY),) if self._core.is_worth_a_look else ()),
            *(() if self._batch_id else (("deliveries", self._due_deliveries, _DELIVERIES_EVERY),)),
        )
        noted = self._pipeline.metrics.noted
        self._threads = [repeat(name, noted(name, act), every, self._over) for name, act, every in duties]

    def stop(self) -> None:
        """End them, after what they are at."""
        self._over.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
        self._looks.stop(_STOP_SECONDS)
        self._core.leave()
        self._finishing.look_a_last_time()

    @property
    def has_looked_at_parked(self) -> bool:
        """Whether rows that wait for credits or for a token have had their first chance to go on."""
        return self._looked_at_parked.is_set()

    def _due_work(self) -> float | None:
        """In how many seconds more is due, if that is soon."""
        pipeline = self._pipeline
        if pipeline.hands.stopping.is_set():
            return None  # it is for those who stay; in one process it would come back to ourselves
        began = time.monotonic()
        lets_in = began >= self._lets_in_at
        with pipeline.store.write(urgent=True) as session:
            now = pipeline.store.now(session)
            ripe = self._dispatch.due(session, now, looks=self._looks.has_room)
            new = self._dispatch.let_in(session, now) if lets_in else []
        self._dispatch.publish(ripe.messages + new)
        self._looks.begin(ripe.looks)
        if lets_in:
            self._lets_in_at = began + (_LET_IN_EVERY if new else _DUE_EVERY / 2)
        due_in = [] if ripe.soon is None else [(ripe.soon - now).total_seconds()]
        return min([*due_in, *([_LET_IN_EVERY] if new else [])], default=None)

    def _take_back(self) -> None:
        """Jobs of workers that fell silent are due again."""
        pipeline = self._pipeline
        if pipeline.hands.stopping.is_set():
            return
        with pipeline.store.write(urgent=True) as session:
            now = pipeline.store.now(session)
            # A process that slept, or is too busy to renew in time, does not take itself for dead.
            held = {each.job_id for each in pipeline.hands.all()}
            interval, lease = pipeline.settings.reelq_poll_interval, pipeline.hands.lease_seconds
            rescued = jobs.rescue(session, now, _RESCUED_AT_ONCE, interval, lease, held, self._batch_id)
            if rescued:
                due.lost_with_the_silent(session, now, lease, self._batch_id)
        pipeline.metrics.rescued.inc(len(rescued))
        if rescued:
            log.warning("took %d jobs back from workers that fell silent", len(rescued))

    def _look_at_parked(self) -> None:
        try:
            self._pipeline.look_at_parked(self._batch_id)
        finally:
            self._looked_at_parked.set()

    def _due_deliveries(self) -> None:
        if not self._pipeline.hands.stopping.is_set():
            self._dispatch.deliveries(max(self._pipeline.settings.reelq_max_in_flight // _SLOTS_OF_DELIVERIES, 1))

    def _retention(self) -> None:
        days = self._pipeline.settings.reelq_keep_days
        with self._pipeline.store.write() as session:
            now = self._pipeline.store.now(session)
            deliveries.forget(session, now, days or _DELIVERIES_KEPT_DAYS)
            credits.stop_waiting(session, now - _UNREAD_FOR)
        retention.tidy(self._pipeline.store, days)
        if self._batch_id is None:  # else it may be play, and what is in storage belongs to real work
            retention.sweep(self._pipeline.store, Storage.of(self._pipeline.settings))
