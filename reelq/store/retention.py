"""What is kept no longer: batches that ended long ago, with their jobs and events; files that none of those left needs.

Results in a folder of the user's are the user's own, and stay. What is in storage goes when nobody refers to it.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, select

from reelq.job import FINAL
from reelq.storage import LATELY, Storage
from reelq.store import idempotency
from reelq.store.clients import Asset
from reelq.store.looking import shown
from reelq.store.models import Batch, Job
from reelq.store.plans import pieces
from reelq.store.session import Store, Transaction

log = logging.getLogger(__name__)

_LATELY: Final = timedelta(seconds=LATELY)


def forget(session: Transaction, now: datetime, days: float) -> int:
    """Delete the batches all of whose jobs ended more than so many days ago; how many those were."""
    open_job = select(Job.id).where(Job.batch_id == Batch.id, Job.status.not_in(FINAL)).exists()
    last_end = select(func.max(Job.finished_at)).where(Job.batch_id == Batch.id).scalar_subquery()
    old = select(Batch.id).where(~open_job, func.coalesce(last_end, Batch.created_at) < now - timedelta(days=days))
    gone: Any = session.execute(delete(Batch).where(Batch.id.in_(old)).execution_options(synchronize_session=False))
    return int(gone.rowcount)


def forget_assets(session: Transaction, now: datetime, days: float) -> int:
    """Delete the uploads that were last used so long ago, and before any batch that their owner has left; how many.

    A batch's rows may need their files for as long as it is there, and a file is used a moment before its batch is.
    """
    oldest = func.coalesce(func.min(Batch.created_at), now)
    owners = select(Asset.owner, oldest).outerjoin(Batch, Batch.owner == Asset.owner).group_by(Asset.owner)
    gone = 0
    for owner, began in session.execute(owners).all():
        before = min(began, now) - _LATELY
        unused = (Asset.owner == owner, Asset.used_at < min(before, now - timedelta(days=days)))
        dropped: Any = session.execute(delete(Asset).where(*unused).execution_options(synchronize_session=False))
        gone += int(dropped.rowcount)
    return gone


def needless(session: Transaction, hashes: Sequence[str]) -> set[str]:
    """Those of these contents that are neither an upload nor a result."""
    uploads = select(Asset.sha256).where(Asset.sha256.in_(hashes))
    results = select(Job.result_sha256).where(Job.result_sha256.in_(hashes), Job.result_sha256 != "")
    return set(hashes) - set(session.scalars(uploads)) - set(session.scalars(results))


def tidy(store: Store, days: float | None) -> None:
    """Forget what is old; batches and uploads only where they are not to be kept for ever."""
    with store.write() as session:
        now = store.now(session)
        batches = forget(session, now, days) if days is not None else 0
        uploads = forget_assets(session, now, days) if days is not None else 0
        idempotency.forget(session, now)
    if batches or uploads:
        log.info("forgot %d batches that ended more than %g days ago, and %d uploads", batches, days or 0, uploads)


def sweep(store: Store, storage: Storage) -> None:
    """Delete the contents that nobody refers to, and what is left of those who died over one.

    It comes after whatever forgets: wherever this process is cut off, nothing refers to what is not there.
    """
    if not storage.is_there:
        return
    if not storage.is_of(shown(store.url)):
        log.warning("the storage belongs to another database: nothing is swept from it")
        return
    before = time.time() - LATELY
    storage.sweep(before)
    gone = 0
    for some in pieces(list(storage.kept_before(before))):
        with store.read() as session:
            dropped = needless(session, some)
        gone += sum(storage.discard(sha256, before) for sha256 in dropped)
    if gone:
        log.info("swept %d files from the storage that nobody refers to", gone)
