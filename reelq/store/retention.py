"""Deletes old data: finished batches with their jobs, unused uploads, expired idempotency keys, unreferenced files.

Results in a user's folder belong to the user and are never deleted. Files in storage are deleted once nothing refers to
them.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select

from reelq.job import FINAL
from reelq.storage import GRACE_SECONDS, Storage
from reelq.store import idempotency
from reelq.store.db.client_models import Asset
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.models import Batch, Job
from reelq.store.db.readonly import safe_address
from reelq.store.db.statements import chunks, execute_dml

log = logging.getLogger(__name__)
_GRACE_PERIOD: Final = timedelta(seconds=GRACE_SECONDS)


def delete_batches(session: Transaction, now: datetime, days: float) -> int:
    """Delete batches whose jobs all ended more than `days` ago; returns their number."""
    open_job = select(Job.id).where(Job.batch_id == Batch.id, Job.status.not_in(FINAL)).exists()
    last_end = select(func.max(Job.finished_at)).where(Job.batch_id == Batch.id).scalar_subquery()
    old = select(Batch.id).where(~open_job, func.coalesce(last_end, Batch.created_at) < now - timedelta(days=days))
    return execute_dml(session, delete(Batch).where(Batch.id.in_(old)))


def delete_uploads(session: Transaction, now: datetime, days: float) -> int:
    """Delete uploads that have not been used for `days`, nor since their owner's oldest batch; returns their number.

    A batch may need its files as long as it exists, and a file is marked as used shortly before its batch is created.
    """
    oldest = func.coalesce(func.min(Batch.created_at), now)
    owners = select(Asset.owner, oldest).outerjoin(Batch, Batch.owner == Asset.owner).group_by(Asset.owner)
    deleted = 0
    for owner, oldest_batch in session.execute(owners).all():
        oldest_in_use = min(oldest_batch, now) - _GRACE_PERIOD
        unused = (Asset.owner == owner, Asset.used_at < min(oldest_in_use, now - timedelta(days=days)))
        deleted += execute_dml(session, delete(Asset).where(*unused))
    return deleted


def unreferenced_files(session: Transaction, hashes: Sequence[str]) -> set[str]:
    """Which of these contents are neither an upload nor a result."""
    uploads = select(Asset.sha256).where(Asset.sha256.in_(hashes))
    results = select(Job.result_sha256).where(Job.result_sha256.in_(hashes), Job.result_sha256 != "")
    return set(hashes) - set(session.scalars(uploads)) - set(session.scalars(results))


def delete_old_rows(store: Store, days: float | None) -> None:
    """Delete old rows of the database; batches and uploads only if `days` is given."""
    with store.write() as session:
        now = store.now(session)
        batches = delete_batches(session, now, days) if days is not None else 0
        uploads = delete_uploads(session, now, days) if days is not None else 0
        idempotency.forget(session, now)
    if batches or uploads:
        log.info("Deleted %d batches that ended more than %g days ago, and %d uploads", batches, days or 0, uploads)


def sweep(store: Store, storage: Storage) -> None:
    """Delete unreferenced contents from storage, and files that killed processes left behind.

    Call it after the rows have been deleted: then no row ever refers to a missing file, wherever the process is killed.
    """
    if not storage.is_there:
        return
    if not storage.is_of(safe_address(store.url)):
        log.warning("The storage belongs to another database: deleting nothing from it")
        return
    before = time.time() - GRACE_SECONDS
    storage.sweep(before)
    deleted = 0
    for piece in chunks(list(storage.kept_before(before))):
        with store.read() as session:
            unreferenced = unreferenced_files(session, piece)
        deleted += sum(storage.discard(sha256, before) for sha256 in unreferenced)
    if deleted:
        log.info("Deleted %d unreferenced files from the storage", deleted)
