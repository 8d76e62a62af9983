"""The one writer of `status`: what it allows, what it refuses, and what goes with it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select

from reelq.job import FINAL, TRANSITIONS, Cause, Stage, Status
from reelq.store.models import Job, JobEvent
from reelq.store.moves import Position, StaleMove, move, note
from reelq.store.session import Store
from tests.databases import add_account, add_batch, add_job
from tests.integration.threads import together

CAME_IN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW = CAME_IN + timedelta(seconds=7)
NEEDED: dict[Status, dict[str, Any]] = {
    Status.RUNNING: {"lease_until": NOW, "worker": "one"},
    Status.WAITING: {"cause": Cause.CREDITS},
}
"""What a status can't be without."""


def _add(store: Store, status: Status, **values: Any) -> Position:
    with store.write() as session:
        job_id = add_job(session, CAME_IN, status=status, **NEEDED.get(status, {}) | values)
        return Position.of(session.get_one(Job, job_id))


def _job(store: Store, at: Position) -> Job:
    with store.read() as session:
        return session.get_one(Job, at.job_id)


def _events(store: Store, at: Position) -> list[JobEvent]:
    with store.read() as session:
        return list(session.scalars(select(JobEvent).where(JobEvent.job_id == at.job_id).order_by(JobEvent.id)))


def _columns(job: Job) -> dict[str, Any]:
    return {column.key: getattr(job, column.key) for column in Job.__table__.columns}


def _legal() -> Iterator[tuple[Status, Status]]:
    return ((before, after) for before, all_after in TRANSITIONS.items() for after in sorted(all_after))


def test_every_legal_move_changes_the_status_and_writes_one_event(store: Store) -> None:
    for before, after in _legal():
        at = _add(store, before)
        with store.write() as session:
            there = move(session, at, after, NOW, "Said to people.", **NEEDED.get(after, {}))
        assert there == replace(at, status=after) == Position.of(_job(store, at))
        (event,) = _events(store, at)
        assert (event.before, event.after, event.what, event.words) == (before, after, after, "Said to people.")
        assert (event.at, event.run, event.stage, event.batch_id) == (NOW, at.run, at.stage, at.batch_id)


def test_every_other_move_is_refused_and_changes_nothing(store: Store) -> None:
    illegal = set(product(Status, Status)) - set(_legal())
    assert len(illegal) > 10
    for before in Status:
        at = _add(store, before)
        as_it_was = _columns(_job(store, at))
        for after in (there for here, there in illegal if here is before):
            with store.write() as session, pytest.raises(ValueError, match=f"no job goes from {before} to {after}"):
                move(session, at, after, NOW, "No.", **NEEDED.get(after, {}))
        assert _columns(_job(store, at)) == as_it_was
        assert _events(store, at) == []


@pytest.mark.parametrize(
    "wrong",
    [{"run": 2}, {"run": 0}, {"stage": Stage.EDIT}, {"status": Status.RUNNING}, {"job_id": "job_none"}],
    ids=["a newer run", "an older run", "another stage", "another status", "another job"],
)
def test_a_mover_that_is_mistaken_changes_nothing(store: Store, wrong: dict[str, Any]) -> None:
    at = _add(store, Status.QUEUED)
    as_it_was = _columns(_job(store, at))
    with store.write() as session, pytest.raises(StaleMove):
        move(session, replace(at, **wrong), Status.FAILED, NOW, "Too late.")
    assert _columns(_job(store, at)) == as_it_was
    assert _events(store, at) == []


def test_a_move_and_its_event_come_together_or_not_at_all(store: Store) -> None:
    def fail_and_end() -> None:
        with store.write() as session:
            move(session, at, Status.FAILED, NOW, "Said too soon.")
            raise RuntimeError("the process ends here")

    at = _add(store, Status.QUEUED)
    with pytest.raises(RuntimeError, match="the process ends here"):
        fail_and_end()
    assert _job(store, at).status is Status.QUEUED
    assert _events(store, at) == []


def test_of_20_threads_that_race_for_a_move_one_wins(store: Store) -> None:
    at = _add(store, Status.QUEUED)
    workers = iter(map(str, range(20)))

    def race() -> str:
        worker = next(workers)
        with store.write() as session:
            move(session, at, Status.RUNNING, NOW, "Taken.", lease_until=NOW, worker=worker)
        return worker

    winners = [won for won in together(20, race, StaleMove) if not isinstance(won, StaleMove)]
    assert [_job(store, at).worker] == winners
    assert len(_events(store, at)) == 1


def test_a_move_touches_no_other_job(store: Store) -> None:
    with store.write() as session:
        batch_id, account_id = add_batch(session, CAME_IN), add_account(session, CAME_IN)
        ids = [add_job(session, CAME_IN, batch_id=batch_id, account_id=account_id, row=row) for row in range(3)]
        move(session, Position.of(session.get_one(Job, ids[1])), Status.CANCELLED, NOW, "Cancelled.")
    with store.read() as session:
        statuses = [session.get_one(Job, job_id).status for job_id in ids]
    assert statuses == [Status.QUEUED, Status.CANCELLED, Status.QUEUED]


def test_a_move_can_go_on_to_another_stage_and_run(store: Store) -> None:
    at = _add(store, Status.RUNNING)
    with store.write() as session:
        there = move(session, at, Status.QUEUED, NOW, "Uploaded.", what="uploaded", stage=Stage.EDIT, run=2)
    assert there == replace(at, stage=Stage.EDIT, run=2, status=Status.QUEUED) == Position.of(_job(store, at))
    (event,) = _events(store, at)
    assert (event.what, event.stage, event.run) == ("uploaded", Stage.UPLOAD, 2)


def test_leaving_running_gives_up_lease_and_worker(store: Store) -> None:
    for after in sorted(TRANSITIONS[Status.RUNNING]):
        at = _add(store, Status.RUNNING)
        with store.write() as session:
            move(session, at, after, NOW, "On.", **NEEDED.get(after, {}))
        job = _job(store, at)
        assert (job.lease_until, job.worker) == (None, "")


def test_leaving_waiting_takes_the_cause_away(store: Store) -> None:
    at = _add(store, Status.WAITING)
    with store.write() as session:
        move(session, at, Status.QUEUED, NOW, "There are credits again.")
    assert _job(store, at).cause is None


def test_a_job_that_is_not_queued_is_not_published(store: Store) -> None:
    for after in sorted(TRANSITIONS[Status.QUEUED] - {Status.QUEUED}):
        at = _add(store, Status.QUEUED, publish_at=CAME_IN)
        with store.write() as session:
            move(session, at, after, NOW, "On.", **NEEDED.get(after, {}))
        assert _job(store, at).publish_at is None


def test_whoever_waits_or_ends_makes_room_and_whoever_runs_keeps_it(store: Store) -> None:
    for after in sorted(TRANSITIONS[Status.QUEUED] - {Status.QUEUED}):
        at = _add(store, Status.QUEUED, admitted=True)
        with store.write() as session:
            move(session, at, after, NOW, "On.", **NEEDED.get(after, {}))
        assert _job(store, at).admitted == (after is Status.RUNNING)


def test_an_end_is_timed_and_fulfils_the_wish_to_cancel(store: Store) -> None:
    for end in sorted(FINAL):
        at = _add(store, Status.RUNNING, cancel_wished=True)
        with store.write() as session:
            move(session, at, end, NOW, "Ended.")
        job = _job(store, at)
        assert (job.finished_at, job.cancel_wished) == (NOW, False)


def test_a_job_that_goes_on_after_its_end_has_not_ended(store: Store) -> None:
    for end in sorted(FINAL):
        at = _add(store, end, finished_at=CAME_IN)
        with store.write() as session:
            move(session, at, Status.QUEUED, NOW, "Asked for again.", run=at.run + 1)
        assert _job(store, at).finished_at is None


def test_what_the_mover_sets_counts_more_than_what_is_cleared(store: Store) -> None:
    at = _add(store, Status.RUNNING)
    with store.write() as session:
        move(session, at, Status.WAITING, NOW, "Keeps its place.", cause=Cause.PAUSED, admitted=True, attempts=3)
    job = _job(store, at)
    assert (job.cause, job.admitted, job.attempts) == (Cause.PAUSED, True, 3)


def test_a_note_moves_nothing(store: Store) -> None:
    at = _add(store, Status.RUNNING)
    as_it_was = _columns(_job(store, at))
    with store.write() as session:
        note(session, at, NOW, "progress", "The agent is at work.")
    assert _columns(_job(store, at)) == as_it_was
    (event,) = _events(store, at)
    assert (event.what, event.words) == ("progress", "The agent is at work.")
    assert (event.before, event.after) == (Status.RUNNING, Status.RUNNING)
