"""Rows that end in the midst of something: what they leave open, who waited for them, and what a retry goes on from."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from reelq.errors import CannotRefine, CreditsExhausted, SessionBusy
from reelq.job import Cause, Stage, Status
from reelq.settings import Settings
from reelq.store import actions, handling, jobs
from reelq.store.jobs import Claimed, Lease, Missed
from reelq.store.models import Account, Job, Outcome, Send
from reelq.store.orders import Fate
from reelq.store.secrets import Vault
from reelq.store.session import Store
from tests.databases import add_job, add_send, change, found, moment
from tests.integration.desks import REEL, Desk, fates
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


def test_a_row_behind_one_that_has_ended_badly_is_told_so_and_comes_with_its_retry(desk: Desk) -> None:
    first, second, third = desk.jobs(desk.submit(*REEL).batch_id)
    desk.fail(first)
    assert desk.act(actions.retry, second)
    assert _claim(desk.store, second.id, Stage.UPLOAD, run=2) is Missed.HELD
    told = desk.job(second.id)
    assert (told.status, told.error_code) == (Status.CANCELLED, "predecessor")
    assert "`reelq retry` on that row" in told.error
    assert desk.act(actions.retry, first)
    assert [desk.job(job.id).status for job in (first, second, third)] == [Status.QUEUED] * 3
    assert _claim(desk.store, second.id, Stage.UPLOAD, run=3) is Missed.HELD
    assert desk.job(second.id).cause is Cause.SESSION


def test_a_row_whose_session_is_lost_begins_again_with_those_that_it_builds_on(desk: Desk) -> None:
    batch = desk.submit(*REEL).batch_id
    first, second, third = desk.jobs(batch)
    desk.succeed(first)
    desk.fail(desk.job(second.id), Stage.EDIT, "session_lost")
    assert desk.act(actions.retry, second)
    for job in (first, second, third):
        again = desk.job(job.id)
        assert (again.status, again.stage, again.remote_session_id) == (Status.QUEUED, Stage.UPLOAD, "")
    assert "what it builds on went with its session" in desk.words(first)[-1]
    assert _claim(desk.store, second.id, Stage.UPLOAD, run=2) is Missed.HELD
    assert desk.job(second.id).cause is Cause.SESSION


def test_a_row_that_comes_late_works_in_the_session_of_the_row_before_it_all_the_same(desk: Desk) -> None:
    batch = desk.submit(*REEL[:2]).batch_id
    first, second = desk.jobs(batch)
    desk.succeed(first)
    desk.fail(desk.job(second.id), Stage.EDIT, "session_lost")
    assert desk.act(actions.retry, second)
    desk.end(desk.begin(desk.job(first.id), Stage.DOWNLOAD), Status.SUCCEEDED)  # before the second one is taken
    claimed = _claim(desk.store, second.id, Stage.UPLOAD, run=2)
    assert isinstance(claimed, Claimed)
    assert claimed.job.remote_session_id == desk.job(first.id).remote_session_id != ""


def test_a_refinement_whose_session_is_lost_has_nothing_to_begin_again_with(desk: Desk) -> None:
    first = desk.jobs(desk.submit(REEL[0]).batch_id)[0]
    desk.succeed(first)
    (refined,) = desk.jobs(handling.refine_row(desk.store, first.id, "Make it brighter")[0])
    desk.fail(refined, Stage.EDIT, "session_lost")
    with pytest.raises(CannotRefine, match="is gone"):
        handling.retry_row(desk.store, refined.id)
    assert handling.retry_batch(desk.store, refined.batch_id).done == 0
    assert (desk.job(first.id).status, desk.job(refined.id).status) == (Status.SUCCEEDED, Status.FAILED)


def test_a_session_that_is_built_up_once_more_leaves_refinements_out(desk: Desk) -> None:
    first = desk.jobs(desk.submit(REEL[0]).batch_id)[0]
    desk.succeed(first)
    (refined,) = desk.jobs(handling.refine_row(desk.store, first.id, "Make it brighter")[0])
    desk.succeed(refined)
    batch = desk.submit(*REEL[:2]).batch_id
    second = desk.jobs(batch)[1]
    assert second.after_id == refined.id
    desk.fail(second, Stage.EDIT, "session_lost")
    desk.submit(*REEL[:2], retry_failed=True)
    assert [(job.after_id, job.stage) for job in desk.jobs(batch)] == [(None, Stage.UPLOAD), (first.id, Stage.UPLOAD)]
    assert desk.job(refined.id).status is Status.SUCCEEDED


def test_a_manifest_that_retries_such_a_row_says_before_what_that_sends(desk: Desk) -> None:
    batch = desk.submit(*REEL).batch_id
    desk.succeed(desk.jobs(batch)[0])
    desk.fail(desk.jobs(batch)[1], Stage.EDIT, "session_lost")
    assert desk.plan(*REEL).sends == 0
    plan = desk.plan(*REEL, retry_failed=True)
    assert (plan.sends, plan.session_reruns) == (3, 3)
    assert set(fates(desk.submit(*REEL, retry_failed=True))) == {Fate.AGAIN}
    assert [(job.stage, job.remote_session_id) for job in desk.jobs(batch)] == [(Stage.UPLOAD, "")] * 3


def test_a_file_that_was_refused_goes_into_the_session_that_its_row_shares(desk: Desk) -> None:
    first, second = desk.jobs(desk.submit(REEL[0], "forest.mp4,Add music,reel").batch_id)
    desk.succeed(first)
    shared = desk.job(second.id).remote_session_id
    assert shared
    change(desk.store, Job, second.id, upload_baseline="as it was")
    desk.fail(desk.job(second.id), Stage.UPLOAD, "file_unreadable")
    assert desk.act(actions.retry, second)
    again = desk.job(second.id)
    # With what the draft was like before, one that has changed since would say that the file is there.
    assert (again.remote_session_id, again.upload_baseline) == (shared, "")


def test_a_429_brings_no_moment_forward(store: Store) -> None:
    job = _in_doubt(store)
    with store.write() as session:
        until = store.now(session) + timedelta(minutes=9)
        session.execute(update(Account).values(blocked_until=until, block_seconds=540))
    assert _claim(store, job.id, Stage.VERIFY) is Missed.HELD
    assert found(store, Job, job.id).due_at == job.due_at
