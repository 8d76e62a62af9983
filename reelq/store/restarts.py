"""Work that was begun with a service that is no more begins anew with the one that is there now: for play only.

The stand-in keeps its sessions in memory. When it ends they are gone, and its next one is another service to us, with
another account. What succeeded keeps its results, but for rows of a session that has to be built up once more.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from reelq.job import FINAL, Stage
from reelq.store import actions
from reelq.store.ends import result_of_other
from reelq.store.models import Job
from reelq.store.scope import awaited_by

_WORDS = "the service that it was begun with has ended; it begins anew"


def begin_anew(session: Session, account_id: str, batch_id: str, now: datetime) -> int:
    """Send open rows of the batch, and those that it waits for, to this account; how many had been begun elsewhere."""
    jobs = _open_elsewhere(session, account_id, batch_id)
    begun = {job.id: job for job in jobs if job.remote_session_id and not _only_takes(session, job)}
    for job in jobs:
        begun |= {each.id: each for each in _before_in_session(session, job, account_id)}
    for job in begun.values():
        actions.begin_anew(session, job, now, _WORDS, account_id=account_id)
    others = [job.id for job in jobs if job.id not in begun]
    moved = update(Job).where(Job.id.in_(others)).values(account_id=account_id)
    session.execute(moved.execution_options(synchronize_session=False))
    return len(begun)


def _open_elsewhere(session: Session, account_id: str, batch_id: str) -> Sequence[Job]:
    mine = or_(Job.batch_id == batch_id, awaited_by(batch_id))
    query = select(Job).where(mine, Job.status.not_in(FINAL), Job.account_id != account_id).order_by(Job.id)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def _only_takes(session: Session, job: Job) -> bool:
    """Whether all it has to do is to take another row's finished file, for which no service is needed."""
    other = result_of_other(session, job.id) if job.stage is Stage.DOWNLOAD else None
    return other is not None and other.is_there


def _before_in_session(session: Session, job: Job, account_id: str) -> list[Job]:
    """The rows that the session was built up by, whatever became of them: this one builds on them."""
    rows: list[Job] = []
    while job.after_id and (before := session.get(Job, job.after_id, populate_existing=True)):
        if before.account_id != account_id and before.remote_session_id:
            rows.append(before)
        job = before
    return rows
