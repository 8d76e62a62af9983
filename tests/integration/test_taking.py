"""The short way to claim a job does what the long way does, and leaves to it whatever may stand in the way."""

import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import select

from reelq.job import Cause, Stage, Status
from reelq.store import jobs
from reelq.store.clock import SKEW
from reelq.store.ids import new_id
from reelq.store.jobs import Claimed, Missed
from reelq.store.models import BatchState, Job, JobEvent
from reelq.store.session import Store
from reelq.store.taking import take
from tests.databases import add_account, add_batch, add_job, change, found
from tests.integration.desks import LEASE, NOW, claim_one
from worker.verdict import PARKED

SOON: Final = NOW + timedelta(seconds=30)
LATER: Final = NOW + timedelta(seconds=LEASE.seconds + 1)
FREE: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "a due moment that is nearly there": {"job": {"due_at": NOW + SKEW}},
    "a hold of the account that is over": {"account": {"blocked_until": NOW}},
    "an earlier begin": {"job": {"started_at": NOW - timedelta(hours=1), "publishes": 3, "publish_at": NOW}},
}
IN_THE_WAY: Final[dict[str, dict[str, Any]]] = {
    "a wish to cancel": {"job": {"cancel_wished": True}},
    "a paused batch": {"batch": {"state": BatchState.PAUSED}},
    "a cancelled batch": {"batch": {"state": BatchState.CANCELLED}},
    "a batch whose rows are let go a few at a time": {"batch": {"released": 0}},
    "a row before it in its session": {"job": {"after_id": "before"}},
    "a parked account": {"account": {"parked": Cause.CREDITS, "parked_why": "no credits"}},
    "an account that holds off": {"account": {"blocked_until": SOON}},
    "a moment that has not come": {"job": {"due_at": NOW + 2 * SKEW}},
    "another run": {"job": {"run": 2}},
    "another stage": {"job": {"stage": Stage.EDIT}},
    "another status": {"job": {"status": Status.WAITING, "cause": Cause.PAUSED}},
}


def _add(store: Store, values: dict[str, dict[str, Any]]) -> str:
    with store.write() as session:
        account = add_account(session, NOW, credential=secrets.token_hex(8), **values.get("account", {}))
        batch = add_batch(session, NOW, **values.get("batch", {}))
        job = dict(values.get("job", {}))
        if "after_id" in job:
            job["after_id"] = add_job(session, NOW, batch_id=batch, account_id=account, row=2)
        return add_job(session, NOW, batch_id=batch, account_id=account, **job)


def _as_it_is(store: Store, job_id: str) -> dict[str, Any]:
    """The job's columns, but for what differs between any two."""
    with store.read() as session:
        job = session.get_one(Job, job_id)
        columns = {column.key: getattr(job, column.key) for column in Job.__table__.c}
    return {name: value for name, value in columns.items() if name not in {"id", "batch_id", "account_id", "key"}}


def _events(store: Store, job_id: str) -> list[tuple[Any, ...]]:
    with store.read() as session:
        found = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)).all()
        return [(e.at, e.what, e.run, e.stage, e.before, e.after, e.words) for e in found]


def _claim(store: Store, job_id: str) -> Claimed | Missed:
    with store.write() as session:
        return jobs.claim(session, NOW, job_id, 1, Stage.UPLOAD, LEASE, PARKED)


def _claim_free(store: Store, job_id: str) -> Claimed | None:
    with store.alone() as session:
        return jobs.claim_free(session, NOW, job_id, 1, Stage.UPLOAD, LEASE)


@pytest.mark.parametrize("values", FREE.values(), ids=FREE)
def test_both_ways_leave_a_job_alike(store: Store, values: dict[str, dict[str, Any]]) -> None:
    short, long = _add(store, values), _add(store, values)
    free = _claim_free(store, short)
    assert (free is None) == store.is_sqlite  # which has no such statement
    one, other = free or _claim(store, short), _claim(store, long)
    assert isinstance(one, Claimed)
    assert isinstance(other, Claimed)
    assert (one.at.run, one.at.stage, one.at.status) == (other.at.run, other.at.stage, other.at.status)
    assert (one.job.id, one.job.batch_id, one.account.id) == (short, one.at.batch_id, one.job.account_id)
    assert _as_it_is(store, short) == _as_it_is(store, long)
    assert _events(store, short) == _events(store, long) != []


@pytest.mark.parametrize("values", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_may_stand_in_the_way_is_left_to_the_long_way(store: Store, values: dict[str, dict[str, Any]]) -> None:
    job_id = _add(store, values)
    before = _as_it_is(store, job_id)
    with store.write() as session:
        taken = take(session, job_id, 1, Stage.UPLOAD, NOW, NOW + SKEW, SOON, LEASE.worker)
    assert taken is None
    assert _as_it_is(store, job_id) == before
    assert _events(store, job_id) == []


def test_a_job_that_is_not_there_is_left_alone(store: Store) -> None:
    assert _claim(store, new_id("job")) is Missed.GONE


# A worker renews its own leases; a job whose lease has expired goes on under the next run number.


def _rescue(store: Store, now: datetime, held: tuple[str, ...] = ()) -> list[str]:
    with store.write() as session:
        return jobs.rescue(session, now, 10, 30, LEASE.seconds, held)


def _renew(store: Store, worker: str, held: dict[str, int]) -> dict[str, bool]:
    with store.write() as session:
        return jobs.renew(session, LATER, worker, held, LEASE.seconds)


@pytest.mark.parametrize(
    ("lapses", "becomes"), [(0, (Status.QUEUED, "", 2)), (9, (Status.FAILED, "poisoned", 1))], ids=["first", "tenth"]
)
def test_a_job_whose_worker_fell_silent_goes_on_under_the_next_run_but_not_for_ever(
    store: Store, lapses: int, becomes: tuple[Status, str, int]
) -> None:
    claimed = claim_one(store, Stage.EDIT, lapses=lapses)
    _rescue(store, LATER)
    job = found(store, Job, claimed.job.id)
    assert (job.status, job.error_code, job.run) == becomes
    assert (job.stage, job.lapses, job.worker) == (Stage.EDIT, lapses + 1, "")
    with store.write() as session:
        assert not jobs.fence(session, claimed.at)


def test_a_job_under_a_lease_that_goes_on_is_left_and_so_is_what_the_rescuer_holds_itself(store: Store) -> None:
    claimed = claim_one(store, Stage.EDIT)
    assert _rescue(store, LATER - timedelta(seconds=2)) == []
    assert _rescue(store, LATER, (claimed.job.id,)) == []
    assert found(store, Job, claimed.job.id).status is Status.RUNNING
    assert _rescue(store, LATER) == [claimed.job.id]


@pytest.mark.parametrize("wished", [False, True])
def test_a_renewed_lease_goes_on_and_tells_of_a_wish_to_cancel(store: Store, wished: bool) -> None:
    claimed = claim_one(store, Stage.EDIT, run=2)
    change(store, Job, claimed.job.id, cancel_wished=wished)
    assert _renew(store, "worker-2", {claimed.job.id: 2}) == {}
    assert found(store, Job, claimed.job.id).lease_until == NOW + timedelta(seconds=LEASE.seconds)
    assert _renew(store, "worker-1", {claimed.job.id: 1}) == {}
    assert _renew(store, "worker-1", {claimed.job.id: 2}) == {claimed.job.id: wished}
    assert found(store, Job, claimed.job.id).lease_until == LATER + timedelta(seconds=LEASE.seconds)
