"""Rows that wait for credits or for a token, and how they go on: one first, to see, then as many as can be paid."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from reelq.job import Cause, Stage, Status
from reelq.store import accounts, credits
from reelq.store.models import Account, Job
from reelq.store.moves import Position, move
from reelq.store.scope import goes_on, may_begin, within
from reelq.store.session import Transaction

_SPENDING = (Stage.UPLOAD, Stage.EDIT)
Conditions = Sequence[ColumnElement[bool]]


def accounts_waiting(session: Transaction, now: datetime) -> list[str]:
    """Accounts with rows that wait for credits. One whose token can be had again by now is unparked on the way."""
    over = select(Account.id).where(Account.parked == Cause.TOKEN, Account.parked_until <= now)
    for account_id in session.scalars(over).all():
        accounts.unpark(session, account_id)
        _queue(session, account_id, Cause.TOKEN, now, 1_000_000, "a token can be had again")
    waiting = select(Job.account_id).where(Job.status == Status.WAITING, Job.cause == Cause.CREDITS).distinct()
    return list(session.scalars(waiting))


def move_over(session: Transaction, account_id: str, now: datetime, words: str) -> int:
    """Rows of other accounts that wait, and for which nothing was sent yet, go on with this one."""
    if session.get_one(Account, account_id).parked is not None:
        return 0
    waiting = (Job.status == Status.WAITING, Job.cause.in_((Cause.CREDITS, Cause.TOKEN)))
    fresh = (Job.account_id != account_id, Job.remote_session_id == "", Job.after_id.is_(None))
    rows = session.scalars(select(Job).where(*waiting, *fresh).order_by(Job.batch_id, Job.row)).all()
    for job in rows:
        move(session, Position.of(job), Status.QUEUED, now, words, due_at=now, account_id=account_id)
    return len(rows)


def go_on(session: Transaction, account_id: str, now: datetime, available: int, batch_id: str | None = None) -> int:
    """Let rows go on that the balance covers; while the account is parked, one alone, as a probe. How many.

    With a batch, of those that its process works on: a probe that nobody works on would tell nothing.
    """
    account = session.get_one(Account, account_id)
    if available <= 0:
        return 0
    if account.parked is Cause.CREDITS:
        if not _may_suffice(session, account_id, available):
            return 0
        mine = within(batch_id)
        if _probe_is_under_way(session, account, now, mine):
            return 0
        return _send_probe(session, account, now, available, mine)
    if account.parked is not None:
        return 0
    under_way = select(func.count()).where(
        Job.account_id == account_id,
        Job.stage.in_(_SPENDING),
        Job.status.in_((Status.QUEUED, Status.RUNNING)),
        Job.admitted,
    )
    each = credits.highest_cost(session, account_id) or credits.USUAL_COST
    room = available // each - session.execute(under_way).scalar_one()
    words = f"{available} credits are available again"
    return _queue(session, account_id, Cause.CREDITS, now, room, words, within(batch_id))


def _may_suffice(session: Transaction, account_id: str, available: int) -> bool:
    """Whether it is more than what was refused last: a rest too small for a send is not offered again and again."""
    plenty = max(credits.highest_cost(session, account_id), credits.GENERATION_COST)
    return available > credits.refused_at(session, account_id) or available >= plenty


def _probe_is_under_way(session: Transaction, account: Account, now: datetime, mine: Conditions) -> bool:
    somebody_at_it = and_(Job.status == Status.RUNNING, Job.lease_until > now)
    probe = select(Job.id).where(Job.id == account.probe_job_id, or_(somebody_at_it, and_(goes_on(), *mine)))
    return session.execute(probe).first() is not None


def _send_probe(session: Transaction, account: Account, now: datetime, available: int, mine: Conditions) -> int:
    probe = next(iter(_next(session, account.id, Cause.CREDITS, 1, mine)), None)
    if probe is None:
        return 0
    session.execute(update(Account).where(Account.id == account.id).values(probe_job_id=probe.id))
    words = f"{available} credits are available: this row goes first"
    move(session, Position.of(probe), Status.QUEUED, now, words, due_at=now)
    return 1


def _queue(
    session: Transaction, account_id: str, cause: Cause, now: datetime, most: int, words: str, mine: Conditions = ()
) -> int:
    rows = _next(session, account_id, cause, most, mine)
    for job in rows:
        move(session, Position.of(job), Status.QUEUED, now, words, due_at=now)
    return len(rows)


def _next(session: Transaction, account_id: str, cause: Cause, most: int, mine: Conditions) -> Sequence[Job]:
    """The rows that wait for this and are first to go on."""
    query = select(Job).where(Job.account_id == account_id, Job.status == Status.WAITING, Job.cause == cause, *mine)
    if cause is Cause.CREDITS:  # no more than can be paid for; those of another cause are then held up by their batch
        query = query.where(may_begin())
    return session.scalars(query.order_by(Job.batch_id, Job.row).limit(max(most, 0))).all()
