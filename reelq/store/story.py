"""What happened: the events of a batch or a row as they come to light, and all that is known of one row.

Events are numbered as they are written and seen when their transaction is committed, on PostgreSQL in any order. So
each bears its transaction, and a reader's mark says how far it has read and which transactions below that had not
ended: what those bring is told when it comes, once, wherever the reader was meanwhile.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, literal, or_, select, tuple_

from reelq.job import Stage
from reelq.store.models import Batch, Job, JobEvent, Send
from reelq.store.session import Transaction

_AT_ONCE: Final = 1000
_LAST: Final = 2**63 - 1
_LATE_AT_MOST: Final = 100
_WRITTEN: Final = re.compile(r"(\d{1,19})-(\d{1,19})((?:\.\d{1,19}-\d{1,19})*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Told:
    """One event, and which row it is of."""

    id: int
    at: datetime
    job_id: str
    row: int
    name: str
    file: str
    instruction: str
    what: str
    stage: Stage
    before: str
    after: str
    words: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a reader has read: everything up to here has been told, but for what is `late`."""

    tx: int = 0
    id: int = 0
    late: Mapping[int, int] = field(default_factory=dict)
    """Transactions up to here that had not ended yet, or are not told to their end: the last event told of each."""

    def __str__(self) -> str:
        """As it is handed to a client, who comes back with it."""
        if len(self.late) > _LATE_AT_MOST:  # a header has its bounds: then some is told twice
            return str(Mark(min(self.late) - 1, _LAST))
        return ".".join(f"{tx}-{last}" for tx, last in ((self.tx, self.id), *self.late.items()))

    @classmethod
    def parse(cls, written: str) -> "Mark | None":
        """The mark that was handed out so; None where this is none."""
        found = _WRITTEN.fullmatch(written)
        if not found:
            return None
        late = (one.split("-") for one in found[3].split(".")[1:])
        mark = cls(int(found[1]), int(found[2]), {int(tx): int(last) for tx, last in late})
        numbers = (mark.tx, mark.id, *mark.late, *mark.late.values())
        return mark if max(numbers) <= _LAST and len(mark.late) <= _LATE_AT_MOST else None


BEGINNING: Final = Mark()


@dataclass(frozen=True, slots=True)
class News:
    """Some events, the oldest first, and where to go on reading; `more` where there may be more at once."""

    told: Sequence[Told]
    marks: Sequence[Mark]
    """For each of them, how far somebody has read who has read up to it."""
    mark: Mark
    more: bool


@dataclass(frozen=True, slots=True)
class Story:
    """A row from its beginning to now."""

    job: Job
    batch: Batch
    events: tuple[JobEvent, ...]
    sends: tuple[Send, ...]
    before: Job | None
    """The row before it in its session."""
    same_as: Job | None
    """The same row of another batch, whose result it takes."""


def newest_event(session: Transaction, batch_id: str) -> Mark:
    """The mark of now: whatever comes to light after this moment is behind it."""
    if not _is_postgres(session):  # one writer, who commits in order
        last = select(JobEvent.id).where(JobEvent.batch_id == batch_id).order_by(JobEvent.tx.desc(), JobEvent.id.desc())
        return Mark(0, session.execute(last.limit(1)).scalar_one_or_none() or 0)
    next_one, running = _running(session.execute(select(_SNAPSHOT)).scalar_one())
    return Mark(next_one - 1, _LAST, dict.fromkeys(running, 0))


def told_since(session: Transaction, batch_id: str, mark: Mark, most: int = _AT_ONCE) -> News:
    """The batch's events behind the mark; where there are very many, the first of them."""
    return _news(session, JobEvent.batch_id == batch_id, mark, most)


def row_told_since(session: Transaction, job_id: str, mark: Mark, most: int = _AT_ONCE) -> News:
    """The row's events behind the mark, whichever batch it is in by now."""
    return _news(session, JobEvent.job_id == job_id, mark, most)


def _news(session: Transaction, whose: ColumnElement[bool], mark: Mark, most: int) -> News:
    # In one statement with the events, as each has a snapshot of its own; and once, not with each row.
    snapshot = select(_SNAPSHOT).scalar_subquery() if _is_postgres(session) else literal("")
    query = telling().add_columns(JobEvent.tx, snapshot).where(whose, _behind(mark))
    rows: Any = session.execute(query.order_by(JobEvent.tx, JobEvent.id).limit(most)).all()
    full = len(rows) == most
    running = _running(rows[-1][-1])[1] if rows and rows[-1][-1] else []
    marks = [_after(mark, row, running, to_the_end=row is rows[-1] and not full) for row in rows]
    return News([Told(*row[:-2]) for row in rows], marks, marks[-1] if marks else mark, more=full)


def telling() -> Select[*tuple[Any, ...]]:
    """Events with the rows that they are of."""
    of_row = (Job.id, Job.row, Job.name, Job.file, Job.instruction)
    of_event = (JobEvent.what, JobEvent.stage, JobEvent.before, JobEvent.after, JobEvent.words)
    return select(JobEvent.id, JobEvent.at, *of_row, *of_event).join(Job, Job.id == JobEvent.job_id)


_SNAPSHOT: Final = cast(func.pg_current_snapshot(), Text)
"""`xmin:xmax:running,…`: the next transaction's number, and which below it have not ended."""


def _is_postgres(session: Transaction) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _running(snapshot: str) -> tuple[int, list[int]]:
    _, next_one, running = snapshot.split(":")
    return int(next_one), [int(tx) for tx in running.split(",") if tx]


def _behind(mark: Mark) -> ColumnElement[bool]:
    ahead = tuple_(JobEvent.tx, JobEvent.id) > tuple_(literal(mark.tx), literal(mark.id))
    return or_(ahead, *(and_(JobEvent.tx == tx, JobEvent.id > last) for tx, last in mark.late.items()))


def _after(mark: Mark, row: Any, running: Sequence[int], *, to_the_end: bool) -> Mark:
    """The mark behind a row: beyond all that came late where this was all of it, else in the midst of that."""
    here = (row.tx, row.id)
    tx, last = max(here, (mark.tx, mark.id))
    late = dict.fromkeys((one for one in running if one < tx), 0)
    if not to_the_end:
        late |= {one: told for one, told in mark.late.items() if one > row.tx}
        late |= {row.tx: row.id} if here < (tx, last) else {}
    return Mark(tx, last, late)


def story(session: Transaction, job_id: str) -> Story:
    """Everything about a row."""
    job = session.get_one(Job, job_id)
    events = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)).all()
    sends = session.scalars(select(Send).where(Send.job_id == job_id).order_by(Send.number)).all()
    return Story(
        job=job,
        batch=session.get_one(Batch, job.batch_id),
        events=tuple(events),
        sends=tuple(sends),
        before=session.get(Job, job.after_id) if job.after_id else None,
        same_as=session.get(Job, job.same_as) if job.same_as and job.same_as != job.id else None,
    )
