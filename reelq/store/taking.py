"""The claim of a job that nothing holds off, as most are: all of it in one statement, where the database can do that.

Whatever stands in the way, or may, finds nothing here, and is left to those who look closer.
"""

from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Row, Select, bindparam, func, or_, select, update
from sqlalchemy.orm import aliased, load_only

from reelq.job import Stage, Status
from reelq.store.events import event, telling
from reelq.store.models import Account, Batch, BatchState, Job
from reelq.store.moves import forbidden
from reelq.store.session import Transaction


def take(
    session: Transaction,
    job_id: str,
    run: int,
    stage: Stage,
    now: datetime,
    due: datetime,
    until: datetime,
    worker: str,
) -> "Row[Job, Batch, Account] | None":
    """Begin the stage, if it is due by then and nothing is in its way: the job as it is now, its batch, its account."""
    if session.connection().dialect.name != "postgresql":
        return None
    told = event(now, str(Status.RUNNING), run, stage, Status.QUEUED, Status.RUNNING, f"{stage} begins")
    there = {"of": job_id, "under": run, "in": stage, "now": now, "due": due, "until": until, "by": worker}
    return session.execute(_taking(), told | there).one_or_none()


_JOBS: Final = (
    Job.id, Job.batch_id, Job.account_id, Job.owner, Job.row, Job.key, Job.file, Job.references, Job.inputs,
    Job.instruction, Job.language, Job.skill, Job.output, Job.route, Job.after_id, Job.same_as, Job.stage, Job.status,
    Job.run, Job.attempts, Job.looks, Job.follow_ups, Job.resend, Job.upload_baseline, Job.remote_session_id,
    Job.remote_task_id, Job.remote_user_id, Job.remote_render_id, Job.renders, Job.result_url, Job.changes,
)  # fmt: skip
"""What a worker works with; every column more is a cost of each stage."""
_BATCHS: Final = load_only(Batch.id, Batch.source, Batch.out, raiseload=True)
_ACCOUNTS: Final = load_only(Account.id, Account.kind, Account.probe_job_id, raiseload=True)


@cache
def _taking() -> Select[Job, Batch, Account]:
    now = bindparam("now", type_=Job.due_at.type)
    free = (
        Job.cancel_wished.is_(False),
        Job.after_id.is_(None),
        Batch.state == BatchState.ACTIVE,
        Batch.released.is_(None),
        Account.parked.is_(None),
        or_(Account.blocked_until.is_(None), Account.blocked_until <= now),
    )
    begun = {
        "status": Status.RUNNING,
        "lease_until": bindparam("until"),
        "worker": bindparam("by"),
        "started_at": func.coalesce(Job.started_at, now),
        "publishes": 0,
    }
    taken = (
        update(Job)
        .where(Job.id == bindparam("of"), Job.run == bindparam("under"), Job.stage == bindparam("in"))
        .where(Job.status == Status.QUEUED, Job.due_at <= bindparam("due"))
        .where(Batch.id == Job.batch_id, Account.id == Job.account_id, *free)
        .values(forbidden(Status.RUNNING) | begun)
        .returning(*_JOBS)
        .cte("taken")
    )
    job = aliased(Job, taken)
    work = load_only(*(getattr(job, column.key) for column in _JOBS), raiseload=True)
    query = select(job, Batch, Account).options(work, _BATCHS, _ACCOUNTS)
    query = query.join(Batch, Batch.id == job.batch_id).join(Account, Account.id == job.account_id)
    return query.add_cte(telling(taken).cte("told"))
