"""Looks at the exports that are waited for, many at a time and past Celery: a look that changes nothing needs no task.

What a look finds but "not done" is not dealt with here. The row's message goes out, and its stage does, under a lease
and with all that is told of it: for an export that is done it has the address already. A look that finds out nothing,
as the service does not answer, sends the row to its stage as well, which judges errors; for a while others are not even
tried.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Final

from reelq.errors import ReelqError, RenderUnknown
from reelq.job import Stage
from reelq.remote.receipts import RenderStatus
from reelq.store import looks
from reelq.store.due import Look, Message, put_back
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
_AILS_FOR: Final = 5.0
"""Seconds without such looks for an account, after one that found out nothing."""

Tell = Callable[[Message, str], None]
"""Whoever watches hears of a look that found an export unfinished."""


def nobody(_message: Message, _words: str) -> None:
    """Watches."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of a look: words where it is not done, an address where it is; neither where its stage is to look."""

    look: Look
    words: str = ""
    url: str = ""
    put_back: bool = False
    """It was not looked at, as this process is told to stop."""
    began: float = field(default_factory=time.monotonic)
    at: float = field(default_factory=time.monotonic)


class Looks:
    """A few threads that look, and one that writes down what was seen."""

    def __init__(self, pipeline: Pipeline, publish: Callable[[Iterable[Message]], None], tell: Tell) -> None:
        self._pipeline = pipeline
        self._publish = publish
        self._tell = tell
        self._open: set[Look] = set()
        """What is asked for and not written down yet."""
        self._asked: SimpleQueue[Look] = SimpleQueue()
        self._seen: SimpleQueue[_Seen | None] = SimpleQueue()
        self._ails_until: dict[str, float] = {}
        self._lookers = 0
        self._writer = threading.Thread(target=self._write_down, name="reelq looks", daemon=True)

    @property
    def has_room(self) -> bool:
        """Whether more may be begun."""
        return len(self._open) < _MOST_OPEN

    def start(self) -> None:
        """Begin to write down."""
        self._writer.start()

    def begin(self, looks: Iterable[Look]) -> None:
        """Look at them soon."""
        for look in looks:
            self._open.add(look)
            self._asked.put(look)
        while self._lookers < min(self._asked.qsize(), _AT_ONCE):
            self._lookers += 1
            threading.Thread(target=self._look_on, name=f"reelq look {self._lookers}", daemon=True).start()

    def stop(self, seconds: float) -> None:
        """Put back what is not begun, and write down what is seen by then; the rest is looked at by others, in time."""
        until = time.monotonic() + seconds
        while self._open and time.monotonic() < until:
            with suppress(Empty):
                while True:
                    self._seen.put(_Seen(self._asked.get_nowait(), put_back=True))
            time.sleep(_SHORTLY)
        self._seen.put(None)
        self._writer.join(max(until - time.monotonic(), 0))

    def _look_on(self) -> None:
        while True:
            self._seen.put(self._look(self._asked.get()))

    def _look(self, look: Look) -> _Seen:
        if self._pipeline.hands.stopping.is_set():
            return _Seen(look, put_back=True)
        began, its_stage = time.monotonic(), _Seen(look)
        if look.looks >= self._pipeline.settings.reelq_poll_limit or self._ails(look):
            return its_stage
        try:
            seen = self._pipeline.remote(look.account_id, look.skill).progress(look.render_id)
        except RenderUnknown:
            return its_stage
        except Exception as error:
            if not isinstance(error, ReelqError) and not is_away(error):
                log.exception("a look failed; its row's stage looks again")
            self._ails_until[look.account_id] = time.monotonic() + _AILS_FOR
            return its_stage
        match seen.status:
            case RenderStatus.DONE:
                return _Seen(look, url=seen.url)
            case RenderStatus.FAILED:
                return its_stage
            case _:
                return _Seen(look, words=unfinished(seen), began=began)

    def _ails(self, look: Look) -> bool:
        return time.monotonic() < self._ails_until.get(look.account_id, 0.0)

    def _write_down(self) -> None:
        while (first := self._seen.get()) is not None:
            seen = self._gathered(first)
            self._settle(seen)
            self._open.difference_update(one.look for one in seen)

    def _gathered(self, first: _Seen) -> list[_Seen]:
        """It, with what else is seen within a moment."""
        all_, until = [first], first.at + (_GATHERED if first.words else _SHORTLY)
        while len(all_) < _MOST_GATHERED:
            try:
                one = self._seen.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                break
            if one is None:
                self._seen.put(None)
                break
            all_.append(one)
            if not one.words:
                until = min(until, one.at + _SHORTLY)
        return all_

    def _settle(self, seen: list[_Seen]) -> None:
        interval = self._pipeline.settings.reelq_poll_interval
        unfinished = {one.look: one.words for one in seen if one.words}
        try:
            with self._pipeline.store.write() as session:
                now = self._pipeline.store.now(session)
                # From the last of these looks on, so that none of them is looked at again too soon.
                again_at = now + timedelta(seconds=interval - time.monotonic() + max(one.at for one in seen))
                if unfinished:
                    looks.not_done(session, now, again_at, unfinished)
                if any(one.put_back for one in seen):
                    put_back(session, [one.look for one in seen if one.put_back])
                messages = [one.look.message for one in seen if self._is_for_its_stage(session, one)]
        except Exception as error:
            if is_away(error):
                log.warning("the database is away: what was seen is looked at again later", extra={"away": "database"})
            else:
                log.exception("looks could not be written down; the rows come to their stage")
            return
        self._publish(messages)
        for one in seen:
            if one.words:
                self._pipeline.metrics.told_of(Stage.POLL, Came.NOT_YET, one.at - one.began)
                self._tell(one.look.message, f"{one.words}; again at {again_at:%H:%M:%S} UTC")

    def _is_for_its_stage(self, session: Transaction, one: _Seen) -> bool:
        if one.words or one.put_back:
            return False
        return not one.url or looks.done(session, one.look, one.url)
