"""How long the store takes over very large batches: to take them in, again, changed, joined; at each tick and look."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import insert, update

from reelq.job import Route, Status
from reelq.manifest.columns import Row
from reelq.results import write_results
from reelq.store.db.engine import Store
from reelq.store.db.models import Job
from reelq.store.jobs import admission, leases, scheduler
from reelq.store.queries.batch_status import snapshot
from reelq.store.submission import submitter
from reelq.store.submission.request import RowAction, Submission
from tests.databases import KINDS, add_account, add_batch, job_row, new_database
from tests.queue.sizes import size

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

SERVICE: Final = "https://service.example"
MOMENT: Final = datetime(2026, 3, 29, tzinfo=UTC)
ROWS: Final = 100_000
DONE: Final = ROWS * 6 // 10
SUBMITTED: Final = size(3_000, 100_000)
SUBMIT_SECONDS: Final = 30
JOINED: Final = size(1_000, 20_000)
TICK_SECONDS: Final = 0.5
"""A tick comes five times a second, and only takes long while rows wait to be admitted."""


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store without a row."""
    with new_database(request.param, tmp_path) as url:
        opened = Store(url)
        yield opened
        opened.close()


@contextmanager
def within(limit: float, what: str) -> Iterator[None]:
    """Prints how long it took, and fails where that was longer than the limit."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    print(f"\n{what}: {seconds:.2f} s (limit {limit:g})")
    assert seconds < limit


def test_very_many_jobs_come_in_and_are_looked_at_and_written_within_seconds(store: Store, tmp_path: Path) -> None:
    with store.write() as session:
        batch, account = add_batch(session, MOMENT), add_account(session, MOMENT)
    states = [Status.SUCCEEDED] * DONE + [Status.QUEUED] * (ROWS - DONE)
    rows = [job_row(batch, account, MOMENT, row=row, name=str(row), status=each) for row, each in enumerate(states, 1)]
    with within(30, f"{ROWS:,} jobs inserted"), store.write() as session:
        session.execute(insert(Job), rows)
    for limit in (10.0, 0.5):  # as the live view does again and again
        with within(limit, "a look at them"), store.read() as session:
            seen = snapshot(session, batch, store.now(session))
        assert (seen.total, seen.ended) == (ROWS, DONE)
    with within(20, "their results"):
        path = write_results(store, batch, tmp_path / "results.csv")
    assert path.read_bytes().count(b"\n") == ROWS + 1


def test_a_large_manifest_is_handed_in_again_and_changed_and_joined_within_seconds(
    store: Store, tmp_path: Path
) -> None:
    with store.write() as session:
        account = add_account(session, store.now(session), service_url=SERVICE)

    def submit(what: str, order: Submission) -> submitter.Submitted:
        with within(SUBMIT_SECONDS, what):
            return submitter.submit(store, order, service=SERVICE, account_id=account)

    order = _order(tmp_path, SUBMITTED, "bulk")
    first = submit(f"{SUBMITTED:,} rows handed in", order)
    again = submit("… and again", order)
    assert (again.batch_id, again.plan.count(RowAction.GOES_ON)) == (first.batch_id, SUBMITTED)
    less = _order(tmp_path, JOINED, "other")
    assert submit(f"{JOINED:,} rows joined", less).plan.count(RowAction.JOINED) == JOINED
    moved = submit("… and less one row", replace(less, rows=less.rows[1:]))
    assert (moved.plan.count(RowAction.JOINED), moved.plan.left_behind[0].rows) == (JOINED - 1, 1)
    for batch_id in (None, first.batch_id, moved.batch_id):
        _tick(store, batch_id)
        with store.write() as session:
            session.execute(update(Job).where(Job.admitted).values(admitted=False))
        with within(TICK_SECONDS, "a tick, a batch alone" if batch_id else "a tick, everything"):
            _tick(store, batch_id)


def _order(folder: Path, count: int, name: str) -> Submission:
    (folder / "beach.mp4").write_bytes(b"a clip")
    rows = [
        Row(
            number=number, line=number + 1, id=str(number), file="beach.mp4", references=(), skill="video-models",
            instruction=f"Add a title that says {number}", language="en", session="", priority=0,
            output=f"{number}-beach.mp4", route=Route.EDIT, extra={"shelf": str(number % 7)},
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    return Submission("me", name, folder, folder / name, rows, limit_credits=None)


def _tick(store: Store, batch_id: str | None) -> None:
    """What the lifeline asks, as often as it is asked within one."""
    with store.write() as session:
        now = store.now(session)
        leases.requeue_expired(session, now, 200, 30, 20, batch_id=batch_id)
        scheduler.due(session, now, 500, batch_id)
        admission.admit(session, now, batch_id)
