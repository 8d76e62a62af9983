"""Whose turn it is: some are let in at a time, and who asks is told when the next message is due."""

from datetime import timedelta
from itertools import chain

from sqlalchemy import update

from reelq.store import turns
from reelq.store.models import Account, Job
from tests.integration.test_submissions import Desk, desk

__all__ = ["desk"]  # the fixture


def _many(desk: Desk, count: int) -> str:
    return desk.submit(*(f"beach.mp4,Trim it to {number} s," for number in range(1, count + 1))).batch_id


def _let_in(desk: Desk) -> list[str]:
    with desk.store.write() as session:
        return [message.job_id for message in turns.admit(session, desk.store.now(session))]


def test_rows_are_let_in_some_at_a_time_in_their_order(desk: Desk) -> None:
    ids = [job.id for job in desk.jobs(_many(desk, 20))]
    with desk.store.write() as session:
        session.execute(update(Account).values(window=64))
    rounds = [_let_in(desk) for _ in range(4)]
    assert [len(each) for each in rounds] == [8, 8, 4, 0]
    assert [*chain(*rounds)] == ids


def test_what_is_due_goes_out_and_the_next_is_told_of_if_it_is_soon(desk: Desk) -> None:
    first, second, third = (job.id for job in desk.jobs(_many(desk, 3)))
    _let_in(desk)
    with desk.store.write() as session:
        now = desk.store.now(session)
        for job_id, seconds in ((first, -1.0), (second, 0.1), (third, 0.15)):
            session.get_one(Job, job_id).publish_at = now + timedelta(seconds=seconds)
    with desk.store.write() as session:
        messages, soon = turns.due(session, now, 9)
    assert [message.job_id for message in messages] == [first]
    assert soon == now + timedelta(seconds=0.1)
    with desk.store.write() as session:
        messages, soon = turns.due(session, now + timedelta(seconds=0.12), 9)
    assert [message.job_id for message in messages] == [second]
    assert soon == now + timedelta(seconds=0.15)
    with desk.store.write() as session:
        assert turns.due(session, now + timedelta(seconds=0.2), 9)[1] is None


def test_what_is_due_later_than_soon_is_not_told_of(desk: Desk) -> None:
    (job,) = desk.jobs(_many(desk, 1))
    _let_in(desk)
    with desk.store.write() as session:
        now = desk.store.now(session)
        session.get_one(Job, job.id).publish_at = now + turns.SOON + timedelta(seconds=0.01)
    with desk.store.write() as session:
        assert turns.due(session, now, 9) == ([], None)
