"""What a batch cost is known wherever its rows are taken along to, and of sends that were made before it was kept."""

from sqlalchemy import text

from reelq.store import credits, migrate, sends
from reelq.store.models import Job, Send
from reelq.store.overview import snapshot
from reelq.store.session import Store
from tests.databases import add_account, add_batch, add_job, add_send, moment
from tests.integration.desks import TWO, Desk


def _spent(store: Store, batch_id: str) -> tuple[int, int]:
    """By the limit's count, and as it is shown."""
    with store.read() as session:
        return credits.spent(session, batch_id=batch_id), snapshot(session, batch_id, store.now(session)).credits


def test_a_row_that_is_taken_along_takes_its_costs_along(desk: Desk) -> None:
    old = desk.submit(*TWO).batch_id
    desk.succeed(desk.jobs(old)[0])
    assert _spent(desk.store, old) == (7, 7)
    new = desk.submit(TWO[0], "forest.mp4,Add other music,").batch_id
    assert new != old
    assert (_spent(desk.store, new), _spent(desk.store, old)) == ((7, 7), (0, 0))


def test_a_decision_to_send_is_the_batchs_that_the_row_is_in(store: Store) -> None:
    with moment(store) as (session, now):
        job = session.get_one(Job, add_job(session, now))
        made = session.get_one(Send, sends.intend(session, job.id, now, None, "").id)
        assert (made.batch_id, made.text) == (job.batch_id, job.instruction)


def test_sends_of_an_older_version_are_told_their_batches(own_store: Store) -> None:
    with moment(own_store) as (session, now):
        batch, account = add_batch(session, now), add_account(session, now)
        add_send(session, now, add_job(session, now, batch_id=batch, account_id=account), account, cost=9)
    migrate.downgrade(own_store, "0002")
    with own_store.write() as session:
        assert session.scalar(text("SELECT cost FROM sends")) == 9
    migrate.upgrade(own_store)
    assert _spent(own_store, batch) == (9, 9)
