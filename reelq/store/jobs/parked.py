"""Jobs that wait for credits or a token: one resumes first as a probe, then as many as the balance covers."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from reelq.job import Cause, Stage, Status
from reelq.store.billing import ledger, throttling
from reelq.store.db.engine import Transaction
from reelq.store.db.models import Account, Job
from reelq.store.jobs.scheduler import in_scope_of, is_active, not_held_back
from reelq.store.jobs.transitions import Position, move

_SPENDING = (Stage.UPLOAD, Stage.EDIT)
"""The stages of jobs whose instruction is yet to be paid for."""
Conditions = Sequence[ColumnElement[bool]]


def accounts_to_check(session: Transaction, now: datetime) -> list[str]:
    """The accounts with rows that wait for credits.

    Also unparks the accounts that can get a new token by now, and queues their rows.
    """
    expired = select(Account.id).where(Account.parked == Cause.TOKEN, Account.parked_until <= now)
    for account_id in session.scalars(expired).all():
        throttling.unpark(session, account_id)
        _queue(session, account_id, Cause.TOKEN, now, 1_000_000, "a new token is available", ())
    waiting = select(Job.account_id).where(Job.status == Status.WAITING, Job.cause == Cause.CREDITS).distinct()
    return list(session.scalars(waiting))


def move_to_account(session: Transaction, account_id: str, now: datetime, message: str) -> int:
    """Queue waiting rows of other accounts with this account, if nothing was sent for them yet; returns how many."""
    if session.get_one(Account, account_id).parked is not None:
        return 0
    waiting = (Job.status == Status.WAITING, Job.cause.in_((Cause.CREDITS, Cause.TOKEN)))
    fresh = (Job.account_id != account_id, Job.remote_session_id == "", Job.after_id.is_(None))
    rows = session.scalars(select(Job).where(*waiting, *fresh).order_by(Job.batch_id, Job.row)).all()
    for job in rows:
        move(session, Position.of(job), Status.QUEUED, now, message, due_at=now, account_id=account_id)
    return len(rows)


def resume(session: Transaction, account_id: str, now: datetime, available: int, batch_id: str | None = None) -> int:
    """Queue the waiting rows that the balance covers, or one as a probe while the account is parked; returns how many.

    With `batch_id`, queue only rows that the process of that batch runs: a probe that no process runs tells nothing.
    """
    account = session.get_one(Account, account_id)
    if available <= 0:
        return 0
    if account.parked is Cause.CREDITS:
        if not _may_suffice(session, account_id, available):
            return 0
        mine = in_scope_of(batch_id)
        if _probe_is_under_way(session, account, now, mine):
            return 0
        probes = _next(session, account_id, Cause.CREDITS, 1, mine)
        for probe in probes:
            session.execute(update(Account).where(Account.id == account_id).values(probe_job_id=probe.id))
            message = f"{available} credits are available; trying this row first"
            move(session, Position.of(probe), Status.QUEUED, now, message, due_at=now)
        return len(probes)
    if account.parked is not None:
        return 0
    under_way = select(func.count()).where(
        Job.account_id == account_id,
        Job.stage.in_(_SPENDING),
        Job.status.in_((Status.QUEUED, Status.RUNNING)),
        Job.admitted,
    )
    each = ledger.highest_cost(session, account_id) or ledger.USUAL_COST
    room = available // each - session.execute(under_way).scalar_one()
    message = f"{available} credits are available again"
    return _queue(session, account_id, Cause.CREDITS, now, room, message, in_scope_of(batch_id))


def _may_suffice(session: Transaction, account_id: str, available: int) -> bool:
    """Whether a probe is worthwhile: the balance is above that of the last refusal, or covers the most expensive send.

    A remainder that is too small for a send is thus not tried again and again.
    """
    enough = max(ledger.highest_cost(session, account_id), ledger.GENERATION_COST)
    return available > ledger.refused_at(session, account_id) or available >= enough


def _probe_is_under_way(session: Transaction, account: Account, now: datetime, conditions: Conditions) -> bool:
    leased = and_(Job.status == Status.RUNNING, Job.lease_until > now)
    probe = select(Job.id).where(Job.id == account.probe_job_id, or_(leased, and_(is_active(), *conditions)))
    return session.execute(probe).first() is not None


def _queue(
    session: Transaction, account_id: str, cause: Cause, now: datetime, most: int, message: str, conditions: Conditions
) -> int:
    rows = _next(session, account_id, cause, most, conditions)
    for job in rows:
        move(session, Position.of(job), Status.QUEUED, now, message, due_at=now)
    return len(rows)


def _next(session: Transaction, account_id: str, cause: Cause, most: int, conditions: Conditions) -> Sequence[Job]:
    """The rows that wait for this cause, in the order in which they resume."""
    query = select(Job).where(
        Job.account_id == account_id, Job.status == Status.WAITING, Job.cause == cause, *conditions
    )
    if cause is Cause.CREDITS:
        # `most` is what the balance covers, so rows that their batch holds back must not use it up. Rows with another
        # cause are queued all the same: the claim holds them back.
        query = query.where(not_held_back())
    return session.scalars(query.order_by(Job.batch_id, Job.row).limit(max(most, 0))).all()
