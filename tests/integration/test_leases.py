"""A worker renews its own leases; a job whose lease has expired goes on under the next run number."""

from datetime import datetime, timedelta
from typing import Final

import pytest

from reelq.job import Stage, Status
from reelq.store import jobs
from reelq.store.models import Job
from reelq.store.session import Store
from tests.databases import found
from tests.integration.claims import NOW, SECONDS, claim_one

LATER: Final = NOW + timedelta(seconds=SECONDS + 1)


def _rescue(store: Store, now: datetime, held: tuple[str, ...] = ()) -> list[str]:
    with store.write() as session:
        return jobs.rescue(session, now, 10, 30, SECONDS, held)


def _renew(store: Store, worker: str, held: dict[str, int]) -> dict[str, bool]:
    with store.write() as session:
        return jobs.renew(session, LATER, worker, held, SECONDS)


def test_a_job_whose_worker_fell_silent_goes_on_under_the_next_run_and_is_no_more_the_workers(store: Store) -> None:
    claimed = claim_one(store, Stage.EDIT)
    assert _rescue(store, LATER) == [claimed.job.id]
    job = found(store, Job, claimed.job.id)
    assert (job.status, job.run, job.stage, job.lapses, job.worker) == (Status.QUEUED, 2, Stage.EDIT, 1, "")
    with store.write() as session:
        assert not jobs.fence(session, claimed.at)


def test_a_job_under_a_lease_that_goes_on_is_left_and_so_is_what_the_rescuer_holds_itself(store: Store) -> None:
    claimed = claim_one(store, Stage.EDIT)
    assert _rescue(store, NOW + timedelta(seconds=SECONDS - 1)) == []
    assert _rescue(store, LATER, (claimed.job.id,)) == []
    assert found(store, Job, claimed.job.id).status is Status.RUNNING


def test_the_tenth_worker_that_falls_silent_over_a_job_is_the_last(store: Store) -> None:
    claimed = claim_one(store, Stage.EDIT, lapses=9)
    _rescue(store, LATER)
    job = found(store, Job, claimed.job.id)
    assert (job.status, job.error_code) == (Status.FAILED, "poisoned")


@pytest.mark.parametrize("wished", [False, True])
def test_a_renewed_lease_goes_on_and_tells_of_a_wish_to_cancel(store: Store, wished: bool) -> None:
    claimed = claim_one(store, Stage.EDIT)
    with store.write() as session:
        jobs.change(session, claimed.at, cancel_wished=wished)
    assert _renew(store, "worker-1", {claimed.job.id: 1}) == {claimed.job.id: wished}
    assert found(store, Job, claimed.job.id).lease_until == LATER + timedelta(seconds=SECONDS)
    assert _rescue(store, LATER) == []


@pytest.mark.parametrize(("worker", "run"), [("worker-2", 2), ("worker-1", 1)], ids=["another worker", "an older run"])
def test_a_job_that_was_taken_up_again_is_not_given_back_by_the_renewal(store: Store, worker: str, run: int) -> None:
    claimed = claim_one(store, Stage.EDIT, run=2)
    assert _renew(store, worker, {claimed.job.id: run}) == {}
