"""Looks at the exports that are waited for, many at a time and past Celery: a look that changes nothing needs no task.

What a look finds but "not done" is not dealt with here. The row's message goes out, and its stage does, under a lease
and with all that is told of it: for an export that is done it has the address already. A look that finds out nothing,
as the service does not answer, sends the row to its stage as well, which judges errors; for a while others are not even
tried.
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
from reelq.remote.receipts import RenderStatus
from reelq.store import looks
from reelq.store.due import LOOK_SECONDS, Look, Message
from reelq.store.looks import Held
from reelq.store.session import Transaction, is_away
from worker.ending import Came
from worker.pipeline import Pipeline
from worker.stages.poll import unfinished

log = logging.getLogger(__name__)

_AT_ONCE: Final = 32
_MOST_OPEN: Final = 500
_GATHERED: Final = 0.1
"""Seconds until what was seen is written down, with what else is seen meanwhile."""
_SHORTLY: Final = 0.02
"""The same, where a row goes on with it."""
_MOST_GATHERED: Final = 200
TOO_LATE: Final = LOOK_SECONDS - 5.0
"""Seconds after which a look is not begun any more, nor tried again to be written down."""
_AWAY_WAIT: Final = 0.5
AILS_FOR: Final = 5.0
"""Seconds without such looks for an account, after one that found out nothing."""

Tell = Callable[[Message, str], None]
"""Whoever watches hears of a look that found an export unfinished."""


def nobody(_message: Message, _words: str) -> None:
    """Watches."""


class _Way(Enum):
    """What follows from a look."""

    AGAIN = "it is not done: another look follows"
    ITS_STAGE = "the row's message goes out; its stage has the address where it is done"
    PUT_BACK = "it was not made, as this process is told to stop"
    TOO_LATE = "it was not made, as the row's message soon goes out"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of a look that ended at this moment of the machine's clock."""

    look: Look
    way: _Way
    words: str = ""
    url: str = ""
    took: float = 0.0
    at: float = field(default_factory=time.monotonic)


class Looks:
    """A few threads that look, and one that writes down what was seen."""

    def __init__(
        self,
        pipeline: Pipeline,
        publish: Callable[[Iterable[Message]], None],
        tell: Tell,
        *,
        too_late: float = TOO_LATE,
        ails_for: float = AILS_FOR,
    ) -> None:
        self._pipeline = pipeline
        self._publish = publish
        self._tell = tell
        self._too_late = too_late
        self._ails_for = ails_for
        self._open: dict[Look, float] = {}
        """What is asked for and not written down yet, with the moment."""
        self._asked: SimpleQueue[Look | None] = SimpleQueue()
        self._seen: SimpleQueue[_Seen | None] = SimpleQueue()
        self._ails_until: dict[str, float] = {}
        self._lookers = 0
        self._writer = threading.Thread(target=self._write_down, name="reelq looks", daemon=True)

    @property
    def under_way(self) -> int:
        """How many are asked for and not written down yet."""
        return len(self._open)

    @property
    def has_room(self) -> bool:
        """Whether more may be begun."""
        return self.under_way < _MOST_OPEN

    def start(self) -> None:
        """Begin to write down."""
        self._writer.start()

    def begin(self, looks: Iterable[Look]) -> None:
        """Look at them soon."""
        for look in looks:
            if look not in self._open:
                self._open[look] = time.monotonic()
                self._asked.put(look)
        while self._lookers < min(len(self._open), _AT_ONCE):
            threading.Thread(target=self._look_on, name=f"reelq look {self._lookers}", daemon=True).start()
            self._lookers += 1

    def stop(self, seconds: float) -> None:
        """Put back what is not begun, and write down what is seen by then; the rest comes to its stage in time."""
        until = time.monotonic() + seconds
        while self._open and time.monotonic() < until:
            with suppress(Empty):
                while look := self._asked.get_nowait():
                    self._seen.put(_Seen(look, _Way.PUT_BACK))
            time.sleep(_SHORTLY)
        for _ in range(self._lookers):
            self._asked.put(None)
        self._seen.put(None)
        self._writer.join(max(until - time.monotonic(), 0))

    def _look_on(self) -> None:
        while (look := self._asked.get()) is not None:
            self._seen.put(self._look(look))

    def _look(self, look: Look) -> _Seen:
        if self._pipeline.hands.stopping.is_set():
            return _Seen(look, _Way.PUT_BACK)
        began = time.monotonic()
        if began - self._open.get(look, began) > self._too_late:
            return _Seen(look, _Way.TOO_LATE)
        if look.looks >= self._pipeline.settings.reelq_poll_limit or began < self._ails_until.get(look.account_id, 0.0):
            return _Seen(look, _Way.ITS_STAGE)
        try:
            seen = self._pipeline.remote(look.account_id, look.skill).progress(look.render_id)
        except RenderUnknown:
            return _Seen(look, _Way.ITS_STAGE)
        except Exception as error:
            if not isinstance(error, ReelqError) and not is_away(error):
                log.exception("a look failed; its row's stage looks again")
            self._ails_until[look.account_id] = time.monotonic() + self._ails_for
            return _Seen(look, _Way.ITS_STAGE)
        if seen.status in {RenderStatus.DONE, RenderStatus.FAILED}:
            return _Seen(look, _Way.ITS_STAGE, url=seen.url if seen.status is RenderStatus.DONE else "")
        return _Seen(look, _Way.AGAIN, words=unfinished(seen), took=time.monotonic() - began)

    def _write_down(self) -> None:
        while (first := self._seen.get()) is not None:
            seen = self._gathered(first)
            try:
                self._settle(seen)
            except Exception:
                log.exception("looks could not be written down; their rows come to their stage")
            for one in seen:
                self._open.pop(one.look, None)

    def _gathered(self, first: _Seen) -> list[_Seen]:
        """It, with what else is seen within a moment."""
        all_, until = [first], first.at + (_GATHERED if first.way is _Way.AGAIN else _SHORTLY)
        while len(all_) < _MOST_GATHERED:
            try:
                one = self._seen.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                break
            if one is None:
                self._seen.put(None)
                break
            all_.append(one)
            if one.way is not _Way.AGAIN:
                until = min(until, one.at + _SHORTLY)
        return all_

    def _settle(self, seen: Collection[_Seen]) -> None:
        held, again_at = self._written(seen)
        self._publish(one.look.message for one in seen if one.way is _Way.ITS_STAGE and one.look in held)
        for one in seen:
            if one.way is _Way.AGAIN and one.look in held:
                self._pipeline.metrics.told_of(Stage.POLL, Came.NOT_YET, one.took)
                self._tell(one.look.message, f"{one.words}; again at {again_at:%H:%M:%S} UTC")

    def _written(self, seen: Collection[_Seen]) -> tuple[Held, datetime]:
        """Which rows still waited, and when those that are not done are looked at again."""
        while True:
            try:
                with self._pipeline.store.write() as session:
                    return self._write(session, seen)
            except Exception as error:
                # Soon the rows' messages go out: then it is of no more use.
                late = time.monotonic() - min(one.at for one in seen) > self._too_late
                if not is_away(error) or late or self._pipeline.hands.stopping.is_set():
                    raise
                log.warning("the database is away: what was seen is written down later", extra={"away": "database"})
            time.sleep(_AWAY_WAIT)

    def _write(self, session: Transaction, seen: Collection[_Seen]) -> tuple[Held, datetime]:
        # From the last of these looks on, so that none of them is looked at again too soon.
        since = time.monotonic() - max(one.at for one in seen)
        now = self._pipeline.store.now(session)
        again_at = now + timedelta(seconds=self._pipeline.settings.reelq_poll_interval - since)
        held = looks.hold(session, [one.look for one in seen])
        if words := {one.look: one.words for one in seen if one.way is _Way.AGAIN and one.look in held}:
            looks.not_done(session, now, again_at, held, words)
        if back := [one.look for one in seen if one.way is _Way.PUT_BACK and one.look in held]:
            looks.put_back(session, now, back)
        if urls := {one.look: one.url for one in seen if one.way is _Way.ITS_STAGE and one.look in held}:
            looks.for_its_stage(session, now, urls)
        return held, again_at
