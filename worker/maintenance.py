"""The background work of a worker, with a thread for each duty.

The duties: reschedule jobs whose lease has expired, publish and admit due work, resume parked jobs, record finished
batches, publish webhook deliveries, read what instructions cost, and delete old data. Every duty uses compare-and-set,
so any number of workers can run them, and one is enough.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from reelq.broker import Dispatch
from reelq.errors import RemoteError
from reelq.logs import warn_unavailable
from reelq.storage import Storage
from reelq.store import retention
from reelq.store.billing import ledger
from reelq.store.db.engine import Store, is_unavailable
from reelq.store.jobs import leases, scheduler
from reelq.store.webhooks import deliveries, outbox
from worker.core import Core
from worker.executor import Executor
from worker.metrics import Metrics
from worker.render_poller import OnUnfinished, RenderPoller

log = logging.getLogger(__name__)
_DUE_EVERY: Final = scheduler.SOON.total_seconds()
_ADMIT_EVERY: Final = 0.05
"""The interval while there are rows to admit and workers keep up."""
_MAX_RESCUED: Final = 200
_RESCUE_EVERY: Final = 0.5
_RETENTION_EVERY: Final = 600.0
_FINISHING_EVERY: Final = 1.0
COSTS_EVERY: Final = 1.0
_DELIVERIES_EVERY: Final = 0.5
_CORE_EVERY: Final = 2.0
_READING_TIMEOUT: Final = timedelta(days=1)
"""How long to wait for a balance reading that shows what an instruction cost."""
_DELIVERIES_KEPT_DAYS: Final = 30.0
_STOP_SECONDS: Final = 5
_SLOTS_PER_DELIVERY: Final = 4
"""Deliveries may use one in this many slots. The others are left for jobs, however slow the endpoints are."""
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


class Maintenance:
    """Runs a thread for each duty while the worker lives."""

    def __init__(
        self,
        executor: Executor,
        dispatch: Dispatch,
        batch_id: str | None = None,
        on_unfinished: OnUnfinished | None = None,
    ) -> None:
        """With a batch, the duties cover only that batch."""
        self._executor = executor
        self._store = executor.store
        self._settings = executor.settings
        self._held_jobs = executor.held_jobs
        self._dispatch = dispatch
        self._batch_id = batch_id
        self._core = Core()
        self._costs = Costs(executor)
        self._finished_batches = FinishedBatches(executor.store, batch_id)
        self._poller = RenderPoller(executor, dispatch.publish, on_unfinished)
        self._next_admission_at = 0.0
        self._stopped = threading.Event()
        self.parked_checked = threading.Event()
        """Rows that wait for credits or for a token have been checked once since the start."""
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start all threads."""
        self._poller.start()
        duties = [
            ("due work", self._due_work, _DUE_EVERY),
            ("silent workers", self._reschedule_expired, _RESCUE_EVERY),
            ("parked accounts", self._check_parked, self._settings.reelq_poll_interval),
            ("costs", self._costs.read, COSTS_EVERY),
            ("finished batches", self._finished_batches.record, _FINISHING_EVERY),
            ("retention", self._delete_old, _RETENTION_EVERY),
        ]
        if self._core.has_choice:
            duties.append(("core", self._core.rebind, _CORE_EVERY))
        if self._batch_id is None:
            duties.append(("deliveries", self._publish_deliveries, _DELIVERIES_EVERY))
        metrics = self._executor.metrics
        self._threads = [repeat(name, act, every, self._stopped, metrics) for name, act, every in duties]

    def stop(self) -> None:
        """Stop the threads. Each gets a few seconds to finish its current run."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
        self._poller.stop(_STOP_SECONDS)
        self._core.leave()
        self._finished_batches.record_last()

    def _due_work(self) -> float | None:
        """Publish or poll jobs that are due, and admit new ones. Return the seconds until the next, if that is soon."""
        if self._held_jobs.stopping.is_set():
            return None  # leave it to other workers: within one process the message would come straight back
        started_at = time.monotonic()
        admits = started_at >= self._next_admission_at
        with self._store.write(urgent=True) as session:
            now = self._store.now(session)
            due = self._dispatch.due(session, now, polls=self._poller.has_room)
            admitted = self._dispatch.admit(session, now) if admits else []
        self._dispatch.publish(due.messages + admitted)
        self._poller.begin(due.polls)
        if admits:
            self._next_admission_at = started_at + (_ADMIT_EVERY if admitted else _DUE_EVERY / 2)
        pauses = [_ADMIT_EVERY] if admitted else []
        if due.next_at is not None:
            pauses.append((due.next_at - now).total_seconds())
        return min(pauses, default=None)

    def _reschedule_expired(self) -> None:
        """Reschedule jobs whose worker's lease has expired."""
        if self._held_jobs.stopping.is_set():
            return
        with self._store.write(urgent=True) as session:
            now = self._store.now(session)
            # Skip our own jobs: if this process was suspended or too busy to renew in time, it is still alive.
            held = {job.job_id for job in self._held_jobs.all()}
            interval, lease = self._settings.reelq_poll_interval, self._held_jobs.lease_seconds
            rescued = leases.requeue_expired(session, now, _MAX_RESCUED, interval, lease, held, self._batch_id)
            if rescued:
                scheduler.republish_overdue(session, now, lease, self._batch_id)
        self._executor.metrics.rescued.inc(len(rescued))
        if rescued:
            log.warning("Rescheduled %d jobs whose lease had expired", len(rescued))

    def _check_parked(self) -> None:
        try:
            self._executor.resume_parked(self._batch_id)
        finally:
            self.parked_checked.set()

    def _publish_deliveries(self) -> None:
        if not self._held_jobs.stopping.is_set():
            self._dispatch.deliveries(max(self._settings.reelq_max_in_flight // _SLOTS_PER_DELIVERY, 1))

    def _delete_old(self) -> None:
        days = self._settings.reelq_keep_days
        with self._store.write() as session:
            now = self._store.now(session)
            deliveries.delete_old(session, now, days or _DELIVERIES_KEPT_DAYS)
            ledger.give_up_charging(session, now - _READING_TIMEOUT)
        retention.delete_old_rows(self._store, days)
        if self._batch_id is None:  # one batch may be a sandbox run, and the storage then belongs to real work
            retention.sweep(self._store, Storage.of(self._settings))


class Costs:
    """Reads what instructions cost after they have ended."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._not_before: dict[str, float] = {}

    def read(self) -> None:
        """Take one balance reading for each account with ended instructions whose cost is not known yet."""
        store, settings = self._executor.store, self._executor.settings
        # The end of a stream that lasts as long as allowed is recorded a moment after that.
        longest = timedelta(seconds=settings.reelq_edit_timeout + settings.reelq_settle_first_wait)
        with store.read() as session:
            ended = ledger.ended_sends(session, settings.nemo_api_url, store.now(session) - longest)
        for account_id, sends in ended.items():
            if time.monotonic() < self._not_before.get(account_id, 0.0):
                continue
            try:
                ledger.charge_ended(store, account_id, sends, self._executor.remote(account_id).balance)
            except RemoteError as error:
                log.info("Cannot read the cost of %d instructions yet: %s", len(sends), error)
                self._not_before[account_id] = time.monotonic() + settings.reelq_poll_interval


_MAX_BATCHES: Final = 200
_ROUNDS_BACK: Final = 10
"""How many rounds back to read events. An event gets its number before its transaction commits, so it can appear after
events with higher numbers were read."""
_FULL_SCAN_EVERY: Final = 60.0
"""Seconds between two scans of all unfinished batches. They find ends that have no event, or one that came too late."""


class FinishedBatches:
    """Finds batches that have finished and records that. With several workers, each finish is still recorded once."""

    def __init__(self, store: Store, batch_id: str | None = None) -> None:
        """With a batch, only that one is checked."""
        self._store = store
        self._batch_id = batch_id
        self._recent_newest: deque[int] = deque(maxlen=_ROUNDS_BACK)
        self._next_full_scan_at = 0.0

    def record(self) -> None:
        """Record the batches that have finished since the last rounds, and queue their webhooks."""
        with self._store.read() as session:
            newest = outbox.newest_event(session)
            found = outbox.unmarked_finished(session, _MAX_BATCHES, self._since(), self._batch_id)
        for batch_id in found:
            with self._store.write() as session:
                outbox.mark_finished(session, batch_id, self._store.now(session))
        self._recent_newest.append(newest)
        if len(found) == _MAX_BATCHES:
            self._next_full_scan_at = 0.0  # there may be more: scan all batches in the next round

    def record_last(self) -> None:
        """Check once more before the process ends, as the last row of a batch may just have ended."""
        try:
            self.record()
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.info("The database is unavailable. The next worker will record finished batches.")

    def _since(self) -> int | None:
        """Return the number of the event to start from, or None for a scan of all batches."""
        now = time.monotonic()
        if self._recent_newest and now < self._next_full_scan_at:
            return self._recent_newest[0]
        self._next_full_scan_at = now + _FULL_SCAN_EVERY
        return None
