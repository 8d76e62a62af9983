"""Polls exports, many at a time and without Celery tasks, since most polls change nothing.

Only "not done yet" is recorded here. For any other answer the row's message is published and its stage deals with it,
under a lease and with the usual events; if the export is done, the stage finds the URL already recorded.

If a poll fails, the row's stage repeats it and handles the error, and for a while the account's other rows go to their
stages without a poll. The service may have received a poll whose connection broke, so that one is repeated after an
interval. One that the service refused, with a 429 for example, goes to the stage at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Final

from reelq.errors import PassingFault, ReelqError, RenderUnknown
from reelq.job import Stage
from reelq.logs import warn_unavailable
from reelq.nemo.types import RenderStatus
from reelq.store.db.engine import Transaction, is_unavailable
from reelq.store.jobs import polling
from reelq.store.jobs.polling import LockedPolls
from reelq.store.jobs.scheduler import POLL_SECONDS, Message, Poll
from worker.executor import Executor
from worker.outcomes import StageResult
from worker.stages.poll import unfinished

log = logging.getLogger(__name__)
_MAX_THREADS: Final = 32
_MAX_OPEN: Final = 500
_COLLECT_SECONDS: Final = 0.1
"""Seconds to collect results before they are recorded together."""
_COLLECT_SECONDS_URGENT: Final = 0.02
"""The same, if one of the results lets a row go on."""
_MAX_COLLECTED: Final = 200
_TOO_LATE: Final = POLL_SECONDS - 5.0
"""Seconds after which a reserved poll is no longer made, and recording its result no longer retried."""
_DATABASE_RETRY_SECONDS: Final = 0.5
_SUSPEND_SECONDS: Final = 5.0
"""Seconds without polls for an account after one of them failed."""
OnUnfinished = Callable[[Message, str], None]
"""Called for each poll that found an export unfinished, with the row's message and a text."""


class _Action(Enum):
    """What follows from a poll."""

    POLL_AGAIN = "the export is not done: poll it again later"
    RUN_STAGE = "publish the row's message; if the export is done, its URL is recorded for the stage"
    RUN_STAGE_LATER = "the poll failed, perhaps after the service had answered it: its stage polls after an interval"
    GIVE_BACK = "not polled, because this process is stopping: release the reservation"
    TOO_LATE = "not polled, because the reservation is about to expire and the row's message will be published"


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of a poll. `ended_at` is the monotonic time when it ended."""

    poll: Poll
    action: _Action
    text: str = ""
    url: str = ""
    seconds: float = 0.0
    ended_at: float = field(default_factory=time.monotonic)


class RenderPoller:
    """Threads that poll exports, and one thread that records the results."""

    def __init__(
        self, executor: Executor, publish: Callable[[Iterable[Message]], None], on_unfinished: OnUnfinished | None
    ) -> None:
        self._executor = executor
        self._publish = publish
        self._on_unfinished = on_unfinished
        self._open: dict[Poll, float] = {}
        """Polls that are not recorded yet, with the monotonic time when they were requested."""
        self._requests: SimpleQueue[Poll | None] = SimpleQueue()
        self._results: SimpleQueue[_Result | None] = SimpleQueue()
        self._suspended_until: dict[str, float] = {}
        """The monotonic time until which an account's exports are not polled here."""
        self._thread_count = 0
        self._recorder = threading.Thread(target=self._record_loop, name="reelq looks", daemon=True)

    @property
    def under_way(self) -> int:
        """How many polls are requested and not recorded yet."""
        return len(self._open)

    @property
    def has_room(self) -> bool:
        """Whether further polls may be requested."""
        return self.under_way < _MAX_OPEN

    def start(self) -> None:
        """Start the thread that records results."""
        self._recorder.start()

    def begin(self, polls: Iterable[Poll]) -> None:
        """Poll these exports, which are marked as published, as soon as a thread is free."""
        for poll in polls:
            if poll not in self._open:
                self._open[poll] = time.monotonic()
                self._requests.put(poll)
        while self._thread_count < min(len(self._open), _MAX_THREADS):
            threading.Thread(target=self._poll_loop, name=f"reelq look {self._thread_count}", daemon=True).start()
            self._thread_count += 1

    def stop(self, seconds: float) -> None:
        """Release polls that have not begun, and record those that end in time.

        The reservations of the others expire, and then their rows' messages are published.
        """
        until = time.monotonic() + seconds
        while self._open and time.monotonic() < until:
            with suppress(Empty):
                while poll := self._requests.get_nowait():
                    self._results.put(_Result(poll, _Action.GIVE_BACK))
            time.sleep(_COLLECT_SECONDS_URGENT)
        for _ in range(self._thread_count):
            self._requests.put(None)
        self._results.put(None)
        self._recorder.join(max(until - time.monotonic(), 0))

    def _poll_loop(self) -> None:
        while (poll := self._requests.get()) is not None:
            self._results.put(self._poll(poll))

    def _poll(self, poll: Poll) -> _Result:
        if self._executor.held_jobs.stopping.is_set():
            return _Result(poll, _Action.GIVE_BACK)
        began = time.monotonic()
        if began - self._open.get(poll, began) > _TOO_LATE:
            return _Result(poll, _Action.TOO_LATE)
        is_suspended = began < self._suspended_until.get(poll.account_id, 0.0)
        if is_suspended or poll.looks >= self._executor.settings.reelq_poll_limit:
            return _Result(poll, _Action.RUN_STAGE)
        try:
            progress = self._executor.remote(poll.account_id, poll.skill).progress(poll.render_id)
        except RenderUnknown:
            return _Result(poll, _Action.RUN_STAGE)
        except Exception as error:
            if isinstance(error, ReelqError) or is_unavailable(error):
                log.info("A poll of %s failed: %s", poll.message.job_id, error)
            else:
                log.exception("A poll of %s failed", poll.message.job_id)
            self._suspended_until[poll.account_id] = time.monotonic() + _SUSPEND_SECONDS
            is_refusal = isinstance(error, ReelqError) and not isinstance(error, PassingFault)
            return _Result(poll, _Action.RUN_STAGE if is_refusal else _Action.RUN_STAGE_LATER)
        if progress.status in {RenderStatus.DONE, RenderStatus.FAILED}:
            return _Result(poll, _Action.RUN_STAGE, url=progress.url if progress.status is RenderStatus.DONE else "")
        return _Result(poll, _Action.POLL_AGAIN, text=unfinished(progress), seconds=time.monotonic() - began)

    def _record_loop(self) -> None:
        while (first := self._results.get()) is not None:
            results = self._collect(first)
            try:
                self._handle_results(results)
            except Exception:
                log.exception("Could not record polls. The rows' stages will run.")
            for result in results:
                self._open.pop(result.poll, None)

    def _collect(self, first: _Result) -> list[_Result]:
        """Return this result with the others that arrive within a moment."""
        results: list[_Result] = []
        next_result: _Result | None = first
        until = first.ended_at + _COLLECT_SECONDS
        while next_result is not None:
            results.append(next_result)
            if next_result.action is not _Action.POLL_AGAIN:
                until = min(until, next_result.ended_at + _COLLECT_SECONDS_URGENT)
            if len(results) == _MAX_COLLECTED:
                return results
            try:
                next_result = self._results.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                return results
        self._results.put(None)  # for `_record_loop`, which ends by it
        return results

    def _handle_results(self, results: Collection[_Result]) -> None:
        locked, again_at = self._record_with_retries(results)
        unmoved = [result for result in results if result.poll in locked]
        self._publish(result.poll.message for result in unmoved if result.action is _Action.RUN_STAGE)
        for result in unmoved:
            if result.action is _Action.POLL_AGAIN:
                self._executor.metrics.record_stage(Stage.POLL, StageResult.NOT_YET, result.seconds)
                if self._on_unfinished:
                    message = f"{result.text}; checking again at {again_at:%H:%M:%S} UTC"
                    self._on_unfinished(result.poll.message, message)

    def _record_with_retries(self, results: Collection[_Result]) -> tuple[LockedPolls, datetime]:
        """Record the results. Return the polls whose rows have not moved, and when unfinished exports are due again."""
        while True:
            try:
                with self._executor.store.write() as session:
                    return self._record(session, results)
            except Exception as error:
                # Soon the reservations expire and the rows' messages are published. Then the results are useless.
                late = time.monotonic() - min(result.ended_at for result in results) > _TOO_LATE
                if not is_unavailable(error) or late or self._executor.held_jobs.stopping.is_set():
                    raise
                warn_unavailable(log, "database", "Poll results will be recorded later.")
            time.sleep(_DATABASE_RETRY_SECONDS)

    def _record(self, session: Transaction, results: Collection[_Result]) -> tuple[LockedPolls, datetime]:
        # Count the interval from the latest of these polls, so that none is repeated too soon.
        since = time.monotonic() - max(result.ended_at for result in results)
        now = self._executor.store.now(session)
        again_at = now + timedelta(seconds=self._executor.settings.reelq_poll_interval - since)
        locked = polling.lock_unmoved(session, [result.poll for result in results])
        by_action = {
            action: [result for result in results if result.action is action and result.poll in locked]
            for action in _Action
        }
        if running := by_action[_Action.POLL_AGAIN]:
            polling.schedule_next(session, now, again_at, locked, {result.poll: result.text for result in running})
        if released := by_action[_Action.GIVE_BACK]:
            polling.give_back(session, now, [result.poll for result in released])
        if failed := by_action[_Action.RUN_STAGE_LATER]:
            polling.dispatch_later(session, again_at, [result.poll for result in failed])
        if others := by_action[_Action.RUN_STAGE]:
            polling.dispatch_to_stage(session, now, {result.poll: result.url for result in others})
        return locked, again_at
