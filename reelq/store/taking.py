"""The claim of a job that nothing holds off, as most are: all of it in one statement, where the database can do that.

Whatever stands in the way, or may, finds nothing here, and is left to those who look closer.
"""

from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import Select, Table, bindparam, func, or_, select, update

from reelq.job import Route, Stage, Status
from reelq.store.events import event, telling
from reelq.store.models import Account, AccountKind, Batch, BatchState, Job
from reelq.store.moves import forbidden
from reelq.store.session import Transaction


class Work(NamedTuple):
    """What a worker works with; every column more is a cost of each stage."""

    id: str
    batch_id: str
    account_id: str
    owner: str
    row: int
    key: str
    file: str
    references: list[str]
    inputs: list[str]
    instruction: str
    language: str
    skill: str
    output: str
    route: Route
    after_id: str | None
    same_as: str | None
    stage: Stage
    status: Status
    run: int
    attempts: int
    looks: int
    follow_ups: int
    resend: bool
    upload_baseline: str
    remote_session_id: str
    remote_task_id: str
    remote_user_id: str
    remote_render_id: str
    renders: int
    result_url: str
    changes: list[str]


class Place(NamedTuple):
    """Where the batch's files are, and where its results go."""

    source: str
    out: str


class Payer(NamedTuple):
    """The account, as far as it concerns a stage."""

    id: str
    kind: AccountKind
    probe_job_id: str | None
    window: float


Taken = tuple[Work, Place, Payer]


def take(
    session: Transaction,
    job_id: str,
    run: int,
    stage: Stage,
    now: datetime,
    due: datetime,
    until: datetime,
    worker: str,
) -> Taken | None:
    """Begin the stage, if it is due by then and nothing is in its way: the job as it is now, its batch, its account."""
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        return None
    told = event(now, str(Status.RUNNING), run, stage, Status.QUEUED, Status.RUNNING, f"{stage} begins")
    there = {"of": job_id, "under": run, "in": stage, "now": now, "due": due, "until": until, "by": worker}
    found = connection.execute(_taking(), told | there).one_or_none()
    if found is None:
        return None
    payer = len(found) - len(Payer._fields)
    place = payer - len(Place._fields)
    return Work._make(found[:place]), Place._make(found[place:payer]), Payer._make(found[payer:])


def as_taken(job: Job, batch: Batch, account: Account) -> Taken:
    """The same of what was read."""
    work = Work._make(getattr(job, name) for name in Work._fields)
    return work, Place(batch.source, batch.out), Payer._make(getattr(account, name) for name in Payer._fields)


@cache
def _taking() -> Select[*tuple[Any, ...]]:
    job, batch, account = (cast("Table", each.__table__).c for each in (Job, Batch, Account))
    now = bindparam("now", type_=job.due_at.type)
    free = (
        job.cancel_wished.is_(False),
        job.after_id.is_(None),
        batch.state == BatchState.ACTIVE,
        batch.released.is_(None),
        account.parked.is_(None),
        or_(account.blocked_until.is_(None), account.blocked_until <= now),
    )
    begun = {
        "status": Status.RUNNING,
        "lease_until": bindparam("until"),
        "worker": bindparam("by"),
        "started_at": func.coalesce(job.started_at, now),
        "publishes": 0,
    }
    told = (
        *(job[name] for name in Work._fields),
        *(batch[name] for name in Place._fields),
        *(account[name].label(f"payer_{name}") for name in Payer._fields),
    )
    taken = (
        update(job.id.table)
        .where(job.id == bindparam("of"), job.run == bindparam("under"), job.stage == bindparam("in"))
        .where(job.status == Status.QUEUED, job.due_at <= bindparam("due"))
        .where(batch.id == job.batch_id, account.id == job.account_id, *free)
        .values(forbidden(Status.RUNNING) | begun)
        .returning(*told)
        .cte("taken")
    )
    return select(taken).add_cte(telling(taken).cte("told"))
