"""What ended long ago is forgotten, with all that hangs on it; nothing else is."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, update

from reelq.job import Stage, Status
from reelq.storage import GRACE_SECONDS, Storage
from reelq.store import assets, retention
from reelq.store.db.client_models import Asset, IdempotencyKey
from reelq.store.db.engine import Store
from reelq.store.db.models import Batch, Job, JobEvent, Send
from reelq.store.jobs.transitions import Position, move, write_progress
from tests.databases import add_account, add_batch, add_job, add_send, moment, selected

DAYS = 30


@pytest.mark.parametrize(
    ("ended_days_ago", "is_kept"), [((31, 40), False), ((31, 29), True), ((31, None), True)], ids=["old", "new", "open"]
)
def test_a_batch_is_forgotten_when_its_last_job_ended_long_ago(
    store: Store, ended_days_ago: tuple[int | None, ...], is_kept: bool
) -> None:
    with moment(store) as (session, now):
        account = add_account(session, now)
        batch = add_batch(session, now - timedelta(days=50))
        for row, days in enumerate(ended_days_ago, 1):
            job_id = add_job(session, now, batch_id=batch, account_id=account, row=row)
            at = Position(job_id, batch, 1, Stage.UPLOAD, Status.QUEUED)
            add_send(session, now, job_id, account)
            write_progress(session, at, now, "progress", "under way")
            if days is not None:
                move(session, at, Status.CANCELLED, now - timedelta(days=days), "cancelled")
        assert retention.delete_batches(session, now, DAYS) == (0 if is_kept else 1)
        left = [session.execute(select(func.count()).select_from(table)).scalar_one() for table in (Batch, Job, Send)]
        assert left == ([1, 2, 2] if is_kept else [0, 0, 0])
        assert bool(session.execute(select(func.count()).select_from(JobEvent)).scalar_one()) == is_kept


def old(storage: Storage, *hashes: str) -> None:
    for sha256 in hashes:
        os.utime(storage.path(sha256), (time.time() - 2 * GRACE_SECONDS,) * 2)


def add_asset(store: Store, owner: str, days_ago: float, sha256: str) -> None:
    with store.write() as session:
        at = store.now(session) - timedelta(days=days_ago)
        values = {"size": 1, "name": "a.mp4", "created_at": at, "used_at": at}
        session.execute(insert(Asset).values(owner=owner, sha256=sha256, **values))


def known(store: Store) -> set[tuple[str, str]]:
    with store.read() as session:
        return {(owner, sha256[0]) for owner, sha256 in session.execute(select(Asset.owner, Asset.sha256))}


def test_an_upload_is_forgotten_when_it_is_old_and_no_batch_left_can_need_it(store: Store) -> None:
    for owner, days, name in (("ann", 40, "a"), ("ann", 60, "b"), ("ann", 20, "c"), ("bob", 40, "a"), ("bob", 20, "b")):
        add_asset(store, owner, days, name * 64)
    with moment(store) as (session, now):
        # Her oldest batch is of forty days ago: the upload that it began with was used a moment before.
        add_batch(session, now - timedelta(days=40) + timedelta(seconds=5), owner="ann")
        assert retention.delete_uploads(session, now, DAYS) == 2
    assert known(store) == {("ann", "a"), ("ann", "c"), ("bob", "b")}
    with store.write() as session:
        assert retention.delete_uploads(session, store.now(session), 0.0001) == 1
    assert known(store) == {("ann", "a"), ("ann", "c")}
    with moment(store) as (session, now):
        session.execute(delete(Batch))
        assert assets.use(session, "ann", ["a" * 64, "b" * 64], now).keys() == {"a" * 64}
        assert assets.use(session, "bob", ["a" * 64], now) == {}
        assert retention.delete_uploads(session, now, DAYS) == 0  # what is used again is young again


def test_what_nobody_refers_to_is_swept_and_nothing_else(store: Store, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    retention.sweep(store, storage)
    assert not storage.is_there
    upload, result, shared, needless, new = (storage.put([word.encode()]).sha256 for word in "abcde")
    old(storage, upload, result, shared, needless)
    for owner, sha256 in (("ann", upload), ("ann", shared), ("bob", shared)):
        add_asset(store, owner, 40 if owner == "ann" else 1, sha256)
    with moment(store) as (session, now):
        batch = add_batch(session, now - timedelta(days=50), owner="eve")
        job = add_job(session, now, batch_id=batch, result_sha256=result, status="succeeded", stage="download")
        session.execute(update(Job).where(Job.id == job).values(finished_at=now - timedelta(days=40)))
        answer = {"fingerprint": "", "made_id": "bat_1", "held_until": now, "answer": ""}
        for key, hours in (("old", 25), ("new", 23)):
            at = now - timedelta(hours=hours)
            session.execute(insert(IdempotencyKey).values(owner="ann", key=key, created_at=at, **answer))
    retention.sweep(store, storage)
    assert set(storage.kept_before(time.time() + 1)) == {upload, result, shared, new}
    retention.delete_old_rows(store, None)  # that only answers are forgotten by, after a day
    assert selected(store, select(IdempotencyKey.key)) == ["new"]
    retention.sweep(store, storage)
    assert set(storage.kept_before(time.time() + 1)) == {upload, result, shared, new}
    retention.delete_old_rows(store, DAYS)
    retention.sweep(store, storage)
    assert set(storage.kept_before(time.time() + 1)) == {shared, new}
    assert known(store) == {("bob", shared[0])}


def test_a_storage_that_another_database_uses_is_left_alone(store: Store, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "storage")
    needless = storage.put([b"another's"]).sha256
    old(storage, needless)
    assert storage.is_of("postgresql://elsewhere/reelq")
    retention.sweep(store, storage)
    assert storage.stat(needless)
