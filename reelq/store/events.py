"""What happened to a job, in words for people: written with what it tells of, in one transaction."""

from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import FromClause, Insert, Table, bindparam, insert, select

from reelq.job import Stage
from reelq.store.models import Job, JobEvent
from reelq.store.session import Transaction

_WORDS: Final = ("at", "what", "run", "stage", "before", "after", "words")
_TABLE: Final = cast("Table", JobEvent.__table__)


def telling(of: FromClause) -> Insert:
    """The statement that tells of each job in `of`, which has their ids and batches; what it tells are its `event`.

    The batch is not as the teller knows it: a manifest handed in again may have taken the job along into another.
    """
    told = (bindparam(f"event_{name}", type_=_TABLE.c[name].type) for name in _WORDS)
    names = ["job_id", "batch_id", *_WORDS]
    return insert(_TABLE).from_select(names, select(of.c.id, of.c.batch_id, *told), include_defaults=False)


def event(at: datetime, what: str, run: int, stage: Stage, before: str, after: str, words: str) -> dict[str, Any]:
    """What is told, as `telling` takes it."""
    told = (at, what, run, stage, before, after, words)
    return {f"event_{name}": value for name, value in zip(_WORDS, told, strict=True)}


_OF_ONE: Final = telling(select(Job.id, Job.batch_id).where(Job.id == bindparam("told_of")).subquery())


def tell(session: Transaction, job_id: str, told: dict[str, Any]) -> None:
    """Write one event of one job."""
    session.connection().execute(_OF_ONE, {"told_of": job_id, **told})
