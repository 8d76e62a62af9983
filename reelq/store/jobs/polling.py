"""Records the results of polling exports, for many jobs at once."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update

from reelq.job import Stage, Status
from reelq.store.db.engine import Transaction
from reelq.store.db.models import Job
from reelq.store.db.statements import update_where
from reelq.store.jobs.scheduler import Poll
from reelq.store.jobs.transitions import write_events

LockedPolls = Mapping[Poll, str]
"""Polls whose jobs have not moved since they were marked, each with the job's batch. The jobs are locked."""
_BY_ID: Final = Job.id.in_(bindparam("ids", expanding=True))
_LOCK_POLLED: Final = (
    select(Job.id, Job.run, Job.looks, Job.remote_render_id, Job.batch_id)
    .where(_BY_ID, Job.status == Status.QUEUED, Job.stage == Stage.POLL)
    .order_by(Job.id)
    .with_for_update()
)
_SCHEDULE_NEXT_POLL: Final = (
    update(Job)
    .where(_BY_ID)
    .values(
        due_at=bindparam("due"), publish_at=bindparam("due"), publishes=0, looks=Job.looks + 1, attempts=0, lapses=0
    )
)
_MAKE_DUE: Final = update(Job).where(_BY_ID).values(due_at=bindparam("now"))
_MAKE_DUE_AND_PUBLISH: Final = (
    update(Job).where(_BY_ID).values(due_at=bindparam("now"), publish_at=bindparam("now"), publishes=0)
)
_MAKE_DUE_LATER: Final = update(Job).where(_BY_ID).values(due_at=bindparam("due"), publish_at=bindparam("due"))


def lock_unmoved(session: Transaction, polls: Collection[Poll]) -> LockedPolls:
    """Lock the jobs of these polls, and return the polls whose jobs have not moved since they were marked.

    Jobs are locked in the order of their ids, or two processes that do this could deadlock.
    """
    by_position = {(poll.message.job_id, poll.message.run, poll.looks, poll.render_id): poll for poll in polls}
    found = session.connection().execute(_LOCK_POLLED, {"ids": _ids(polls)}).all()
    return {by_position[row[:-1]]: row.batch_id for row in found if row[:-1] in by_position}


def schedule_next(
    session: Transaction, now: datetime, due_at: datetime, locked: LockedPolls, messages: Mapping[Poll, str]
) -> None:
    """Schedule the next poll of exports that are not done, and write an event with its message for each."""
    session.connection().execute(_SCHEDULE_NEXT_POLL, {"ids": _ids(messages), "due": due_at})
    for_all = (Stage.POLL, Status.QUEUED, Status.QUEUED)
    events = (
        (poll.message.job_id, locked[poll], now, "again", poll.message.run, *for_all, message)
        for poll, message in messages.items()
    )
    write_events(session, events)


def dispatch_to_stage(session: Transaction, now: datetime, urls: Mapping[Poll, str]) -> None:
    """Make the poll stage of these jobs due now, and store the URL of each export that is done.

    The caller publishes their messages after the commit.
    """
    session.connection().execute(_MAKE_DUE, {"ids": _ids(urls), "now": now})
    for poll, url in urls.items():
        if url:
            update_where(session, Job, {"id": poll.message.job_id}, {"result_url": url})


def dispatch_later(session: Transaction, due_at: datetime, polls: Collection[Poll]) -> None:
    """Make the poll stage of these jobs due later. They count as published before, so a message follows, not a poll."""
    session.connection().execute(_MAKE_DUE_LATER, {"ids": [poll.message.job_id for poll in polls], "due": due_at})


def give_back(session: Transaction, now: datetime, polls: Collection[Poll]) -> None:
    """Give back polls that were not made, so that another process can make them at once."""
    session.connection().execute(_MAKE_DUE_AND_PUBLISH, {"ids": _ids(polls), "now": now})


def _ids(polls: Iterable[Poll]) -> list[str]:
    return [poll.message.job_id for poll in polls]
