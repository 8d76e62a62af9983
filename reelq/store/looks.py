"""What was seen of exports that are waited for, written down for many rows at once; the rows stay where they are."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, insert, select, update

from reelq.job import Stage, Status
from reelq.store import statements
from reelq.store.due import Look
from reelq.store.models import Job, JobEvent
from reelq.store.session import Transaction

Held = Mapping[Look, str]
"""Looks whose rows still wait as they did, and will until this is committed; with each the row's batch."""

_THESE: Final = Job.id.in_(bindparam("ids", expanding=True))
_THERE: Final = (
    select(Job.id, Job.run, Job.looks, Job.remote_render_id, Job.batch_id)
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
_DUE: Final = update(Job).where(_THESE).values(due_at=bindparam("now"))
_BACK: Final = update(Job).where(_THESE).values(due_at=bindparam("now"), publish_at=bindparam("now"), publishes=0)
_TELL: Final = insert(JobEvent)


def hold(session: Transaction, looks: Collection[Look]) -> Held:
    """Those whose rows nobody has moved since. In one order, or two who do this could wait for each other."""
    by_row = {(look.message.job_id, look.message.run, look.looks, look.render_id): look for look in looks}
    ids = [look.message.job_id for look in looks]
    found = session.connection().execute(_THERE, {"ids": ids}).all()
    return {by_row[row[:-1]]: row.batch_id for row in found if row[:-1] in by_row}


def not_done(session: Transaction, now: datetime, due_at: datetime, held: Held, words: Mapping[Look, str]) -> None:
    """They are to be looked at again then, and what is said of each is told."""
    events = [
        {
            "job_id": look.message.job_id, "batch_id": held[look], "at": now, "what": "again", "run": look.message.run,
            "stage": Stage.POLL, "before": Status.QUEUED, "after": Status.QUEUED, "words": said,
        }
        for look, said in words.items()
    ]  # fmt: skip
    session.connection().execute(_AGAIN, {"ids": [event["job_id"] for event in events], "due": due_at})
    session.connection().execute(_TELL, events)


def for_its_stage(session: Transaction, now: datetime, urls: Mapping[Look, str]) -> None:
    """Their stages are due, whose messages go out; with each the address of its export, where that is done."""
    session.connection().execute(_DUE, {"ids": [look.message.job_id for look in urls], "now": now})
    for look, url in urls.items():
        if url:
            statements.change(session, Job, {"id": look.message.job_id}, {"result_url": url})


def put_back(session: Transaction, now: datetime, looks: Collection[Look]) -> None:
    """They were not looked at: others may do so at once."""
    session.connection().execute(_BACK, {"ids": [look.message.job_id for look in looks], "now": now})
