"""Jobs that a worker has just claimed."""

from datetime import UTC, datetime
from typing import Any, Final

from reelq.job import Stage
from reelq.store import jobs
from reelq.store.jobs import Claimed, Lease
from reelq.store.session import Store
from tests.databases import add_job
from worker.verdict import PARKED

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS: Final = 30.0


def claim_one(store: Store, stage: Stage, *, run: int = 1, **values: Any) -> Claimed:
    """A new job in this stage, as the worker that took it has it."""
    with store.write() as session:
        job_id = add_job(session, NOW, stage=stage, run=run, **values)
    with store.write() as session:
        got = jobs.claim(session, NOW, job_id, run, stage, Lease("worker-1", SECONDS), PARKED)
    assert isinstance(got, Claimed)
    return got
