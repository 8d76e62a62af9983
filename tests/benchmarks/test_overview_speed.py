"""How long it takes to look at a very large batch, as its live view does again and again, and to write its results."""

import time
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import insert

from reelq.job import Status
from reelq.results import write_results
from reelq.store.migrate import upgrade
from reelq.store.models import Job
from reelq.store.overview import snapshot
from reelq.store.session import Store, Transaction
from tests.databases import KINDS, add_account, add_batch, job_row, new_database

ROWS: Final = 100_000
DONE: Final = ROWS * 6 // 10


@pytest.mark.benchmark
@pytest.mark.parametrize("kind", KINDS)
def test_a_very_large_batch_is_looked_at_in_a_moment_and_written_in_seconds(kind: str, tmp_path: Path) -> None:
    with new_database(kind, tmp_path) as url:
        store = Store(url)
        upgrade(store)
        with store.write() as session:
            now = store.now(session)
            made = add_batch(session, now), add_account(session, now)
            _fill(session, made, now, ROWS)
        _measure(store, made[0], tmp_path, kind)
        store.close()


def _measure(store: Store, batch_id: str, folder: Path, kind: str) -> None:
    moments = []
    for _ in range(3):
        began = time.perf_counter()
        with store.read() as session:
            seen = snapshot(session, batch_id, store.now(session))
        moments.append(time.perf_counter() - began)
        assert (seen.total, seen.ended) == (ROWS, DONE)
    began = time.perf_counter()
    path = write_results(store, batch_id, folder / "results.csv")
    took = time.perf_counter() - began
    print(f"\n{kind}: a look at {ROWS:,} rows in {min(moments) * 1000:.0f} ms, their results in {took:.1f} s")
    assert path.read_bytes().count(b"\n") == ROWS + 1
    assert min(moments) < 0.5
    assert took < 20


def _fill(session: Transaction, made: tuple[str, str], now: datetime, count: int) -> None:
    for first in range(1, count + 1, 5000):
        rows = [
            job_row(*made, now, row=row, name=str(row), status=Status.SUCCEEDED if row <= DONE else Status.QUEUED)
            for row in range(first, first + 5000)
        ]
        session.execute(insert(Job), rows)
