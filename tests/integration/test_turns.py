"""Admission: a few jobs at a time, fairly; and a process that works on one batch admits no others."""

from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import select, update

from reelq.job import Cause, Stage, Status
from reelq.store.billing import throttling
from reelq.store.db.engine import Store
from reelq.store.db.models import Account, Batch, BatchState, Job
from reelq.store.jobs import admission, leases, parked, scheduler, transitions
from reelq.store.jobs.transitions import Position, move
from tests.databases import add_account, add_batch, add_job, change, done, moment, selected
from tests.integration.desks import TWO, Desk


def _let_in(desk: Desk, batch_id: str | None = None, now: datetime | None = None) -> list[str]:
    with desk.store.write() as session:
        return [message.job_id for message in admission.admit(session, now or desk.store.now(session), batch_id)]


def _begin(desk: Desk, *ids: str) -> None:
    """As if a worker had taken their messages."""
    with moment(desk.store) as (session, now):
        until = now + timedelta(seconds=60)
        taken = {"status": Status.RUNNING, "admitted": True, "publish_at": None, "lease_until": until, "worker": "w"}
        session.execute(update(Job).where(Job.id.in_(ids)).values(taken))


def _ids(desk: Desk, batch_id: str) -> list[str]:
    return [job.id for job in desk.jobs(batch_id)]


def test_rows_are_let_in_some_at_a_time_in_their_order(desk: Desk) -> None:
    ids = desk.many(10, window=64)
    rounds = []
    for _ in range(4):
        rounds.append(_let_in(desk))
        _begin(desk, *rounds[-1])
    assert [len(each) for each in rounds] == [4, 4, 2, 0]
    assert [*chain(*rounds)] == ids


@pytest.mark.parametrize(
    ("at_work", "let_in", "more"),
    [
        pytest.param(0, [4, 4, 0], 1, id="none while many wait for a worker"),
        # Sixteen of fifty-six are more than a quarter, and twelve of fifty-two are not.
        pytest.param(40, [4, 4, 4, 4, 0], 3, id="a quarter of many in flight may wait"),
    ],
)
def test_so_many_wait_for_a_worker_and_no_more(desk: Desk, at_work: int, let_in: list[int], more: int) -> None:
    ids = desk.many(80, window=200)
    _begin(desk, *ids[:at_work])
    now = desk.now()
    assert [len(_let_in(desk, now=now)) for _ in let_in] == let_in
    _begin(desk, *ids[at_work : at_work + more])
    assert len(_let_in(desk, now=now)) == 4


@pytest.mark.parametrize("owner", ["me", "somebody else"])
def test_with_room_for_one_row_at_a_time_a_new_batch_does_not_wait_for_an_older_one(desk: Desk, owner: str) -> None:
    big = desk.many(20, window=4)
    _begin(desk, *_let_in(desk))
    small = _ids(desk, desk.submit(*TWO, name="small").batch_id)
    with desk.store.write() as session:
        session.execute(update(Job).where(Job.id.in_(small)).values(owner=owner))
        session.execute(update(Batch).where(Batch.name == "small").values(owner=owner))
    order: list[str] = []
    for ended in big[:4]:
        with moment(desk.store) as (session, now):
            move(session, Position.of(session.get_one(Job, ended)), Status.FAILED, now, "ended")
        order += _let_in(desk)
        _begin(desk, *order[-1:])
    assert order == [*small, big[4], big[5]]


@pytest.mark.parametrize(
    ("publish_in", "due_in"),
    [
        pytest.param(50.0, -10.0, id="lost: it went out ten seconds ago"),
        pytest.param(60.0, 60.0, id="a render that is looked at in a minute"),
        pytest.param(-0.1, -0.1, id="it has to go out"),
    ],
)
def test_what_does_not_wait_for_a_worker_holds_nobody_up(desk: Desk, publish_in: float, due_in: float) -> None:
    ids = desk.many(20, window=64)
    with moment(desk.store) as (session, now):
        publish_at, due_at = now + timedelta(seconds=publish_in), now + timedelta(seconds=due_in)
        others = update(Job).where(Job.id.in_(ids[:10]))
        session.execute(others.values(admitted=True, publish_at=publish_at, due_at=due_at))
    assert len(_let_in(desk)) == 4


def test_what_is_due_goes_out_and_the_next_is_told_of_if_it_is_soon(desk: Desk) -> None:
    first, second, third, fourth = desk.many(4)
    _let_in(desk)
    late = 0.2 + scheduler.SOON.total_seconds() + 0.01
    with moment(desk.store) as (session, now):
        for job_id, seconds in ((first, -1.0), (second, 0.1), (third, 0.15), (fourth, late)):
            session.get_one(Job, job_id).publish_at = now + timedelta(seconds=seconds)
    for after, goes, soon in ((0, first, 0.1), (0.12, second, 0.15), (0.2, third, None)):
        said = done(desk.store, scheduler.due, now + timedelta(seconds=after), 9)
        assert [message.job_id for message in said.messages] == [goes]
        assert said.next_at == (soon and now + timedelta(seconds=soon))


# A process that works on one batch alone leaves all others alone, but for the rows that its own wait for.


def test_only_the_batch_and_what_it_waits_for_is_let_in(desk: Desk) -> None:
    awaited, other = _ids(desk, desk.submit(*TWO).batch_id)
    mine = desk.submit(TWO[0], "forest.mp4,Make it brighter,", name="mine").batch_id
    _twin, own = _ids(desk, mine)
    assert {*_let_in(desk, mine)} == {awaited, own}
    assert _let_in(desk) == [other]


def test_a_batch_that_is_paused_begins_nothing_for_another_that_waits(desk: Desk) -> None:
    batch_id = desk.submit(TWO[0], first=0).batch_id
    mine = desk.submit(TWO[0], name="mine").batch_id
    assert _let_in(desk, mine) == []
    desk.submit(TWO[0])
    assert _let_in(desk, mine) == _ids(desk, batch_id)


@pytest.mark.parametrize(
    ("lease", "message", "room"),
    [
        (20, -5, False),  # a lifeline that is a little late is no dead one
        (-1, -5, True),
        (20, -11, True),
    ],
)
def test_what_nobody_is_at_any_more_takes_up_no_room(desk: Desk, lease: int, message: int, room: bool) -> None:
    at_work, queued = _ids(desk, desk.submit(*TWO).batch_id)
    change(desk.store, Account, desk.account, window=2)
    assert len(_let_in(desk)) == 2
    desk.begin(desk.job(at_work))
    mine = desk.submit("beach.mp4,Trim it,", name="mine").batch_id
    now = desk.now()
    change(desk.store, Job, at_work, lease_until=now + timedelta(seconds=lease))
    change(desk.store, Job, queued, publish_at=now + timedelta(seconds=message))
    assert bool(_let_in(desk, mine, now)) is room


def test_messages_and_leases_of_others_are_left_to_others(desk: Desk) -> None:
    awaited, other = _ids(desk, desk.submit(*TWO).batch_id)
    mine = desk.submit(TWO[0], name="mine").batch_id
    _let_in(desk)
    with desk.store.write() as session:
        scheduler.republish_all(session, mine)
        later = transitions.later(desk.store.now(session), 1)
        assert [message.job_id for message in scheduler.due(session, later, 9, mine).messages] == [awaited]
    for job in (awaited, other):
        desk.begin(desk.job(job))
    with desk.store.write() as session:
        later = desk.store.now(session) + timedelta(hours=1)
        assert leases.requeue_expired(session, later, 9, 30, 20, batch_id=mine) == [awaited]
        assert leases.requeue_expired(session, later, 9, 30, 20) == [other]


def test_messages_that_went_with_a_silent_worker_go_out_again_when_it_is_found(desk: Desk) -> None:
    both = _ids(desk, desk.submit(*TWO).batch_id)
    _let_in(desk)
    desk.begin(desk.job(both[1]))
    with desk.store.write() as session:
        sent_at = now = session.get_one(Job, both[0]).due_at
        for seconds, sent in ((9, []), (11, both[:1])):  # of a lease of 20 at least half was left at the last renewal
            now = sent_at + timedelta(seconds=seconds)
            scheduler.republish_overdue(session, now, 20)
            assert [message.job_id for message in scheduler.due(session, now, 9).messages] == sent
    # A message lost with a dead worker does not make the next wait longer.
    waits = desk.job(both[0]).publish_at
    assert waits == now + scheduler.FIRST_REPUBLISH
    assert desk.job(both[1]).status is Status.RUNNING


@pytest.mark.parametrize("probe_is_anothers", [False, True])
def test_the_row_that_tries_the_credits_is_one_that_somebody_works_on(desk: Desk, probe_is_anothers: bool) -> None:
    desk.submit(TWO[0], name="other")
    batch_id = desk.submit(TWO[1], name="mine").batch_id
    with moment(desk.store) as (session, now):
        for job in session.scalars(select(Job).order_by(Job.id)):
            move(session, Position.of(job), Status.WAITING, now, "no credits", cause=Cause.CREDITS)
        throttling.park(session, desk.account, Cause.CREDITS, "no credits", now)
        session.expire_all()
        if probe_is_anothers:
            assert parked.resume(session, desk.account, now, 500) == 1
            session.expire_all()
        assert parked.resume(session, desk.account, now, 500, batch_id) == 1
    assert desk.statuses(batch_id) == ["queued"]


# Rows that wait for credits or a token go on: one first, to see, then as many as the balance covers.


def _waiting(store: Store, count: int, cause: Cause = Cause.CREDITS, **values: Any) -> str:
    """An account that is parked for this cause, with so many rows that wait."""
    with moment(store) as (session, now):
        account, batch = add_account(session, now), add_batch(session, now)
        for row in range(1, count + 1):
            more = {"status": Status.WAITING, "cause": cause, **values}
            add_job(session, now, batch_id=batch, account_id=account, row=row, **more)
        throttling.park(session, account, cause, "for a test", now)
    return account


def _add_waiting(store: Store, account: str) -> None:
    """Row 7, in a batch of its own."""
    with moment(store) as (session, now):
        batch = add_batch(session, now)
        add_job(session, now, batch_id=batch, row=7, account_id=account, status=Status.WAITING, cause=Cause.CREDITS)


def _queued(store: Store) -> list[int]:
    return selected(store, select(Job.row).where(Job.status == Status.QUEUED).order_by(Job.row))


def _go_on(store: Store, account: str, available: int) -> int:
    with store.write() as session:
        return parked.resume(session, account, store.now(session), available)


def test_one_row_goes_first_if_there_are_credits_and_no_second_one_while_it_is_under_way(store: Store) -> None:
    account = _waiting(store, 3)
    assert (_go_on(store, account, 0), _queued(store)) == (0, [])
    assert [_go_on(store, account, 500) for _ in range(2)] == [1, 0]
    assert _queued(store) == [1]


def test_once_the_account_is_open_as_many_go_as_the_balance_covers(store: Store) -> None:
    account = _waiting(store, 8)
    done(store, throttling.unpark, account)
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
        assert parked.accounts_to_check(session, now) == []
        assert session.get_one(Account, account).parked is Cause.TOKEN
        parked.accounts_to_check(session, now + timedelta(days=2))
    assert _queued(store) == [1, 2]


def test_rows_to_which_nothing_was_sent_go_on_with_the_account_that_is_configured_now(store: Store) -> None:
    account = _waiting(store, 1)
    with moment(store) as (session, now):
        paid: dict[str, Any] = {"stage": Stage.EDIT, "remote_session_id": "ses_paid"}
        begun = add_job(session, now, account_id=account, status=Status.WAITING, cause=Cause.CREDITS, **paid)
        other = add_account(session, now, credential="another")
        throttling.park(session, other, Cause.TOKEN, "refused", now)
        assert parked.move_to_account(session, other, now, "moved") == 0
        session.expire_all()
        throttling.unpark(session, other)
        session.expire_all()
        assert parked.move_to_account(session, other, now, "moved") == 1
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
    done(store, throttling.unpark, account)
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
