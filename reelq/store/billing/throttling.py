"""Limits on an account: the pause after a 429, its window of jobs in flight, and parking.

An account is parked while it lacks credits, a sufficient plan, or a token.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import case, or_, select, update

from reelq.job import Cause
from reelq.store.billing.accounts import AccountView
from reelq.store.db.engine import Transaction
from reelq.store.db.models import Account
from reelq.store.db.statements import execute_dml

QUOTA_PERIOD: Final = timedelta(days=7)
"""The service gives each client one free token in this period."""
_BY_SEVERITY: Final = (Cause.CREDITS, Cause.PLAN, Cause.TOKEN)
"""Each cause stops the stages that the one before it stops, and more."""


def block(session: Transaction, account_id: str, now: datetime, seconds: float, *, extend: bool = False) -> bool:
    """Block all stages of the account after a 429; returns False if it is blocked already: the 429 is then no news.

    With `extend`, a block that would end sooner is extended.
    """
    until = now + timedelta(seconds=seconds)
    expired = or_(Account.blocked_until.is_(None), Account.blocked_until <= (until if extend else now))
    values = {"blocked_until": until, "block_seconds": seconds}
    return execute_dml(session, update(Account).where(Account.id == account_id, expired).values(**values)) == 1


def halve_window(session: Transaction, account_id: str, now: datetime) -> bool:
    """Halve the window after a 429, once per block. Call it before `block`, in the same transaction."""
    open_ = or_(Account.blocked_until.is_(None), Account.blocked_until <= now)
    halved = case((Account.window > 2, Account.window / 2), else_=1.0)
    return execute_dml(session, update(Account).where(Account.id == account_id, open_).values(window=halved)) == 1


def widen_window(session: Transaction, account: AccountView, most: int) -> None:
    """Widen the window after a job has succeeded: by one per window's worth of successes, up to `most`."""
    if account.window == most:  # the usual case: do not make jobs wait for a lock on the account
        return
    grown = Account.window + 1.0 / Account.window
    values = {"window": case((grown < most, grown), else_=float(most))}
    execute_dml(session, update(Account).where(Account.id == account.id).values(**values))


def record_token_quota(session: Transaction, account_id: str) -> bool:
    """Record a 429 of the token endpoint; returns True if it is the first since the last token: one more try is due."""
    first_time = (Account.id == account_id, Account.quota_met.is_(False))
    return execute_dml(session, update(Account).where(*first_time).values(quota_met=True)) == 1


def park(session: Transaction, account_id: str, cause: Cause, why: str, now: datetime) -> bool:
    """Park the account for this cause until `unpark`; returns False if it is already parked for a more severe one."""
    not_more_severe = _BY_SEVERITY[: _BY_SEVERITY.index(cause) + 1]
    where = (Account.id == account_id, or_(Account.parked.is_(None), Account.parked.in_(not_more_severe)))
    values = {"parked": cause, "parked_why": why, "parked_until": _parked_until(session, account_id, cause, now)}
    return execute_dml(session, update(Account).where(*where).values(**values)) == 1


def _parked_until(session: Transaction, account_id: str, cause: Cause, now: datetime) -> datetime | None:
    """When the account can get the next free token; None if it needs something else, for which the user has to act."""
    query = select(Account.quota_met, Account.token_issued_at).where(Account.id == account_id)
    quota_was_met, issued = session.execute(query).one()
    if cause is not Cause.TOKEN or not quota_was_met:
        return None
    # With an old token or none, the quota is that of the network address, whose period may have started at any time.
    return issued + QUOTA_PERIOD if issued and issued + QUOTA_PERIOD > now else now + QUOTA_PERIOD


def unpark(session: Transaction, account_id: str) -> bool:
    """Unpark the account and allow it to request a token again; returns whether it was parked."""
    values = {"parked": None, "parked_why": "", "parked_until": None, "probe_job_id": None, "quota_met": False}
    parked = (Account.id == account_id, Account.parked.is_not(None))
    return execute_dml(session, update(Account).where(*parked).values(**values)) == 1
