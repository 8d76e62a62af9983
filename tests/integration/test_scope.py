"""A process that works on one batch alone leaves all others alone, but for the rows that its own wait for."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from reelq.job import Cause, Status
from reelq.store import accounts, due, jobs, parking, turns
from reelq.store.models import Account, Job
from reelq.store.moves import Position, move
from tests.databases import change, moment
from tests.integration.desks import TWO, Desk


def _admitted(desk: Desk, batch_id: str | None, now: datetime | None = None) -> set[str]:
    with desk.store.write() as session:
        return {message.job_id for message in turns.admit(session, now or desk.store.now(session), batch_id)}


def _ids(desk: Desk, batch_id: str) -> list[str]:
    return [job.id for job in desk.jobs(batch_id)]


def test_only_the_batch_and_what_it_waits_for_is_let_in(desk: Desk) -> None:
    awaited, other = _ids(desk, desk.submit(*TWO).batch_id)
    mine = desk.submit(TWO[0], "forest.mp4,Make it brighter,", name="mine").batch_id
    twin, own = _ids(desk, mine)
    assert _admitted(desk, mine) == {awaited, own}
    assert twin not in _admitted(desk, None) == {other}


def test_a_batch_that_is_paused_begins_nothing_for_another_that_waits(desk: Desk) -> None:
    batch_id = desk.submit(TWO[0], first=0).batch_id
    mine = desk.submit(TWO[0], name="mine").batch_id
    assert _admitted(desk, mine) == set()
    desk.submit(TWO[0])
    assert _admitted(desk, mine) == set(_ids(desk, batch_id))


@pytest.mark.parametrize(
    ("lease", "message", "room"),
    [
        (20, -5, False),  # a lifeline that is a little late is no dead one
        (-1, -5, True),
        (20, -11, True),
    ],
)
def test_what_a_run_let_in_takes_up_no_room_of_anothers_once_nobody_is_at_it(
    desk: Desk, lease: int, message: int, room: bool
) -> None:
    at_work, queued = _ids(desk, desk.submit(*TWO).batch_id)
    change(desk.store, Account, desk.account, window=2)
    assert _admitted(desk, None) == {at_work, queued}
    desk.begin(desk.job(at_work))
    mine = desk.submit("beach.mp4,Trim it,", name="mine").batch_id
    with moment(desk.store) as (session, now):
        for job_id, then in (
            (at_work, {"lease_until": now + timedelta(seconds=lease)}),
            (queued, {"publish_at": now + timedelta(seconds=message)}),
        ):
            session.execute(update(Job).where(Job.id == job_id).values(**then))
    assert bool(_admitted(desk, mine, now)) is room


def test_messages_and_leases_of_others_are_left_to_others(desk: Desk) -> None:
    awaited, other = _ids(desk, desk.submit(*TWO).batch_id)
    mine = desk.submit(TWO[0], name="mine").batch_id
    _admitted(desk, None)
    with desk.store.write() as session:
        due.all_lost(session, mine)
        later = jobs.later(desk.store.now(session), 1)
        assert [message.job_id for message in due.due(session, later, 9, mine).messages] == [awaited]
    for job in (awaited, other):
        desk.begin(desk.job(job))
    with desk.store.write() as session:
        later = desk.store.now(session) + timedelta(hours=1)
        assert jobs.rescue(session, later, 9, 30, 20, batch_id=mine) == [awaited]
        assert jobs.rescue(session, later, 9, 30, 20) == [other]


def test_messages_that_went_with_a_silent_worker_go_out_again_when_it_is_found(desk: Desk) -> None:
    both = _ids(desk, desk.submit(*TWO).batch_id)
    _admitted(desk, None)
    desk.begin(desk.job(both[1]))
    with desk.store.write() as session:
        sent_at = now = desk.store.now(session)
        for seconds, sent in ((9, []), (11, both[:1])):  # of a lease of 20 at least half was left at the last renewal
            now = sent_at + timedelta(seconds=seconds)
            due.lost_with_the_silent(session, now, 20)
            assert [message.job_id for message in due.due(session, now, 9).messages] == sent
    # Worker after worker fell silent: that is no reason to wait longer and longer.
    waits = desk.job(both[0]).publish_at
    assert waits == now + timedelta(seconds=jobs.REPUBLISH_SECONDS)
    assert desk.job(both[1]).status is Status.RUNNING


@pytest.mark.parametrize("probe_is_anothers", [False, True])
def test_the_row_that_tries_whether_credits_suffice_is_one_that_somebody_works_on(
    desk: Desk, probe_is_anothers: bool
) -> None:
    desk.submit(TWO[0], name="other")
    batch_id = desk.submit(TWO[1], name="mine").batch_id
    with moment(desk.store) as (session, now):
        for job in session.scalars(select(Job).order_by(Job.id)):
            move(session, Position.of(job), Status.WAITING, now, "no credits", cause=Cause.CREDITS)
        accounts.park(session, desk.account, Cause.CREDITS, "no credits", now)
        if probe_is_anothers:
            session.expire_all()
            assert parking.go_on(session, desk.account, now, 500) == 1
        session.expire_all()
        assert parking.go_on(session, desk.account, now, 500, batch_id) == 1
    assert desk.statuses(batch_id) == ["queued"]
