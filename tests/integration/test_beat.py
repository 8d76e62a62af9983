"""Looks at a render keep their distance from the first one, however late each of them came."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from reelq.job import Stage
from reelq.settings import Settings
from reelq.store import jobs
from reelq.store.jobs import Claimed, Lease
from reelq.store.models import Job
from reelq.store.secrets import open_vault
from reelq.store.session import Store
from tests.integration.databases import add_account, add_batch, add_job
from worker.desk import NotYet
from worker.ending import Later
from worker.recorder import Recorder
from worker.verdict import PARKED

DUE: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEASE: Final = Lease("worker-1", 30)


def _next_after(store: Store, recorder: Recorder, late: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """In how many seconds from when a look was due the next one is, if that was so late and found nothing yet."""
    now = DUE + timedelta(seconds=late)
    monkeypatch.setattr(Store, "now", lambda *_: now)
    with store.write() as session:
        account = add_account(session, DUE, credential=secrets.token_hex(8))
        batch = add_batch(session, DUE)
        job_id = add_job(session, DUE, batch_id=batch, account_id=account, stage=Stage.POLL, due_at=DUE)
    with store.write() as session:
        claimed = jobs.claim(session, now, job_id, 1, Stage.POLL, LEASE, PARKED)
    assert isinstance(claimed, Claimed)
    ended = recorder.record(claimed, NotYet(30, "rendering"))
    with store.read() as session:
        job = session.get_one(Job, job_id)
    assert isinstance(ended, Later)
    assert f"again at {job.due_at:%H:%M:%S} UTC" in ended.why
    assert job.publish_at == job.due_at
    return (job.due_at - DUE).total_seconds()


@pytest.mark.parametrize(
    ("late", "following"),
    [
        pytest.param(0.0, 30.0, id="in time"),
        pytest.param(2.0, 30.0, id="a little late"),
        pytest.param(7.0, 30.0, id="late by less than a quarter"),
        pytest.param(8.0, 38.0, id="late by more: no two looks in a row"),
        pytest.param(3600.0, 3630.0, id="nobody worked for an hour"),
        pytest.param(-0.01, 29.99, id="too early, by another machine's clock"),
    ],
)
def test_a_look_that_was_a_little_late_makes_the_next_no_later(
    store: Store, tmp_path: Path, late: float, following: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(reelq_data_dir=tmp_path)
    recorder = Recorder(store, open_vault(settings, local=True), settings, tmp_path)
    assert _next_after(store, recorder, late, monkeypatch) == pytest.approx(following)
