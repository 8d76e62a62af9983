"""Rows that end in the midst of something: what they leave open, who waited for them, and what a retry goes on from."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from reelq.errors import CreditsExhausted, SessionBusy
from reelq.job import Cause, Stage, Status
from reelq.settings import Settings
from reelq.store import handling, jobs, submissions
from reelq.store.jobs import Claimed, Lease, Missed
from reelq.store.models import Account, Job, Outcome, Send
from reelq.store.secrets import Vault
from reelq.store.session import Store
from tests.databases import add_account, add_job, add_send, change, found, moment
from tests.integration.desks import REEL, TWO, Desk
from worker.recorder import Recorder
from worker.verdict import PARKED


def _recorded(store: Store, stage: Stage, what: object, folder: Path, **then: object) -> Job:
    """What becomes of a row of which this came, and with which this happened meanwhile."""
    with store.write() as session:
        job_id = add_job(session, store.now(session), stage=stage)
    claimed = _claim(store, job_id, stage)
    assert isinstance(claimed, Claimed)
    change(store, Job, job_id, **then)
    Recorder(store, Vault("a key for tests, long enough"), Settings(reelq_data_dir=folder), folder).record(
        claimed, what
    )
    return found(store, Job, job_id)


def test_a_row_that_is_to_be_cancelled_does_not_come_to_wait_for_credits(store: Store, tmp_path: Path) -> None:
    job = _recorded(store, Stage.EDIT, CreditsExhausted(), tmp_path, cancel_wished=True)
    assert job.status is Status.CANCELLED
    assert _recorded(store, Stage.EDIT, CreditsExhausted(), tmp_path, lapses=0).cause is Cause.CREDITS


def test_an_export_that_the_service_never_takes_uses_up_its_looks(store: Store, tmp_path: Path) -> None:
    job = _recorded(store, Stage.POLL, SessionBusy(), tmp_path, lapses=0)
    assert (job.status, job.looks, job.attempts) == (Status.QUEUED, 1, 0)
    second = _recorded(store, Stage.POLL, SessionBusy(), tmp_path, looks=7, renders=2)  # written since it was claimed
    assert second.looks == 8


def _claim(store: Store, job_id: str, stage: Stage, run: int = 1) -> object:
    with store.write() as session:
        return jobs.claim(session, store.now(session), job_id, run, stage, Lease("w", 20), PARKED)


def _in_doubt(store: Store, *, ended_well: bool = False) -> Job:
    """A row whose stream was lost, and that is to be settled by a read some time from now."""
    with moment(store) as (session, now):
        job_id = add_job(session, now, stage=Stage.VERIFY, admitted=True, due_at=now + timedelta(hours=1))
        job = session.get_one(Job, job_id)
        add_send(session, now, job_id, job.account_id, ended_well=ended_well, read_fingerprint="half an edit")
        return job


def _send(store: Store, job: Job) -> tuple[Outcome, bool]:
    with store.read() as session:
        send = session.scalars(select(Send).where(Send.job_id == job.id)).one()
        return send.outcome, send.settled_at is not None


def _cancelled_by_its_claim(store: Store, job: Job) -> object:
    change(store, Job, job.id, cancel_wished=True, due_at=job.created_at)
    return _claim(store, job.id, Stage.VERIFY)


def _poisoned(store: Store, job: Job) -> object:
    with moment(store) as (session, now):
        gone = {"status": Status.RUNNING, "lapses": 9, "lease_until": now - timedelta(seconds=1), "publish_at": None}
        session.execute(update(Job).where(Job.id == job.id).values(**gone))
        return jobs.rescue(session, now, 9, 30, 20)


@pytest.mark.parametrize(
    "how",
    [
        lambda store, job: handling.cancel_row(store, job.id),
        lambda store, job: handling.cancel_batch(store, job.batch_id),
        _cancelled_by_its_claim,
        _poisoned,
    ],
    ids=["its row is cancelled", "its batch is cancelled", "its claim ends it", "workers die of it"],
)
def test_a_row_that_ends_leaves_no_lost_stream_open_and_a_retry_reads_what_became_of_it(
    store: Store, how: Callable[[Store, Job], object]
) -> None:
    job = _in_doubt(store)
    how(store, job)
    # Left open it would take its part of whatever the account spends, for ever.
    assert _send(store, job) == (Outcome.UNCONFIRMED, True)
    assert handling.retry_row(store, job.id)
    with store.read() as session:
        again = session.get_one(Job, job.id)
        # What was read before does not count: two reads agree only when some time lies between them.
        assert session.execute(select(Send.read_fingerprint).where(Send.job_id == job.id)).scalar_one() == ""
    assert (again.stage, again.resend, _send(store, job)) == (Stage.VERIFY, True, (Outcome.OPEN, False))


def test_a_stream_that_ended_well_is_no_doubt_though_its_row_ends(store: Store) -> None:
    job = _in_doubt(store, ended_well=True)
    handling.cancel_row(store, job.id)
    assert _send(store, job) == (Outcome.OPEN, False)


def test_a_429_brings_no_moment_forward(store: Store) -> None:
    job = _in_doubt(store)
    with store.write() as session:
        until = store.now(session) + timedelta(minutes=9)
        session.execute(update(Account).values(blocked_until=until, block_seconds=540))
    assert _claim(store, job.id, Stage.VERIFY) is Missed.HELD
    assert found(store, Job, job.id).due_at == job.due_at


# Play goes on when its stand-in service has ended: what was begun there begins anew, what succeeded is kept.


@pytest.fixture
def new_account(desk: Desk) -> str:
    """The account with the service that is there now."""
    with desk.store.write() as session:
        return add_account(session, desk.store.now(session), service_url="http://127.0.0.1:2")


def _begin_anew(desk: Desk, account: str, batch_id: str) -> int:
    with desk.store.write() as session:
        return submissions.begin_anew(session, account, batch_id, desk.store.now(session))


def test_begun_rows_begin_anew_idle_ones_move_over_and_done_ones_are_kept(desk: Desk, new_account: str) -> None:
    batch_id = desk.submit(*TWO, "beach.mp4,Trim it,").batch_id
    done, begun, idle = desk.jobs(batch_id)
    desk.succeed(done)
    desk.begin(begun, Stage.EDIT)
    desk.sent(begun, Outcome.OPEN)
    assert _begin_anew(desk, new_account, batch_id) == 1
    done, begun, idle = desk.jobs(batch_id)
    assert (done.status, done.account_id) == (Status.SUCCEEDED, desk.account)
    assert (begun.status, begun.stage, begun.run) == (Status.QUEUED, Stage.UPLOAD, 2)
    assert (begun.remote_session_id, begun.account_id, idle.account_id) == ("", new_account, new_account)
    with desk.store.read() as session:
        (send,) = [send for send in session.query(Send) if send.job_id == begun.id]
    assert (send.outcome, send.bears_costs) == (Outcome.UNCONFIRMED, False)
    assert _begin_anew(desk, new_account, batch_id) == 0


def test_all_rows_of_a_session_begin_anew_together(desk: Desk, new_account: str) -> None:
    batch_id = desk.submit(*REEL).batch_id
    desk.succeed(desk.jobs(batch_id)[0])
    assert _begin_anew(desk, new_account, batch_id) == 2
    first, second, third = desk.jobs(batch_id)
    assert [job.remote_session_id for job in (first, second, third)] == ["", "", ""]
    assert (first.stage, first.status, third.status) == (Stage.UPLOAD, Status.QUEUED, Status.WAITING)
    assert {job.account_id for job in (first, second, third)} == {new_account}


def test_rows_that_the_batch_waits_for_begin_anew_with_it_and_others_stay(desk: Desk, new_account: str) -> None:
    awaited, other = desk.jobs(desk.submit(*TWO).batch_id)
    for job in (awaited, other):
        desk.begin(job, Stage.EDIT)
    mine = desk.submit(TWO[0], name="mine").batch_id
    assert _begin_anew(desk, new_account, mine) == 1
    assert (desk.job(awaited.id).account_id, desk.job(other.id).account_id) == (new_account, desk.account)


def test_a_row_that_takes_a_file_that_is_there_needs_no_service(desk: Desk, new_account: str) -> None:
    (original,) = desk.jobs(desk.submit(TWO[0]).batch_id)
    result = desk.succeed(original)
    taken = desk.submit(TWO[0], name="mine").batch_id
    assert _begin_anew(desk, new_account, taken) == 0
    result.unlink()
    with desk.store.write() as session:
        account = add_account(session, desk.store.now(session), service_url="http://127.0.0.1:3")
    assert _begin_anew(desk, account, taken) == 1
