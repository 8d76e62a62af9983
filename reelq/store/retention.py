"""What is kept no longer: batches that ended long ago, with their jobs and events. Results are files, and stay."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select

from reelq.job import FINAL
from reelq.store.models import Batch, Job
from reelq.store.session import Transaction


def forget(session: Transaction, now: datetime, days: float) -> int:
    """Delete the batches all of whose jobs ended more than so many days ago; how many those were."""
    open_job = select(Job.id).where(Job.batch_id == Batch.id, Job.status.not_in(FINAL)).exists()
    last_end = select(func.max(Job.finished_at)).where(Job.batch_id == Batch.id).scalar_subquery()
    old = select(Batch.id).where(~open_job, func.coalesce(last_end, Batch.created_at) < now - timedelta(days=days))
    gone: Any = session.execute(delete(Batch).where(Batch.id.in_(old)).execution_options(synchronize_session=False))
    return int(gone.rowcount)
