"""Polls exports, many at a time and without Celery tasks, since most polls change nothing.

Only "not done yet" is recorded here. For any other answer the row's message is published and its stage deals with it,
under a lease and with the usual events; if the export is done, the stage finds the URL already recorded. If the service
does not answer, the row goes to its stage too, which handles errors, and for a while the account's other rows go there
without a poll.
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

from reelq.errors import ReelqError, RenderUnknown
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
TOO_LATE: Final = POLL_SECONDS - 5.0
"""Seconds after which a reserved poll is no longer made, and recording its result no longer retried."""
_DATABASE_RETRY_SECONDS: Final = 0.5
AILS_FOR: Final = 5.0
"""Seconds without polls for an account after one of them failed."""
OnUnfinished = Callable[[Message, str], None]
"""Called for each poll that found an export unfinished, with the row's message and a text."""


def ignore(_message: Message, _text: str) -> None:
    """Ignore the poll. The default for `OnUnfinished`."""


class _Action(Enum):
    """What follows from a poll."""

    AGAIN = "the export is not done: poll it again later"
    ITS_STAGE = "publish the row's message; if the export is done, its URL is recorded for the stage"
    ITS_STAGE_LATER = "the poll failed, perhaps after the service had answered it: its stage polls after an interval"
    PUT_BACK = "not polled, because this process is stopping: release the reservation"
    TOO_LATE = "not polled, because the reservation is about to expire and the row's message will be published"


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of a poll. `ended_at` is the monotonic time when it ended."""

    look: Poll
    action: _Action
    text: str = ""
    url: str = ""
    seconds: float = 0.0
    ended_at: float = field(default_factory=time.monotonic)


class RenderPoller:
    """Threads that poll exports, and one thread that records the results."""

    def __init__(
        self,
        executor: Executor,
        publish: Callable[[Iterable[Message]], None],
        tell: OnUnfinished,
        *,
        too_late: float = TOO_LATE,
        ails_for: float = AILS_FOR,
    ) -> None:
        self._executor = executor
        self._publish = publish
        self._tell = tell
        self._too_late = too_late
        self._suspend_seconds = ails_for
        self._open: dict[Poll, float] = {}
        """Polls that are not recorded yet, with the monotonic time when they were requested."""
        self._requests: SimpleQueue[Poll | None] = SimpleQueue()
        self._results: SimpleQueue[_Result | None] = SimpleQueue()
        self._suspended_until: dict[str, float] = {}
        self._thread_count = 0
        self._writer = threading.Thread(target=self._record_loop, name="reelq looks", daemon=True)

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
        self._writer.start()

    def begin(self, looks: Iterable[Poll]) -> None:
        """Queue these polls, and start threads for them if needed."""
        for look in looks:
            if look not in self._open:
                self._open[look] = time.monotonic()
                self._requests.put(look)
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
                while look := self._requests.get_nowait():
                    self._results.put(_Result(look, _Action.PUT_BACK))
            time.sleep(_COLLECT_SECONDS_URGENT)
        for _ in range(self._thread_count):
            self._requests.put(None)
        self._results.put(None)
        self._writer.join(max(until - time.monotonic(), 0))

    def _poll_loop(self) -> None:
        while (look := self._requests.get()) is not None:
            self._results.put(self._poll(look))

    def _poll(self, look: Poll) -> _Result:
        if self._executor.hands.stopping.is_set():
            return _Result(look, _Action.PUT_BACK)
        began = time.monotonic()
        if began - self._open.get(look, began) > self._too_late:
            return _Result(look, _Action.TOO_LATE)
        if look.looks >= self._executor.settings.reelq_poll_limit or began < self._suspended_until.get(
            look.account_id, 0.0
        ):
            return _Result(look, _Action.ITS_STAGE)
        try:
            progress = self._executor.remote(look.account_id, look.skill).progress(look.render_id)
        except RenderUnknown:
            return _Result(look, _Action.ITS_STAGE)
        except Exception as error:
            if not isinstance(error, ReelqError) and not is_unavailable(error):
                log.exception("A poll failed. The row's stage will poll again.")
            log.info("%s: a poll failed: %s", look.message.job_id, error)
            self._suspended_until[look.account_id] = time.monotonic() + self._suspend_seconds
            return _Result(look, _Action.ITS_STAGE_LATER)
        if progress.status in {RenderStatus.DONE, RenderStatus.FAILED}:
            return _Result(look, _Action.ITS_STAGE, url=progress.url if progress.status is RenderStatus.DONE else "")
        return _Result(look, _Action.AGAIN, text=unfinished(progress), seconds=time.monotonic() - began)

    def _record_loop(self) -> None:
        while (first := self._results.get()) is not None:
            results = self._collect(first)
            try:
                self._handle_results(results)
            except Exception:
                log.exception("Could not record polls. The rows' stages will run.")
            for result in results:
                self._open.pop(result.look, None)

    def _collect(self, first: _Result) -> list[_Result]:
        """Return this result with the others that arrive within a moment."""
        results, until = (
            [first],
            first.ended_at + (_COLLECT_SECONDS if first.action is _Action.AGAIN else _COLLECT_SECONDS_URGENT),
        )
        while len(results) < _MAX_COLLECTED:
            try:
                result = self._results.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                break
            if result is None:
                self._results.put(None)
                break
            results.append(result)
            if result.action is not _Action.AGAIN:
                until = min(until, result.ended_at + _COLLECT_SECONDS_URGENT)
        return results

    def _handle_results(self, results: Collection[_Result]) -> None:
        held, again_at = self._record_with_retries(results)
        self._publish(
            result.look.message for result in results if result.action is _Action.ITS_STAGE and result.look in held
        )
        for result in results:
            if result.action is _Action.AGAIN and result.look in held:
                self._executor.metrics.told_of(Stage.POLL, StageResult.NOT_YET, result.seconds)
                self._tell(result.look.message, f"{result.text}; checking again at {again_at:%H:%M:%S} UTC")

    def _record_with_retries(self, results: Collection[_Result]) -> tuple[LockedPolls, datetime]:
        """Record the results. Return the polls whose rows have not moved, and when unfinished exports are due again."""
        while True:
            try:
                with self._executor.store.write() as session:
                    return self._record(session, results)
            except Exception as error:
                # Soon the reservations expire and the rows' messages are published. Then the results are useless.
                late = time.monotonic() - min(result.ended_at for result in results) > self._too_late
                if not is_unavailable(error) or late or self._executor.hands.stopping.is_set():
                    raise
                warn_unavailable(log, "database", "Poll results will be recorded later.")
            time.sleep(_DATABASE_RETRY_SECONDS)

    def _record(self, session: Transaction, results: Collection[_Result]) -> tuple[LockedPolls, datetime]:
        # Count the interval from the latest of these polls, so that none is repeated too soon.
        since = time.monotonic() - max(result.ended_at for result in results)
        now = self._executor.store.now(session)
        again_at = now + timedelta(seconds=self._executor.settings.reelq_poll_interval - since)
        held = polling.lock_unmoved(session, [result.look for result in results])
        if texts := {
            result.look: result.text for result in results if result.action is _Action.AGAIN and result.look in held
        }:
            polling.schedule_next(session, now, again_at, held, texts)
        if released := [result.look for result in results if result.action is _Action.PUT_BACK and result.look in held]:
            polling.give_back(session, now, released)
        if failed := [
            result.look for result in results if result.action is _Action.ITS_STAGE_LATER and result.look in held
        ]:
            polling.dispatch_later(session, again_at, failed)
        if urls := {
            result.look: result.url for result in results if result.action is _Action.ITS_STAGE and result.look in held
        }:
            polling.dispatch_to_stage(session, now, urls)
        return held, again_at
