"""The events of a batch or a row, each delivered once, and whether there will be more.

An event gets its number when it is written and becomes visible when its transaction commits, on PostgreSQL in any
order. So each event carries the number of its transaction, and a reader's mark holds how far it has read and which
earlier transactions had not ended then. Their events are delivered once they are visible.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, literal, or_, select, tuple_

from reelq.job import FINAL, USER_CAUSES, Stage, Status
from reelq.store.db.engine import Transaction
from reelq.store.db.models import Batch, BatchState, Job, JobEvent
from reelq.store.queries.batch_status import twins_move

_PAGE_SIZE: Final = 1000
_MAX_ID: Final = 2**63 - 1
_MAX_LATE: Final = 100
_MARK_TEXT: Final = re.compile(r"(\d{1,19})-(\d{1,19})((?:\.\d{1,19}-\d{1,19})*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class RowEvent:
    """An event in the history of a row."""

    id: int
    at: datetime
    job: str
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
class Cursor:
    """A position in the events: everything up to here has been delivered, except the events of `late`."""

    tx: int = 0
    id: int = 0
    late: Mapping[int, int] = field(default_factory=dict)
    """Earlier transactions that had not ended yet or whose events are partly delivered: the last event of each."""

    def __str__(self) -> str:
        """The mark as a client receives it and sends it back."""
        if len(self.late) > _MAX_LATE:  # must fit into a header: some events are delivered twice instead
            return str(Cursor(min(self.late) - 1, _MAX_ID))
        return ".".join(f"{tx}-{last}" for tx, last in ((self.tx, self.id), *self.late.items()))

    @classmethod
    def parse(cls, written: str) -> "Cursor | None":
        """Parse what `str` returns; None if the text is not a mark."""
        match = _MARK_TEXT.fullmatch(written)
        if not match:
            return None
        late = (pair.split("-") for pair in match[3].split(".")[1:])
        mark = cls(int(match[1]), int(match[2]), {int(tx): int(last) for tx, last in late})
        numbers = (mark.tx, mark.id, *mark.late, *mark.late.values())
        return mark if max(numbers) <= _MAX_ID and len(mark.late) <= _MAX_LATE else None


START: Final = Cursor()


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, oldest first, and where to continue; `more` if further events may be available already."""

    events: Sequence[RowEvent]
    marks: Sequence[Cursor]
    """For each event, the mark of a reader who has read up to it."""
    mark: Cursor
    more: bool


def newest_event(session: Transaction, batch_id: str) -> Cursor:
    """The mark of this moment: all events that become visible later come after it."""
    if not _is_postgres(session):  # SQLite has one writer, so commits are in order
        last = select(JobEvent.id).where(JobEvent.batch_id == batch_id).order_by(JobEvent.tx.desc(), JobEvent.id.desc())
        return Cursor(0, session.execute(last.limit(1)).scalar_one_or_none() or 0)
    next_one, running = _parse_snapshot(session.execute(select(_SNAPSHOT)).scalar_one())
    return Cursor(next_one - 1, _MAX_ID, dict.fromkeys(running, 0))


def events_after(session: Transaction, batch_id: str, mark: Cursor, most: int = _PAGE_SIZE) -> EventPage:
    """The batch's events after the mark, at most `most` of them."""
    return _news(session, JobEvent.batch_id == batch_id, mark, most)


def row_events_after(session: Transaction, job_id: str, mark: Cursor, most: int = _PAGE_SIZE) -> EventPage:
    """The row's events after the mark, whichever batch the row is in by now."""
    return _news(session, JobEvent.job_id == job_id, mark, most)


def _news(session: Transaction, which: ColumnElement[bool], mark: Cursor, most: int) -> EventPage:
    # In the same statement as the events, since each statement has its own snapshot. A subquery is computed once only.
    snapshot = select(_SNAPSHOT).scalar_subquery() if _is_postgres(session) else literal("")
    query = events_query().add_columns(JobEvent.tx, snapshot).where(which, _is_after(mark))
    rows: Any = session.execute(query.order_by(JobEvent.tx, JobEvent.id).limit(most)).all()
    full = len(rows) == most
    running = _parse_snapshot(rows[-1][-1])[1] if rows and rows[-1][-1] else []
    marks = [_mark_after(mark, row, running, to_the_end=row is rows[-1] and not full) for row in rows]
    return EventPage([RowEvent(*row[:-2]) for row in rows], marks, marks[-1] if marks else mark, more=full)


def events_query() -> Select[*tuple[Any, ...]]:
    """Selects events with their rows."""
    of_row = (Job.id, Job.row, Job.name, Job.file, Job.instruction)
    of_event = (JobEvent.what, JobEvent.stage, JobEvent.before, JobEvent.after, JobEvent.words)
    return select(JobEvent.id, JobEvent.at, *of_row, *of_event).join(Job, Job.id == JobEvent.job_id)


_SNAPSHOT: Final = cast(func.pg_current_snapshot(), Text)
"""`xmin:xmax:running,…`: `xmax` is the next transaction's number; the running ones below it follow."""


def _is_postgres(session: Transaction) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _parse_snapshot(snapshot: str) -> tuple[int, list[int]]:
    _, next_one, running = snapshot.split(":")
    return int(next_one), [int(tx) for tx in running.split(",") if tx]


def _is_after(mark: Cursor) -> ColumnElement[bool]:
    ahead = tuple_(JobEvent.tx, JobEvent.id) > tuple_(literal(mark.tx), literal(mark.id))
    return or_(ahead, *(and_(JobEvent.tx == tx, JobEvent.id > last) for tx, last in mark.late.items()))


def _mark_after(mark: Cursor, row: Any, running: Sequence[int], *, to_the_end: bool) -> Cursor:
    """The mark after an event. If more events may follow, it keeps the late transactions that come after this one."""
    position = (row.tx, row.id)
    tx, last = max(position, (mark.tx, mark.id))
    late = dict.fromkeys((other for other in running if other < tx), 0)
    if not to_the_end:
        late |= {other: delivered for other, delivered in mark.late.items() if other > row.tx}
        late |= {row.tx: row.id} if position < (tx, last) else {}
    return Cursor(tx, last, late)


def is_moving(session: Transaction, batch_id: str) -> bool:
    """Whether something in the batch is in motion, or will be by itself: `not at_rest` without a whole snapshot."""
    batch = session.execute(select(Batch.state, Batch.released).where(Batch.id == batch_id)).one_or_none()
    if batch is None:
        return False
    can_move: ColumnElement[bool] = Job.status == Status.RUNNING
    if batch.state is BatchState.ACTIVE:
        released = () if batch.released is None else (or_(Job.admitted, Job.row <= batch.released),)
        can_move = or_(can_move, and_(Job.status == Status.QUEUED, *released))
    moving = select(Job.id).where(Job.batch_id == batch_id, can_move).limit(1)
    return session.execute(moving).first() is not None or twins_move(session, batch_id)


def row_is_moving(session: Transaction, job_id: str) -> bool:
    """The same for one row. A row that waits for another row goes on as long as anything in its batch does."""
    query = select(Job.status, Job.cause, Job.admitted, Job.row, Job.batch_id).where(Job.id == job_id)
    job = session.execute(query).one_or_none()
    if job is None or job.status in FINAL or job.cause in USER_CAUSES:
        return False
    if job.status is Status.WAITING:
        return is_moving(session, job.batch_id)
    batch = session.execute(select(Batch.state, Batch.released).where(Batch.id == job.batch_id)).one()
    held = batch.released is not None and not job.admitted and job.row > batch.released
    return job.status is Status.RUNNING or (batch.state is BatchState.ACTIVE and not held)


def has_ended(session: Transaction, batch_id: str, job_id: str = "") -> bool:
    """Whether all rows of the batch have ended, or only the one named by `job_id`."""
    which = Job.id == job_id if job_id else Job.batch_id == batch_id
    return session.execute(select(Job.id).where(which, Job.status.not_in(FINAL)).limit(1)).first() is None
