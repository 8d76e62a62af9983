"""What was paid for is kept: a row at work ends by its worker's hand, and a retry goes on from where it failed."""

from datetime import UTC, datetime
from typing import Final

import pytest
from sqlalchemy import update

from reelq.job import Stage, Status
from reelq.store import handling
from reelq.store.handling import Handled
from reelq.store.models import Job
from reelq.store.session import Store
from tests.databases import add_job

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _job(store: Store, job_id: str) -> Job:
    with store.read() as session:
        return session.get_one(Job, job_id)


def test_a_row_at_work_is_only_asked_to_end_so_that_its_worker_writes_down_what_it_has(store: Store) -> None:
    with store.write() as session:
        job_id = add_job(session, NOW, stage=Stage.EDIT, status=Status.RUNNING, lease_until=NOW, worker="worker-1")
    assert handling.cancel_row(store, job_id) == Handled(0, soon=1)
    assert (_job(store, job_id).status, _job(store, job_id).cancel_wished) == (Status.RUNNING, True)


@pytest.mark.parametrize("stage", [Stage.VERIFY, Stage.RENDER, Stage.POLL, Stage.DOWNLOAD])
@pytest.mark.parametrize("end", [Status.CANCELLED, Status.FAILED])
def test_a_retry_goes_on_from_where_the_row_ended_in_the_session_that_it_has(
    store: Store, stage: Stage, end: Status
) -> None:
    with store.write() as session:
        job_id = add_job(session, NOW, stage=stage, status=end, remote_session_id="ses_1", finished_at=NOW)
        session.execute(update(Job).values(error_code="cannot_write" if end is Status.FAILED else ""))
    assert handling.retry_row(store, job_id)
    job = _job(store, job_id)
    assert (job.status, job.stage, job.run, job.remote_session_id) == (Status.QUEUED, stage, 2, "ses_1")
