"""Whose turn it is: some are let in at a time, and who asks is told when the next message is due."""

from datetime import datetime, timedelta
from itertools import chain

import pytest
from sqlalchemy import update

from reelq.job import Status
from reelq.store import turns
from reelq.store.due import SOON, due
from reelq.store.models import Account, Job
from tests.databases import change, moment
from tests.integration.desks import Desk


def _many(desk: Desk, count: int) -> str:
    return desk.submit(*(f"beach.mp4,Trim it to {number} s," for number in range(1, count + 1))).batch_id


def _let_in(desk: Desk, now: datetime | None = None) -> list[str]:
    with desk.store.write() as session:
        return [message.job_id for message in turns.admit(session, now or desk.store.now(session))]


def _now(desk: Desk) -> datetime:
    with desk.store.read() as session:
        return desk.store.now(session)


def _begin(desk: Desk, *ids: str) -> None:
    """As if a worker had taken their messages."""
    with desk.store.write() as session:
        until = desk.store.now(session) + timedelta(seconds=60)
        taken = {"status": Status.RUNNING, "admitted": True, "publish_at": None, "lease_until": until, "worker": "w"}
        session.execute(update(Job).where(Job.id.in_(ids)).values(taken))


def test_rows_are_let_in_some_at_a_time_in_their_order(desk: Desk) -> None:
    ids = [job.id for job in desk.jobs(_many(desk, 10))]
    change(desk.store, Account, desk.account, window=64)
    rounds = []
    for _ in range(4):
        rounds.append(_let_in(desk))
        _begin(desk, *rounds[-1])
    assert [len(each) for each in rounds] == [4, 4, 2, 0]
    assert [*chain(*rounds)] == ids


def test_none_is_let_in_while_many_wait_for_a_worker(desk: Desk) -> None:
    _many(desk, 20)
    change(desk.store, Account, desk.account, window=64)
    now = _now(desk)
    first = _let_in(desk, now)
    assert [len(first), len(_let_in(desk, now)), len(_let_in(desk, now))] == [4, 4, 0]
    _begin(desk, first[0])
    assert len(_let_in(desk, now)) == 4


def test_of_many_in_flight_a_quarter_may_wait(desk: Desk) -> None:
    ids = [job.id for job in desk.jobs(_many(desk, 80))]
    change(desk.store, Account, desk.account, window=200)
    _begin(desk, *ids[:40])
    # Sixteen of fifty-six are more than that, and twelve of fifty-two are not.
    now = _now(desk)
    assert [len(_let_in(desk, now)) for _ in range(5)] == [4, 4, 4, 4, 0]


@pytest.mark.parametrize(
    ("publish_in", "due_in"),
    [
        pytest.param(50.0, -10.0, id="lost: it went out ten seconds ago"),
        pytest.param(60.0, 60.0, id="a render that is looked at in a minute"),
        pytest.param(-0.1, -0.1, id="it has to go out"),
    ],
)
def test_what_does_not_wait_for_a_worker_holds_nobody_up(desk: Desk, publish_in: float, due_in: float) -> None:
    ids = [job.id for job in desk.jobs(_many(desk, 20))]
    change(desk.store, Account, desk.account, window=64)
    with moment(desk.store) as (session, now):
        publish_at, due_at = now + timedelta(seconds=publish_in), now + timedelta(seconds=due_in)
        others = update(Job).where(Job.id.in_(ids[:10]))
        session.execute(others.values(admitted=True, publish_at=publish_at, due_at=due_at))
    assert len(_let_in(desk)) == 4


def test_what_is_due_goes_out_and_the_next_is_told_of_if_it_is_soon(desk: Desk) -> None:
    first, second, third = (job.id for job in desk.jobs(_many(desk, 3)))
    _let_in(desk)
    with moment(desk.store) as (session, now):
        for job_id, seconds in ((first, -1.0), (second, 0.1), (third, 0.15)):
            session.get_one(Job, job_id).publish_at = now + timedelta(seconds=seconds)
    with desk.store.write() as session:
        messages, _, soon = due(session, now, 9)
    assert [message.job_id for message in messages] == [first]
    assert soon == now + timedelta(seconds=0.1)
    with desk.store.write() as session:
        messages, _, soon = due(session, now + timedelta(seconds=0.12), 9)
    assert [message.job_id for message in messages] == [second]
    assert soon == now + timedelta(seconds=0.15)
    with desk.store.write() as session:
        assert due(session, now + timedelta(seconds=0.2), 9).soon is None


def test_what_is_due_later_than_soon_is_not_told_of(desk: Desk) -> None:
    (job,) = desk.jobs(_many(desk, 1))
    _let_in(desk)
    with moment(desk.store) as (session, now):
        session.get_one(Job, job.id).publish_at = now + SOON + timedelta(seconds=0.01)
    with desk.store.write() as session:
        assert due(session, now, 9) == ([], [], None)
