"""Restarts jobs whose sandbox has ended, with the account of the sandbox that runs now.

The sandbox keeps its sessions in memory, so they are lost when it ends. The next sandbox counts as another service,
with another account. Rows that succeeded keep their results, except rows of a session that has to be rebuilt.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from reelq.job import FINAL, Stage
from reelq.store.db.models import Job
from reelq.store.jobs import retries
from reelq.store.jobs.dependents import result_of_original
from reelq.store.jobs.filters import awaited_by

_MESSAGE = "the sandbox it ran in has ended; restarted"


def restart_on_account(session: Session, account_id: str, batch_id: str, now: datetime) -> int:
    """Move the open rows of the batch, and the rows it waits for, to this account. Returns how many were restarted."""
    jobs = _open_on_other_accounts(session, account_id, batch_id)
    restarted = {job.id: job for job in jobs if job.remote_session_id and not _only_copies_result(session, job)}
    for job in jobs:
        restarted |= {earlier.id: earlier for earlier in _earlier_in_session(session, job, account_id)}
    for job in restarted.values():
        retries.restart(session, job, now, _MESSAGE, account_id=account_id)
    not_restarted = [job.id for job in jobs if job.id not in restarted]
    move_to_account = update(Job).where(Job.id.in_(not_restarted)).values(account_id=account_id)
    session.execute(move_to_account.execution_options(synchronize_session=False))
    return len(restarted)


def _open_on_other_accounts(session: Session, account_id: str, batch_id: str) -> Sequence[Job]:
    concerned = or_(Job.batch_id == batch_id, awaited_by(batch_id))
    query = select(Job).where(concerned, Job.status.not_in(FINAL), Job.account_id != account_id).order_by(Job.id)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def _only_copies_result(session: Session, job: Job) -> bool:
    """Whether the job only has to copy another row's result, which needs no service."""
    original = result_of_original(session, job.id) if job.stage is Stage.DOWNLOAD else None
    return original is not None and original.is_there


def _earlier_in_session(session: Session, job: Job, account_id: str) -> list[Job]:
    """The earlier rows of the job's session in any status: the job builds on them, so they restart too."""
    rows: list[Job] = []
    while job.after_id and (before := session.get(Job, job.after_id, populate_existing=True)):
        if before.account_id != account_id and before.remote_session_id:
            rows.append(before)
        job = before
    return rows
