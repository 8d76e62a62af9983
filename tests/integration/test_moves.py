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
from tests.databases import add_job, found
from tests.integration.desks import together

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


def _events(store: Store, at: Position) -> list[JobEvent]:
    with store.read() as session:
        return list(session.scalars(select(JobEvent).where(JobEvent.job_id == at.job_id).order_by(JobEvent.id)))


def _columns(job: Job) -> dict[str, Any]:
    return {column.key: getattr(job, column.key) for column in Job.__table__.columns}


def _legal() -> Iterator[tuple[Status, Status]]:
    return ((before, after) for before, all_after in TRANSITIONS.items() for after in sorted(all_after))


def test_every_legal_move_changes_the_status_clears_what_that_forbids_and_writes_one_event(store: Store) -> None:
    for before, after in _legal():
        was = {"admitted": True, "publish_at": CAME_IN, "cancel_wished": True, "finished_at": CAME_IN}
        at = _add(store, before, **was)
        with store.write() as session:
            there = move(session, at, after, NOW, "Said to people.", **NEEDED.get(after, {}))
        job, ended = found(store, Job, at.job_id), after in FINAL
        assert there == replace(at, status=after) == Position.of(job)
        (event,) = _events(store, at)
        assert (event.before, event.after, event.what, event.words) == (before, after, after, "Said to people.")
        assert (event.at, event.run, event.stage, event.batch_id) == (NOW, at.run, at.stage, at.batch_id)
        assert job.worker == ("one" if after is Status.RUNNING else "")
        assert job.publish_at == (CAME_IN if after is Status.QUEUED else None)
        assert job.admitted == (after in {Status.QUEUED, Status.RUNNING}), "a row that waits or ends frees its place"
        assert (job.finished_at, job.cancel_wished) == ((NOW, False) if ended else (None, True))


def test_every_other_move_is_refused_and_changes_nothing(store: Store) -> None:
    illegal = set(product(Status, Status)) - set(_legal())
    assert len(illegal) > 10
    for before in Status:
        at = _add(store, before)
        as_it_was = _columns(found(store, Job, at.job_id))
        for after in (there for here, there in illegal if here is before):
            with store.write() as session, pytest.raises(ValueError, match=f"no job goes from {before} to {after}"):
                move(session, at, after, NOW, "No.", **NEEDED.get(after, {}))
        assert _columns(found(store, Job, at.job_id)) == as_it_was
        assert _events(store, at) == []


@pytest.mark.parametrize(
    "wrong",
    [{"run": 2}, {"run": 0}, {"stage": Stage.EDIT}, {"status": Status.RUNNING}, {"job_id": "job_none"}],
    ids=["a newer run", "an older run", "another stage", "another status", "another job"],
)
def test_a_mover_that_is_mistaken_changes_nothing(store: Store, wrong: dict[str, Any]) -> None:
    at = _add(store, Status.QUEUED)
    as_it_was = _columns(found(store, Job, at.job_id))
    with store.write() as session, pytest.raises(StaleMove):
        move(session, replace(at, **wrong), Status.FAILED, NOW, "Too late.")
    assert _columns(found(store, Job, at.job_id)) == as_it_was
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
    assert [found(store, Job, at.job_id).worker] == winners
    assert len(_events(store, at)) == 1


def test_a_move_can_go_on_to_another_stage_and_run_and_what_the_mover_sets_counts_most(store: Store) -> None:
    at = _add(store, Status.RUNNING)
    with store.write() as session:
        kept = {"cause": Cause.PAUSED, "admitted": True, "attempts": 3}
        there = move(session, at, Status.WAITING, NOW, "Uploaded.", what="uploaded", stage=Stage.EDIT, run=2, **kept)
    job = found(store, Job, at.job_id)
    assert there == replace(at, stage=Stage.EDIT, run=2, status=Status.WAITING) == Position.of(job)
    assert (job.cause, job.admitted, job.attempts) == (Cause.PAUSED, True, 3)
    (event,) = _events(store, at)
    assert (event.what, event.stage, event.run) == ("uploaded", Stage.UPLOAD, 2)


def test_a_note_moves_nothing(store: Store) -> None:
    at = _add(store, Status.RUNNING)
    as_it_was = _columns(found(store, Job, at.job_id))
    with store.write() as session:
        note(session, at, NOW, "progress", "The agent is at work.")
    assert _columns(found(store, Job, at.job_id)) == as_it_was
    (event,) = _events(store, at)
    assert (event.what, event.words) == ("progress", "The agent is at work.")
    assert (event.before, event.after) == (Status.RUNNING, Status.RUNNING)
