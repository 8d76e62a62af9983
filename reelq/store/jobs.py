"""What happens to a job: it is claimed for a stage, and what came of the stage is recorded. Each is one transaction."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.orm import Session

from reelq.errors import Poisoned
from reelq.job import FINAL, ROUTES, Cause, Route, Stage, Status, stage_after
from reelq.store import statements
from reelq.store.clock import SKEW
from reelq.store.ends import AFRESH, cancel_behind, is_done_with_session, release_followers, session_of
from reelq.store.ends import end as end  # its callers know it as a verb of jobs
from reelq.store.models import Account, Batch, BatchState, Job
from reelq.store.moves import AT, Position, StaleMove, move
from reelq.store.scope import within
from reelq.store.taking import Payer, Place, Work, as_taken, take

REPUBLISH_SECONDS: Final = 60.0
"""A message that nobody took is published again after so long, then after twice as long each time, up to four times."""


Scopes = Mapping[Cause, frozenset[Stage]]
"""Which stages of an account hold off, by what it is parked for."""


class Missed(StrEnum):
    """Why a stage's message leads to no work."""

    GONE = "there is no such job"
    STALE = "the job is elsewhere, or under another run"
    PASSED = "the stage is done already"
    NOT_DUE = "it is not due yet"
    HELD = "it has to wait"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The job is this worker's for one stage."""

    job: Work
    batch: Place
    account: Payer
    at: Position


@dataclass(frozen=True, slots=True)
class Lease:
    """Who takes a job, and for how long it may be silent."""

    worker: str
    seconds: float


_WITH_ITS_BATCH_AND_ACCOUNT: Final = (
    select(Job, Batch, Account)
    .join(Batch, Batch.id == Job.batch_id)
    .join(Account, Account.id == Job.account_id)
    .where(Job.id == bindparam("job_id"))
)

# On SQLite a transaction that may write has no other beside it anyhow.
_THERE: Final = select(Job.id).where(*AT).with_for_update(key_share=True)
_NEW_RENDER: Final = (
    update(Job)
    .where(*AT)
    .values(remote_render_id=bindparam("render_id"), renders=Job.renders + 1, looks=0, result_url="")
)


def claim_free(session: Session, now: datetime, job_id: str, run: int, stage: Stage, lease: Lease) -> Claimed | None:
    """Take a job that nothing holds off, in one statement; None where something may. For PostgreSQL."""
    # Whoever sent its message may have a quicker clock.
    taken = take(session, job_id, run, stage, now, now + SKEW, later(now, lease.seconds), lease.worker)
    if taken is None:
        return None
    return Claimed(*taken, Position(job_id, taken[0].batch_id, run, stage, Status.RUNNING))


def claim(
    session: Session, now: datetime, job_id: str, run: int, stage: Stage, lease: Lease, parked: Scopes
) -> Claimed | Missed:
    """Take a job for a stage, if it is there to be taken; `parked` tells which stages a parked account holds off."""
    found = session.execute(_WITH_ITS_BATCH_AND_ACCOUNT, {"job_id": job_id}).one_or_none()
    if found is None:
        return Missed.GONE
    job, batch, account = found
    if job.run != run or job.stage is not stage or job.status is not Status.QUEUED:
        return Missed.PASSED if _is_past(job, run, stage) else Missed.STALE
    if _takes_session_of_row_before(session, job):
        afresh = session.execute(_WITH_ITS_BATCH_AND_ACCOUNT, {"job_id": job_id}, execution_options=AFRESH)
        job, batch, account = afresh.one()
    at = Position.of(job)
    if held := _held(session, at, now, job, batch, account, parked):
        return held
    started = job.started_at or now
    at = move(
        session,
        at,
        Status.RUNNING,
        now,
        f"{stage} begins",
        lease_until=later(now, lease.seconds),
        worker=lease.worker,
        started_at=started,
        publishes=0,
    )
    return Claimed(*as_taken(job, batch, account), at)


def _is_past(job: Job, run: int, stage: Stage) -> bool:
    """Whether this stage is recorded under this run, so that its chain may go on."""
    if job.run != run or job.status in FINAL - {Status.SUCCEEDED}:
        return False
    stages = ROUTES[job.route]
    return stage in stages and stages.index(stage) < stages.index(job.stage)


def _takes_session_of_row_before(session: Session, job: Job) -> bool:
    """Whether it is to begin in a session that was free before it came to wait for it; in one of its own it would build
    on nothing."""
    if not job.after_id or job.remote_session_id:
        return False
    before = _held_still(session, job.after_id)
    if before is None or not before.remote_session_id or not is_done_with_session(before):
        return False
    return change(session, Position.of(job), **session_of(before))


def _held(
    session: Session, at: Position, now: datetime, job: Job, batch: Batch, account: Account, parked: Scopes
) -> Missed | None:
    if job.cancel_wished or batch.state is BatchState.CANCELLED:
        end(session, at, Status.CANCELLED, now, "cancelled")
        return Missed.HELD
    if batch.state is BatchState.PAUSED or (batch.released is not None and job.row > batch.released):
        move(session, at, Status.WAITING, now, "paused: `reelq resume` lets it go on", cause=Cause.PAUSED)
        return Missed.HELD
    at_start = job.stage is starting_stage(job.route)
    before = _held_still(session, job.after_id) if job.after_id and at_start else None
    if before and not is_done_with_session(before):
        if before.status in FINAL:
            cancel_behind(session, job, before, now)
        else:
            move(session, at, Status.WAITING, now, "the row before it works in its session", cause=Cause.SESSION)
        return Missed.HELD
    if account.parked and job.stage in parked[account.parked] and account.probe_job_id != job.id:
        move(session, at, Status.WAITING, now, account.parked_why, cause=account.parked)
        return Missed.HELD
    if account.blocked_until and account.blocked_until > now:
        hold(session, at, max(job.due_at, account.blocked_until))
        return Missed.HELD
    return Missed.NOT_DUE if job.due_at > now + SKEW else None  # whoever sent its message may have a quicker clock


def _held_still(session: Session, job_id: str) -> Job | None:
    """A job as it is, until this is committed: when it ends, it tells those who wait for it by then."""
    query = select(Job).where(Job.id == job_id).with_for_update(read=True)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def fence(session: Session, at: Position) -> bool:
    """Whether the job is where its worker thinks, and stays there until this transaction ends."""
    return session.connection().execute(_THERE, statements.parameters(at.where())).first() is not None


def is_to_end(session: Session, at: Position) -> bool:
    """Whether the job is to be cancelled; nobody comes to wish so until this transaction ends."""
    query = select(Job.cancel_wished, Batch.state).join(Batch, Batch.id == Job.batch_id).where(Job.id == at.job_id)
    wished = session.execute(query.with_for_update(of=Job, key_share=True)).one_or_none()
    return wished is not None and (wished.cancel_wished or wished.state is BatchState.CANCELLED)


def change(session: Session, at: Position, **values: Any) -> bool:
    """Set other columns than its position, if the job is where its worker thinks; whether it is."""
    return statements.change(session, Job, at.where(), values) == 1


def new_render(session: Session, at: Position, render_id: str) -> bool:
    """Another export of the job, under this id, if it is where its worker thinks; whether it is."""
    there = statements.parameters(at.where())
    return session.connection().execute(_NEW_RENDER, there | {"render_id": render_id}).rowcount == 1


def looks_of(session: Session, at: Position) -> int:
    """How often the job's export was looked at: another one, begun since the job was claimed, not at all."""
    return session.execute(select(Job.looks).where(Job.id == at.job_id)).scalar_one()


def hold(session: Session, at: Position, until: datetime) -> None:
    """A queued job's next message not before then. It stays where it is: waiting one's turn is no event."""
    statements.change(
        session, Job, {**at.where(), "status": Status.QUEUED}, {"due_at": until, "publish_at": until, "publishes": 0}
    )


def hand_on(session: Session, job_id: str, run: int, stage: Stage) -> None:
    """The message was taken by a worker that is told to stop: another one goes out for it at once."""
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.run == run, Job.stage == stage, Job.status == Status.QUEUED)
        .values(publish_at=Job.due_at)
    )


def advance(session: Session, claimed: Claimed, now: datetime, words: str, **receipt: Any) -> Position:
    """The stage is done: on to the next one, which the chain's next message begins, or to success."""
    at, route = claimed.at, claimed.job.route
    following = stage_after(route, at.stage)
    settled = {"looks": 0, "lapses": 0, **receipt}
    if at.stage is not Stage.UPLOAD:
        # An upload alone is no progress: a session that is always gone by the edit has to come to an end.
        settled["attempts"] = 0
    if following is None:
        return end(session, at, Status.SUCCEEDED, now, words, **settled)
    due = settled.pop("due_at", now)
    # The chain publishes the next stage by itself; this is for when it can't.
    publish = max(due, now + timedelta(seconds=REPUBLISH_SECONDS)) if due <= now else due
    after = move(
        session, at, Status.QUEUED, now, words, what=f"{at.stage} done", stage=following, due_at=due,
        publish_at=publish, **settled,
    )  # fmt: skip
    if at.stage is Stage.POLL:
        release_followers(session, claimed.job, now)
    return after


def again(session: Session, at: Position, now: datetime, seconds: float, words: str, **changes: Any) -> Position:
    """The same stage, or an earlier one, once more after so many seconds."""
    due = now + timedelta(seconds=seconds)
    return move(session, at, Status.QUEUED, now, words, what="again", due_at=due, publish_at=due, **changes)


def renew(session: Session, now: datetime, worker: str, held: dict[str, int], seconds: float) -> dict[str, bool]:
    """Renew the leases of what a worker holds, in one statement.

    Given back are the jobs that are still its own, each with whether it is to be cancelled.
    """
    if not held:
        return {}
    mine = (Job.worker == worker, Job.status == Status.RUNNING, Job.id.in_(held))
    session.execute(update(Job).where(*mine).values(lease_until=later(now, seconds)))
    rows = session.execute(select(Job.id, Job.run, Job.cancel_wished).where(*mine))
    return {job_id: wished for job_id, run, wished in rows if held[job_id] == run}


def release(session: Session, now: datetime, worker: str, held: dict[str, int]) -> None:
    """Let go of a stopping worker's jobs: due at once, under the next run."""
    mine = select(Job).where(Job.worker == worker, Job.status == Status.RUNNING, Job.id.in_(held))
    for job in session.scalars(mine).all():
        if job.run == held[job.id]:
            words = "its worker was stopped; another goes on"
            again(session, Position.of(job), now, 0, words, run=job.run + 1)


def rescue(
    session: Session,
    now: datetime,
    most: int,
    poll_interval: float,
    lease: float,
    held: Container[str] = (),
    batch_id: str | None = None,
) -> list[str]:
    """Take jobs back from workers that fell silent; the ids of those that are to be published again.

    `held` are the rescuer's own: it is alive, whatever their leases say.
    """
    rescued = []
    for job in session.scalars(_silent(batch_id), {"now": now, "most": most}).all():
        if job.id in held:
            continue
        try:
            _take_back(session, job, now, poll_interval, lease)
        except StaleMove:
            continue
        rescued.append(job.id)
    return rescued


@cache
def _silent(batch_id: str | None) -> Select[Job]:
    query = select(Job).where(Job.status == Status.RUNNING, Job.lease_until < bindparam("now"), *within(batch_id))
    return query.order_by(Job.lease_until).limit(bindparam("most")).with_for_update(skip_locked=True)


_MOST_LAPSES: Final = 10


def _take_back(session: Session, job: Job, now: datetime, poll_interval: float, lease: float) -> None:
    at, lapses = Position.of(job), job.lapses + 1
    if lapses >= _MOST_LAPSES:
        words = f"{lapses} workers in a row fell silent in {job.stage}"
        told = {"error_code": Poisoned.code, "error": words, "advice": Poisoned.advice}
        end(session, at, Status.FAILED, now, words, lapses=lapses, **told)
        return
    due = now
    if job.stage is Stage.POLL and job.lease_until and not job.result_url:
        # Its last look came before the worker died, and that was at most half a lease before the lease's end.
        due = max(now, job.lease_until - timedelta(seconds=lease / 2) + timedelta(seconds=poll_interval))
    words = "its worker fell silent; another goes on"
    move(
        session, at, Status.QUEUED, now, words, what="rescued", run=job.run + 1, lapses=lapses, due_at=due,
        publish_at=due,
    )  # fmt: skip


def later(now: datetime, seconds: float) -> datetime:
    """A moment so many seconds on."""
    return now + timedelta(seconds=seconds)


def starting_stage(route: Route) -> Stage:
    """Where a job of this route begins."""
    return ROUTES[route][0]
