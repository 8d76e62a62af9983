"""What ended long ago is forgotten, with all that hangs on it; nothing else is."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from reelq.job import Stage, Status
from reelq.store import retention
from reelq.store.models import Batch, Job, JobEvent, Send
from reelq.store.moves import Position, move, note
from reelq.store.session import Store
from tests.integration.databases import add_account, add_batch, add_job, add_send

DAYS = 30


@pytest.mark.parametrize(
    ("ended_days_ago", "is_kept"), [((31, 40), False), ((31, 29), True), ((31, None), True)], ids=["old", "new", "open"]
)
def test_a_batch_is_forgotten_when_its_last_job_ended_long_ago(
    store: Store, ended_days_ago: tuple[int | None, ...], is_kept: bool
) -> None:
    with store.write() as session:
        now = store.now(session)
        account = add_account(session, now)
        batch = add_batch(session, now - timedelta(days=50))
        for row, days in enumerate(ended_days_ago, 1):
            job_id = add_job(session, now, batch_id=batch, account_id=account, row=row)
            at = Position(job_id, batch, 1, Stage.UPLOAD, Status.QUEUED)
            add_send(session, now, job_id, account)
            note(session, at, now, "progress", "under way")
            if days is not None:
                move(session, at, Status.CANCELLED, now - timedelta(days=days), "cancelled")
        assert retention.forget(session, now, DAYS) == (0 if is_kept else 1)
        left = [session.execute(select(func.count()).select_from(table)).scalar_one() for table in (Batch, Job, Send)]
        assert left == ([1, 2, 2] if is_kept else [0, 0, 0])
        assert bool(session.execute(select(func.count()).select_from(JobEvent)).scalar_one()) == is_kept
