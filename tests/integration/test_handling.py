"""What a person asks of a batch or a row, in the database: in pieces, again after it was cut short, and of twins."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from sqlalchemy import Select, select, update

from reelq.cli.backends.local import DatabaseDirectory
from reelq.cli.targets import resolve_batch
from reelq.errors import CreditsExhausted, SessionBusy, UnknownName
from reelq.job import Cause, Stage, Status
from reelq.store import commands
from reelq.store.commands import ActionCounts
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Account, Batch, BatchState, Job, JobEvent, Outcome, Send
from reelq.store.jobs import leases, retries
from reelq.store.jobs.claims import NotClaimed
from reelq.store.queries.batch_status import snapshot
from reelq.store.queries.lookup import count_batches, list_with_counts
from tests.databases import add_account, add_batch, add_job, add_send, change, done, found, moment, selected
from tests.integration.desks import REEL, TWO, Desk, claim, claim_one, record


def _rows(store: Store, *how: Status | Cause, **values: Any) -> str:
    """A batch with a row of each of these."""
    with moment(store) as (session, now):
        batch, account = add_batch(session, now), add_account(session, now, credential=token_hex(8))
        for row, each in enumerate(how, 1):
            so: dict[str, Any] = (
                {"cause": each, "status": Status.WAITING} if isinstance(each, Cause) else {"status": each}
            )
            so |= {"lease_until": now, "worker": "w", "admitted": True} if each is Status.RUNNING else {}
            add_job(session, now, batch_id=batch, account_id=account, row=row, **so, **values)
    return batch


def _counts(store: Store, batch_id: str) -> dict[str, int]:
    return {str(status): count for status, count in done(store, commands.job_counts, batch_id).items()}


@pytest.mark.parametrize(("session", "then"), [("", Status.CANCELLED), ("take", Status.QUEUED)])
def test_a_retried_row_opens_its_cancelled_batch_and_its_session_follows(
    desk: Desk, session: str, then: Status
) -> None:
    batch_id = desk.submit(*(f"{row}{session}" for row in TWO)).batch_id
    assert commands.cancel_batch(desk.store, batch_id) == ActionCounts(2)
    assert found(desk.store, Batch, batch_id).state is BatchState.CANCELLED
    first, second = desk.jobs(batch_id)
    assert (first.error_code, second.error_code) == ("", "predecessor" if session else "")
    assert commands.retry_row(desk.store, first.id)
    # Else whoever takes the row would cancel it once more.
    assert found(desk.store, Batch, batch_id).state is BatchState.ACTIVE
    assert (desk.job(first.id).status, desk.job(second.id).status) == (Status.QUEUED, then)


def test_a_batch_is_released_cancelled_and_retried_whole_though_it_is_done_in_pieces(store: Store) -> None:
    batch = _rows(store, *[Cause.PAUSED] * 7)
    assert commands.resume_batch(store, batch, at_once=3) == ActionCounts(7)
    assert _counts(store, batch) == {"queued": 7}
    assert commands.cancel_batch(store, batch, at_once=3) == ActionCounts(7)
    assert _counts(store, batch) == {"cancelled": 7}
    failed = _rows(store, *[Status.FAILED] * 7, error_code="no_effect", stage=Stage.VERIFY)
    assert commands.retry_batch(store, failed, at_once=3) == ActionCounts(7)
    assert _counts(store, failed) == {"queued": 7}


def _ids_of(batch_id: str) -> Select[str]:
    return select(Job.id).where(Job.batch_id == batch_id).order_by(Job.row)


class _Interrupted(Store):
    """A store of a process that is interrupted as it begins its third transaction."""

    begun = 0

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Transaction]:
        self.begun += 1
        if self.begun == 3:
            raise KeyboardInterrupt
        with super().write(urgent=urgent) as session:
            yield session


def test_a_cancellation_that_was_cut_short_lets_nothing_begin_and_can_be_asked_for_again(store: Store) -> None:
    batch = _rows(store, *[Status.QUEUED] * 5)
    with pytest.raises(KeyboardInterrupt):
        commands.cancel_batch(_Interrupted(store.url, engine=store.engine), batch, at_once=2)
    assert found(store, Batch, batch).state is BatchState.CANCELLED
    assert _counts(store, batch) == {"cancelled": 2, "queued": 3}
    assert commands.cancel_batch(store, batch) == ActionCounts(3, not_so=2)


def test_rows_cancelled_at_once_each_have_their_event_and_are_written_under_their_own_run(store: Store) -> None:
    batch = _rows(store, *[Status.QUEUED] * 3, run=4, stage=Stage.VERIFY)
    ids = selected(store, _ids_of(batch))
    change(store, Job, ids[1], stage=Stage.POLL, run=5, publish_at=done(store, store.now))
    change(store, Job, ids[2], status=Status.SUCCEEDED)
    assert commands.cancel_batch(store, batch) == ActionCounts(2, not_so=1)
    with store.read() as session:
        told = session.execute(select(JobEvent).order_by(JobEvent.job_id)).scalars().all()
        first, second, third = (session.get_one(Job, job_id) for job_id in ids)
    assert [(one.job_id, one.batch_id, one.run, one.stage, one.before, one.after) for one in told] == [
        (ids[0], batch, 4, Stage.VERIFY, "queued", "cancelled"),
        (ids[1], batch, 5, Stage.POLL, "queued", "cancelled"),
    ]
    assert first.finished_at is not None
    assert (second.status, second.stage) == (Status.CANCELLED, Stage.POLL)
    assert (second.publish_at, second.admitted) == (None, False)
    assert third.status is Status.SUCCEEDED


def test_resuming_a_batch_leaves_its_twins_waiting_for_whom_they_wait_for(desk: Desk) -> None:
    first = desk.submit(TWO[0])
    joined = desk.submit(TWO[0], name="other").batch_id
    commands.pause_batch(desk.store, joined)
    commands.resume_batch(desk.store, joined)
    (twin,) = desk.jobs(joined)
    assert (twin.status, twin.cause) == (Status.WAITING, Cause.TWIN)
    assert commands.resume_batch(desk.store, joined) == ActionCounts(0)
    assert not commands.resume_row(desk.store, twin.id)
    desk.succeed(desk.jobs(first.batch_id)[0])
    assert desk.job(twin.id).stage is Stage.DOWNLOAD


def test_a_batch_whose_rows_a_newer_one_took_along_is_listed_and_named_no_more(desk: Desk) -> None:
    old = desk.submit(TWO[0]).batch_id
    new = desk.submit(*TWO).batch_id
    assert old != new
    with desk.store.read() as session:
        assert [one.id for one in list_with_counts(session, "me", 10)] == [new]
        assert count_batches(session, "me") == 1
    assert resolve_batch(DatabaseDirectory(desk.store, "me"), "jobs").batch_id == new
    with pytest.raises(UnknownName) as refused:
        resolve_batch(DatabaseDirectory(desk.store, "me"), old)
    assert new in refused.value.advice


def test_cancel_pause_and_resume_tell_how_many_rows_they_met(store: Store) -> None:
    batch = _rows(store, Status.RUNNING, Cause.PAUSED, Status.QUEUED, Status.FAILED)
    change(store, Batch, batch, released=2, limit_credits=10)
    assert commands.resume_batch(store, batch) == ActionCounts(2)
    with store.read() as session:
        told = snapshot(session, batch, store.now(session))
    assert (told.released, told.limit_credits, told.moving_count) == (None, None, 3)
    assert commands.resume_batch(store, batch) == ActionCounts(0)
    assert commands.pause_batch(store, batch) == (BatchState.PAUSED, ActionCounts(2, soon=1))
    assert commands.resume_batch(store, batch) == ActionCounts(2)
    assert commands.cancel_batch(store, batch) == ActionCounts(2, not_so=1, soon=1)
    assert commands.cancel_batch(store, batch) == ActionCounts(0, not_so=3, soon=1)


def test_a_single_row_is_resumed_retried_and_cancelled_where_that_applies(store: Store) -> None:
    batch = _rows(store, Cause.CREDITS, Status.SUCCEEDED, Status.RUNNING)
    with store.read() as session:
        waits, ended, runs = session.scalars(_ids_of(batch))
        account = session.get_one(Job, waits).account_id
    change(store, Account, account, parked=Cause.CREDITS)
    assert [commands.resume_row(store, job_id) for job_id in (waits, waits, ended)] == [True, False, False]
    assert found(store, Account, account).parked is None
    cancelled = [commands.cancel_row(store, job_id) for job_id in (waits, ended, runs)]
    assert cancelled == [ActionCounts(1), ActionCounts(0, not_so=1), ActionCounts(0, soon=1)]
    # A row at work is only asked to end, so that its worker writes down what it has.
    assert (found(store, Job, runs).status, found(store, Job, runs).cancel_wished) == (Status.RUNNING, True)
    assert [commands.retry_row(store, job_id) for job_id in (waits, ended, runs)] == [True, False, False]


# What was paid for is kept


@pytest.mark.parametrize("stage", [Stage.VERIFY, Stage.RENDER, Stage.POLL, Stage.DOWNLOAD])
@pytest.mark.parametrize("end", [Status.CANCELLED, Status.FAILED])
def test_a_retry_goes_on_where_the_row_ended_in_its_session(store: Store, stage: Stage, end: Status) -> None:
    code = "cannot_write" if end is Status.FAILED else ""
    with moment(store) as (session, now):
        ended: dict[str, Any] = {
            "status": end,
            "stage": stage,
            "remote_session_id": "ses_1",
            "finished_at": now,
            "error_code": code,
        }
        job_id = add_job(session, now, **ended)
    assert commands.retry_row(store, job_id)
    job = found(store, Job, job_id)
    assert (job.status, job.stage, job.run, job.remote_session_id) == (Status.QUEUED, stage, 2, "ses_1")


# Rows that end in the midst of something: what they leave open, who waited for them, and what a retry goes on from.


def _recorded(store: Store, stage: Stage, what: object, folder: Path, **then: object) -> Job:
    """What becomes of a row of which this came, and with which this happened meanwhile."""
    claimed = claim_one(store, stage)
    change(store, Job, claimed.job.id, **then)
    record(store, claimed, what, folder)
    return found(store, Job, claimed.job.id)


def test_a_row_that_is_to_be_cancelled_does_not_come_to_wait_for_credits(store: Store, tmp_path: Path) -> None:
    job = _recorded(store, Stage.EDIT, CreditsExhausted(), tmp_path, cancel_wished=True)
    assert job.status is Status.CANCELLED
    assert _recorded(store, Stage.EDIT, CreditsExhausted(), tmp_path, lapses=0).cause is Cause.CREDITS


def test_an_export_that_the_service_never_takes_uses_up_its_looks(store: Store, tmp_path: Path) -> None:
    job = _recorded(store, Stage.POLL, SessionBusy(), tmp_path, lapses=0)
    assert (job.status, job.looks, job.attempts) == (Status.QUEUED, 1, 0)
    second = _recorded(store, Stage.POLL, SessionBusy(), tmp_path, looks=7, renders=2)  # written since it was claimed
    assert second.looks == 8


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
    return claim(store, job.id, Stage.VERIFY)


def _poisoned(store: Store, job: Job) -> object:
    with moment(store) as (session, now):
        gone = {"status": Status.RUNNING, "lapses": 9, "lease_until": now - timedelta(seconds=1), "publish_at": None}
        session.execute(update(Job).where(Job.id == job.id).values(**gone))
        return leases.requeue_expired(session, now, 9, 30, 20)


@pytest.mark.parametrize(
    "how",
    [
        lambda store, job: commands.cancel_row(store, job.id),
        lambda store, job: commands.cancel_batch(store, job.batch_id),
        _cancelled_by_its_claim,
        _poisoned,
    ],
    ids=["its row is cancelled", "its batch is cancelled", "its claim ends it", "workers die of it"],
)
def test_a_row_that_ends_leaves_no_lost_stream_open(store: Store, how: Callable[[Store, Job], object]) -> None:
    job = _in_doubt(store)
    how(store, job)
    # Left open it would take its part of whatever the account spends, for ever.
    assert _send(store, job) == (Outcome.UNCONFIRMED, True)
    assert commands.retry_row(store, job.id)
    with store.read() as session:
        again = session.get_one(Job, job.id)
        # What was read before does not count: two reads agree only when some time lies between them.
        assert session.execute(select(Send.read_fingerprint).where(Send.job_id == job.id)).scalar_one() == ""
    assert (again.stage, again.resend, _send(store, job)) == (Stage.VERIFY, True, (Outcome.OPEN, False))


def test_a_stream_that_ended_well_is_no_doubt_though_its_row_ends(store: Store) -> None:
    job = _in_doubt(store, ended_well=True)
    commands.cancel_row(store, job.id)
    assert _send(store, job) == (Outcome.OPEN, False)


def test_a_429_brings_no_moment_forward(store: Store) -> None:
    job = _in_doubt(store)
    with store.write() as session:
        until = store.now(session) + timedelta(minutes=9)
        session.execute(update(Account).values(blocked_until=until, block_seconds=540))
    assert claim(store, job.id, Stage.VERIFY) is NotClaimed.HELD
    assert found(store, Job, job.id).due_at == job.due_at


# Play goes on when its stand-in service has ended: what was begun there begins anew, what succeeded is kept.


@pytest.fixture
def new_account(desk: Desk) -> str:
    """The account with the service that is there now."""
    with desk.store.write() as session:
        return add_account(session, desk.store.now(session), service_url="http://127.0.0.1:2")


def _begin_anew(desk: Desk, account: str, batch_id: str) -> int:
    with desk.store.write() as session:
        return retries.restart_on_account(session, account, batch_id, desk.store.now(session))


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
