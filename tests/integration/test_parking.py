"""Rows that wait for credits or a token go on: one first, to see, then as many as the balance covers."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from reelq.job import Cause, Stage, Status
from reelq.store import accounts, parking
from reelq.store.models import Account, Batch, BatchState, Job
from reelq.store.session import Store
from tests.databases import add_account, add_batch, add_job, moment


def _waiting(store: Store, count: int, cause: Cause = Cause.CREDITS, **values: Any) -> str:
    """An account that is parked for this cause, with so many rows that wait."""
    with moment(store) as (session, now):
        account, batch = add_account(session, now), add_batch(session, now)
        for row in range(1, count + 1):
            more = {"status": Status.WAITING, "cause": cause, **values}
            add_job(session, now, batch_id=batch, account_id=account, row=row, **more)
        accounts.park(session, account, cause, "for a test", now)
    return account


def _add_waiting(store: Store, account: str) -> None:
    """Row 7, in a batch of its own."""
    with moment(store) as (session, now):
        batch = add_batch(session, now)
        add_job(session, now, batch_id=batch, row=7, account_id=account, status=Status.WAITING, cause=Cause.CREDITS)


def _queued(store: Store) -> list[int]:
    with store.read() as session:
        return list(session.scalars(select(Job.row).where(Job.status == Status.QUEUED).order_by(Job.row)))


def _go_on(store: Store, account: str, available: int) -> int:
    with store.write() as session:
        return parking.go_on(session, account, store.now(session), available)


def test_one_row_goes_first_if_there_are_credits_and_no_second_one_while_it_is_under_way(store: Store) -> None:
    account = _waiting(store, 3)
    assert (_go_on(store, account, 0), _queued(store)) == (0, [])
    assert [_go_on(store, account, 500) for _ in range(2)] == [1, 0]
    assert _queued(store) == [1]


def test_once_the_account_is_open_as_many_go_as_the_balance_covers(store: Store) -> None:
    account = _waiting(store, 8)
    with store.write() as session:
        accounts.unpark(session, account)
    assert _go_on(store, account, 170) == 3
    assert _queued(store) == [1, 2, 3]
    with store.write() as session:  # those three are at it now
        session.execute(update(Job).where(Job.status == Status.QUEUED).values(admitted=True))
    assert _go_on(store, account, 170) == 0


@pytest.mark.parametrize("state", [BatchState.ACTIVE, BatchState.PAUSED])
def test_an_account_without_a_token_is_looked_at_again_when_one_can_be_had(store: Store, state: BatchState) -> None:
    account = _waiting(store, 2, Cause.TOKEN)
    with moment(store) as (session, now):
        session.execute(update(Batch).values(state=state))
        session.execute(update(Account).values(parked_until=now + timedelta(days=1)))
        assert parking.accounts_waiting(session, now) == []
        assert session.get_one(Account, account).parked is Cause.TOKEN
        parking.accounts_waiting(session, now + timedelta(days=2))
    assert _queued(store) == [1, 2]


def test_rows_to_which_nothing_was_sent_go_on_with_the_account_that_is_configured_now(store: Store) -> None:
    account = _waiting(store, 1)
    with moment(store) as (session, now):
        paid: dict[str, Any] = {"stage": Stage.EDIT, "remote_session_id": "ses_paid"}
        begun = add_job(session, now, account_id=account, status=Status.WAITING, cause=Cause.CREDITS, **paid)
        other = add_account(session, now, credential="another")
        accounts.park(session, other, Cause.TOKEN, "refused", now)
        assert parking.move_over(session, other, now, "moved") == 0
        session.expire_all()
        accounts.unpark(session, other)
        session.expire_all()
        assert parking.move_over(session, other, now, "moved") == 1
        session.expire_all()
        assert session.get_one(Job, begun).status is Status.WAITING
        moved = session.scalars(select(Job).where(Job.status == Status.QUEUED)).one()
        assert moved.account_id == other


@pytest.mark.parametrize("held", [{"state": BatchState.PAUSED}, {"state": BatchState.CANCELLED}, {"released": 0}])
def test_no_row_goes_first_that_may_not_begin(store: Store, held: dict[str, Any]) -> None:
    account = _waiting(store, 2)
    with store.write() as session:
        session.execute(update(Batch).values(**held))
    _add_waiting(store, account)
    assert _go_on(store, account, 500) == 1
    assert _queued(store) == [7]
    with store.write() as session:
        accounts.unpark(session, account)
    assert _go_on(store, account, 500) == 0


def test_a_row_that_went_first_and_may_not_begin_any_more_is_not_waited_for(store: Store) -> None:
    account = _waiting(store, 2)
    _add_waiting(store, account)
    assert _go_on(store, account, 500) == 1
    assert _queued(store) == [1]
    with store.write() as session:
        its = select(Job.batch_id).where(Job.row == 1).scalar_subquery()
        session.execute(update(Batch).where(Batch.id == its).values(state=BatchState.PAUSED))
    assert _go_on(store, account, 500) == 1
    assert _queued(store) == [1, 7]
