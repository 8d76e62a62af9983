"""What was seen of exports that are waited for, written down for many rows at once; the rows stay where they are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, insert, select, update

from reelq.job import Stage, Status
from reelq.store import statements
from reelq.store.due import Look
from reelq.store.models import Job, JobEvent
from reelq.store.session import Transaction

_THESE: Final = Job.id.in_(bindparam("ids", expanding=True))
# Held in one order, or two who do this at once could wait for each other.
_THERE: Final = (
    select(Job.id, Job.batch_id, Job.run, Job.looks)
    .where(_THESE, Job.status == Status.QUEUED, Job.stage == Stage.POLL)
    .order_by(Job.id)
    .with_for_update()
)
_AGAIN: Final = (
    update(Job)
    .where(_THESE)
    .values(
        due_at=bindparam("due"), publish_at=bindparam("due"), publishes=0, looks=Job.looks + 1, attempts=0, lapses=0
    )
)
_TELL: Final = insert(JobEvent)


def not_done(session: Transaction, now: datetime, due_at: datetime, seen: Mapping[Look, str]) -> None:
    """They are to be looked at again then, and what is said of each is told."""
    by_id = {look.message.job_id: look for look in seen}
    connection = session.connection()
    events = [
        {
            "job_id": job_id, "batch_id": batch_id, "at": now, "what": "again", "run": run, "stage": Stage.POLL,
            "before": Status.QUEUED, "after": Status.QUEUED, "words": seen[by_id[job_id]],
        }
        for job_id, batch_id, run, looks in connection.execute(_THERE, {"ids": list(by_id)})
        if (run, looks) == (by_id[job_id].message.run, by_id[job_id].looks)
    ]  # fmt: skip
    if events:
        connection.execute(_AGAIN, {"ids": [event["job_id"] for event in events], "due": due_at})
        connection.execute(_TELL, events)


def done(session: Transaction, look: Look, url: str) -> bool:
    """Where the finished export lies, for its stage to record; whether the row still waits for it."""
    there = {"id": look.message.job_id, "run": look.message.run, "stage": Stage.POLL, "status": Status.QUEUED}
    return statements.change(session, Job, there | {"looks": look.looks}, {"result_url": url}) == 1
