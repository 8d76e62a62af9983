"""What a person asks of a batch or a row, in the database: in pieces, again after it was cut short, and of twins."""

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

import pytest
from sqlalchemy import select

from reelq.cli.here import InDatabase
from reelq.cli.named import batch_named
from reelq.errors import UnknownName
from reelq.job import Cause, Stage, Status
from reelq.store import batches, handling, jobs
from reelq.store.batchlist import how_many, standings
from reelq.store.handling import Handled
from reelq.store.models import Account, Batch, BatchState, Job, JobEvent
from reelq.store.moves import Position
from reelq.store.overview import snapshot
from reelq.store.session import Store, Transaction
from tests.databases import add_account, add_batch, add_job, change, found, moment
from tests.integration.desks import TWO, Desk


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
    with store.read() as session:
        return {status: count for (_, status), count in batches.counts(session, batch_id).items()}


@pytest.mark.parametrize(("session", "then"), [("", Status.CANCELLED), ("take", Status.QUEUED)])
def test_a_row_of_a_cancelled_batch_that_is_retried_opens_it_again_and_rows_of_its_session_follow(
    desk: Desk, session: str, then: Status
) -> None:
    batch_id = desk.submit(*(f"{row}{session}" for row in TWO)).batch_id
    assert handling.cancel_batch(desk.store, batch_id) == Handled(2)
    assert found(desk.store, Batch, batch_id).state is BatchState.CANCELLED
    first, second = desk.jobs(batch_id)
    assert (first.error_code, second.error_code) == ("", "predecessor" if session else "")
    assert handling.retry_row(desk.store, first.id)
    # Else whoever takes the row would cancel it once more.
    assert found(desk.store, Batch, batch_id).state is BatchState.ACTIVE
    assert (desk.job(first.id).status, desk.job(second.id).status) == (Status.QUEUED, then)


def test_a_batch_is_released_cancelled_and_retried_whole_though_it_is_done_in_pieces(store: Store) -> None:
    batch = _rows(store, *[Cause.PAUSED] * 7)
    assert handling.resume_batch(store, batch, at_once=3) == Handled(7)
    assert _counts(store, batch) == {"queued": 7}
    assert handling.cancel_batch(store, batch, at_once=3) == Handled(7)
    assert _counts(store, batch) == {"cancelled": 7}
    failed = _rows(store, *[Status.FAILED] * 7, error_code="no_effect", stage=Stage.VERIFY)
    assert handling.retry_batch(store, failed, at_once=3) == Handled(7)
    assert _counts(store, failed) == {"queued": 7}


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
        handling.cancel_batch(_Interrupted(store.url, engine=store.engine), batch, at_once=2)
    assert found(store, Batch, batch).state is BatchState.CANCELLED
    assert _counts(store, batch) == {"cancelled": 2, "queued": 3}
    assert handling.cancel_batch(store, batch) == Handled(3, not_so=2)


def test_rows_cancelled_at_once_each_have_their_event_and_are_written_under_their_own_run(store: Store) -> None:
    batch = _rows(store, *[Status.QUEUED] * 3, run=4, stage=Stage.VERIFY)
    with store.write() as session:
        ids = batches.ids_of(session, batch)
        jobs.change(
            session, Position.of(session.get_one(Job, ids[1])), stage=Stage.POLL, run=5, publish_at=store.now(session)
        )
        jobs.change(session, Position.of(session.get_one(Job, ids[2])), status=Status.SUCCEEDED)
    assert handling.cancel_batch(store, batch) == Handled(2, not_so=1)
    with store.read() as session:
        told = session.execute(select(JobEvent).order_by(JobEvent.job_id)).scalars().all()
        first, second, third = (session.get_one(Job, job_id) for job_id in ids)
    assert [(one.job_id, one.batch_id, one.run, one.stage, one.before, one.after) for one in told] == [
        (ids[0], batch, 4, Stage.VERIFY, "queued", "cancelled"),
        (ids[1], batch, 5, Stage.POLL, "queued", "cancelled"),
    ]
    assert first.finished_at is not None
    assert (second.status, second.stage, second.publish_at, second.admitted) == (
        Status.CANCELLED,
        Stage.POLL,
        None,
        False,
    )
    assert third.status is Status.SUCCEEDED


def test_resuming_a_batch_leaves_its_twins_waiting_for_whom_they_wait_for(desk: Desk) -> None:
    first = desk.submit(TWO[0])
    joined = desk.submit(TWO[0], name="other").batch_id
    handling.pause_batch(desk.store, joined)
    handling.resume_batch(desk.store, joined)
    (twin,) = desk.jobs(joined)
    assert (twin.status, twin.cause) == (Status.WAITING, Cause.TWIN)
    assert handling.resume_batch(desk.store, joined) == Handled(0)
    assert not handling.resume_row(desk.store, twin.id)
    desk.succeed(desk.jobs(first.batch_id)[0])
    assert desk.job(twin.id).stage is Stage.DOWNLOAD


def test_a_batch_whose_rows_a_newer_one_took_along_is_listed_and_named_no_more(desk: Desk) -> None:
    old = desk.submit(TWO[0]).batch_id
    new = desk.submit(*TWO).batch_id
    assert old != new
    with desk.store.read() as session:
        assert [one.batch.id for one in standings(session, "me", 10)] == [new]
        assert how_many(session, "me") == 1
    assert batch_named(InDatabase(desk.store, "me"), "jobs").batch_id == new
    with pytest.raises(UnknownName) as refused:
        batch_named(InDatabase(desk.store, "me"), old)
    assert new in refused.value.advice


def test_cancel_pause_and_resume_tell_how_many_rows_they_met(store: Store) -> None:
    batch = _rows(store, Status.RUNNING, Cause.PAUSED, Status.QUEUED, Status.FAILED)
    change(store, Batch, batch, released=2, limit_credits=10)
    assert handling.resume_batch(store, batch) == Handled(2)
    with store.read() as session:
        told = snapshot(session, batch, store.now(session))
    assert (told.released, told.limit_credits, told.moving) == (None, None, 3)
    assert handling.resume_batch(store, batch) == Handled(0)
    assert handling.pause_batch(store, batch) == (BatchState.PAUSED, Handled(2, soon=1))
    assert handling.resume_batch(store, batch) == Handled(2)
    assert handling.cancel_batch(store, batch) == Handled(2, not_so=1, soon=1)
    assert handling.cancel_batch(store, batch) == Handled(0, not_so=3, soon=1)


def test_a_single_row_is_resumed_retried_and_cancelled_where_that_applies(store: Store) -> None:
    batch = _rows(store, Cause.CREDITS, Status.SUCCEEDED, Status.RUNNING)
    with store.read() as session:
        waits, ended, runs = batches.ids_of(session, batch)
        account = session.get_one(Job, waits).account_id
    change(store, Account, account, parked=Cause.CREDITS)
    assert [handling.resume_row(store, job_id) for job_id in (waits, waits, ended)] == [True, False, False]
    assert found(store, Account, account).parked is None
    cancelled = [handling.cancel_row(store, job_id) for job_id in (waits, ended, runs)]
    assert cancelled == [Handled(1), Handled(0, not_so=1), Handled(0, soon=1)]
    # A row at work is only asked to end, so that its worker writes down what it has.
    assert (found(store, Job, runs).status, found(store, Job, runs).cancel_wished) == (Status.RUNNING, True)
    assert [handling.retry_row(store, job_id) for job_id in (waits, ended, runs)] == [True, False, False]


# What was paid for is kept


@pytest.mark.parametrize("stage", [Stage.VERIFY, Stage.RENDER, Stage.POLL, Stage.DOWNLOAD])
@pytest.mark.parametrize("end", [Status.CANCELLED, Status.FAILED])
def test_a_retry_goes_on_from_where_the_row_ended_in_the_session_that_it_has(
    store: Store, stage: Stage, end: Status
) -> None:
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
    assert handling.retry_row(store, job_id)
    job = found(store, Job, job_id)
    assert (job.status, job.stage, job.run, job.remote_session_id) == (Status.QUEUED, stage, 2, "ses_1")
