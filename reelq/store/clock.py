"""The database's clock, which all workers share: asked now and then, and carried on by this machine's own between."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

KEPT_SECONDS: Final = 10.0
"""How long an answer is carried on before it is held against another: no clock drifts by a millisecond in that time."""
QUICK_SECONDS: Final = 0.003
"""An answer that took longer is good for once: how old it was when it came, nobody knows."""
SKEW: Final = timedelta(seconds=2 * QUICK_SECONDS)
"""How far two processes' readings can be apart, and a little more."""

_NOW: Final = select(func.clock_timestamp())


def ticks() -> float:
    """Seconds of this machine's steady clock, of one that goes on while the machine sleeps where there is such."""
    return time.clock_gettime(_STEADY) if _STEADY is not None else time.monotonic()


_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", None)


@dataclass(frozen=True, slots=True)
class _Answer:
    moment: datetime
    tick: float
    checked: float

    def at(self, tick: float) -> datetime:
        return self.moment + timedelta(seconds=tick - self.tick)


class Clock:
    """One process's reading of it. A round trip for each transaction's moment would be a tenth of a worker's time."""

    def __init__(self) -> None:
        self._answer: _Answer | None = None

    def now(self, session: Session) -> datetime:
        """The moment."""
        answer, before = self._answer, ticks()
        if answer and before - answer.checked < KEPT_SECONDS:
            return answer.at(before)
        moment: datetime = session.execute(_NOW).scalar_one().astimezone(UTC)
        after = ticks()
        if answer and answer.at(before) <= moment <= answer.at(after):
            # Not replaced by one that is no better: time would jump.
            self._answer = replace(answer, checked=after)
            return answer.at(after)
        quick = after - before <= QUICK_SECONDS
        self._answer = _Answer(moment, (before + after) / 2, after) if quick else None
        return moment
