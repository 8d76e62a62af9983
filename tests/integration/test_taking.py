"""The short way to claim a job does what the long way does, and leaves to it whatever may stand in the way."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final

import pytest
from sqlalchemy import select

from reelq.job import FINAL, TRANSITIONS, Cause, Stage, Status
from reelq.store.db.engine import SKEW, Store
from reelq.store.db.models import BatchState, Job, JobEvent
from reelq.store.db.types import new_id
from reelq.store.jobs import claims, leases
from reelq.store.jobs.claims import Claimed, NotClaimed
from reelq.store.jobs.transitions import Position, StaleMove, move, write_progress
from tests.databases import add_account, add_batch, add_job, change, done, found, selected
from tests.integration.desks import LEASE, NOW, claim, claim_one, columns, together

SOON: Final = NOW + timedelta(seconds=30)
LATER: Final = NOW + timedelta(seconds=LEASE.seconds + 1)
FREE: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "a due moment that is nearly there": {"job": {"due_at": NOW + SKEW}},
    "a hold of the account that is over": {"account": {"blocked_until": NOW}},
    "an earlier begin": {"job": {"started_at": NOW - timedelta(hours=1), "publishes": 3, "publish_at": NOW}},
}
IN_THE_WAY: Final[dict[str, dict[str, Any]]] = {
    "a wish to cancel": {"job": {"cancel_wished": True}},
    "a paused batch": {"batch": {"state": BatchState.PAUSED}},
    "a cancelled batch": {"batch": {"state": BatchState.CANCELLED}},
    "a batch whose rows are let go a few at a time": {"batch": {"released": 0}},
    "a row before it in its session": {"job": {"after_id": "before"}},
    "a parked account": {"account": {"parked": Cause.CREDITS, "parked_why": "no credits"}},
    "an account that holds off": {"account": {"blocked_until": SOON}},
    "a moment that has not come": {"job": {"due_at": NOW + 2 * SKEW}},
    "another run": {"job": {"run": 2}},
    "another stage": {"job": {"stage": Stage.EDIT}},
    "another status": {"job": {"status": Status.WAITING, "cause": Cause.PAUSED}},
}


def _with(store: Store, values: dict[str, dict[str, Any]]) -> str:
    with store.write() as session:
        account = add_account(session, NOW, credential=secrets.token_hex(8), **values.get("account", {}))
        batch = add_batch(session, NOW, source="from", out="to", **values.get("batch", {}))
        job = dict(values.get("job", {}))
        if "after_id" in job:
            job["after_id"] = add_job(session, NOW, batch_id=batch, account_id=account, row=2)
        return add_job(session, NOW, batch_id=batch, account_id=account, **job)


def _as_it_is(store: Store, job_id: str) -> dict[str, Any]:
    """The job's columns, but for what differs between any two, and its events."""
    apart = ("id", "batch_id", "account_id", "key")
    events = [(e.at, e.what, e.run, e.stage, e.before, e.after, e.words) for e in _events(store, job_id)]
    return {**columns(found(store, Job, job_id)), **dict.fromkeys(apart), "events": events}


def _events(store: Store, job_id: str) -> list[JobEvent]:
    return selected(store, select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id))


def _claim_free(store: Store, job_id: str) -> Claimed | None:
    with store.autocommit() as session:
        return claims.claim_free(session, NOW, job_id, 1, Stage.UPLOAD, LEASE)


@pytest.mark.parametrize("values", FREE.values(), ids=FREE)
def test_both_ways_leave_a_job_alike(store: Store, values: dict[str, dict[str, Any]]) -> None:
    short, long = _with(store, values), _with(store, values)
    free = _claim_free(store, short)
    assert (free is None) == store.is_sqlite  # which has no such statement
    one, other = free or claim(store, short, Stage.UPLOAD, now=NOW), claim(store, long, Stage.UPLOAD, now=NOW)
    assert isinstance(one, Claimed)
    assert isinstance(other, Claimed)
    assert (one.at.run, one.at.stage, one.at.status) == (other.at.run, other.at.stage, other.at.status)
    assert (one.job.id, one.job.batch_id, one.account.id) == (short, one.at.batch_id, one.job.account_id)
    assert (one.job.source, one.job.out) == ("from", "to")
    own: dict[str, Any] = dict.fromkeys(("id", "batch_id", "account_id", "key"), "")
    assert one.job._replace(**own) == other.job._replace(**own)
    assert _as_it_is(store, short) == _as_it_is(store, long)
    assert len(_events(store, short)) == 1


@pytest.mark.parametrize("values", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_may_stand_in_the_way_is_left_to_the_long_way(store: Store, values: dict[str, dict[str, Any]]) -> None:
    job_id = _with(store, values)
    before = _as_it_is(store, job_id)
    assert _claim_free(store, job_id) is None
    assert _as_it_is(store, job_id) == before


def test_a_job_that_is_not_there_is_left_alone(store: Store) -> None:
    assert claim(store, new_id("job"), Stage.UPLOAD) is NotClaimed.GONE


# A worker renews its own leases; a job whose lease has expired goes on under the next run number.


def _rescue(store: Store, now: datetime, held: tuple[str, ...] = ()) -> list[str]:
    return done(store, leases.requeue_expired, now, 10, 30, LEASE.seconds, held)


def _renew(store: Store, worker: str, held: dict[str, int]) -> dict[str, bool]:
    return done(store, leases.renew, LATER, worker, held, LEASE.seconds)


@pytest.mark.parametrize(
    ("lapses", "becomes"), [(0, (Status.QUEUED, "", 2)), (9, (Status.FAILED, "poisoned", 1))], ids=["first", "tenth"]
)
def test_a_job_outlives_its_silent_worker_nine_times(
    store: Store, lapses: int, becomes: tuple[Status, str, int]
) -> None:
    claimed = claim_one(store, Stage.EDIT, lapses=lapses)
    _rescue(store, LATER)
    job = found(store, Job, claimed.job.id)
    assert (job.status, job.error_code, job.run) == becomes
    assert (job.stage, job.lapses, job.worker) == (Stage.EDIT, lapses + 1, "")
    assert not done(store, leases.fence, claimed.at)


def test_a_job_under_a_lease_that_goes_on_is_left_and_so_is_what_the_rescuer_holds_itself(store: Store) -> None:
    claimed = claim_one(store, Stage.EDIT)
    assert _rescue(store, LATER - timedelta(seconds=2)) == []
    assert _rescue(store, LATER, (claimed.job.id,)) == []
    assert found(store, Job, claimed.job.id).status is Status.RUNNING
    assert _rescue(store, LATER) == [claimed.job.id]


@pytest.mark.parametrize("wished", [False, True])
def test_a_renewed_lease_goes_on_and_tells_of_a_wish_to_cancel(store: Store, wished: bool) -> None:
    claimed = claim_one(store, Stage.EDIT, run=2)
    change(store, Job, claimed.job.id, cancel_wished=wished)
    assert _renew(store, "worker-2", {claimed.job.id: 2}) == {}
    assert found(store, Job, claimed.job.id).lease_until == NOW + timedelta(seconds=LEASE.seconds)
    assert _renew(store, "worker-1", {claimed.job.id: 1}) == {}
    assert _renew(store, "worker-1", {claimed.job.id: 2}) == {claimed.job.id: wished}
    assert found(store, Job, claimed.job.id).lease_until == LATER + timedelta(seconds=LEASE.seconds)


# The one writer of `status`: what it allows, what it refuses, and what goes with it.


CAME_IN = NOW - timedelta(seconds=7)
NEEDED: dict[Status, dict[str, Any]] = {
    Status.RUNNING: {"lease_until": NOW, "worker": "one"},
    Status.WAITING: {"cause": Cause.CREDITS},
}
"""What a status can't be without."""


def _add(store: Store, status: Status, **values: Any) -> Position:
    with store.write() as session:
        job_id = add_job(session, CAME_IN, status=status, **NEEDED.get(status, {}) | values)
        return Position.of(session.get_one(Job, job_id))


def _legal() -> Iterator[tuple[Status, Status]]:
    return ((before, after) for before, all_after in TRANSITIONS.items() for after in sorted(all_after))


def test_every_legal_move_changes_the_status_clears_what_that_forbids_and_writes_one_event(store: Store) -> None:
    for before, after in _legal():
        was = {"admitted": True, "publish_at": CAME_IN, "cancel_wished": True, "finished_at": CAME_IN}
        at = _add(store, before, **was)
        there = done(store, move, at, after, NOW, "Said to people.", **NEEDED.get(after, {}))
        job, ended = found(store, Job, at.job_id), after in FINAL
        assert there == replace(at, status=after) == Position.of(job)
        (event,) = _events(store, at.job_id)
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
        as_it_was = columns(found(store, Job, at.job_id))
        for after in (there for here, there in illegal if here is before):
            with store.write() as session, pytest.raises(ValueError, match=f"no job goes from {before} to {after}"):
                move(session, at, after, NOW, "No.", **NEEDED.get(after, {}))
        assert columns(found(store, Job, at.job_id)) == as_it_was
        assert _events(store, at.job_id) == []


@pytest.mark.parametrize(
    "wrong",
    [{"run": 2}, {"run": 0}, {"stage": Stage.EDIT}, {"status": Status.RUNNING}, {"job_id": "job_none"}],
    ids=["a newer run", "an older run", "another stage", "another status", "another job"],
)
def test_a_mover_that_is_mistaken_changes_nothing(store: Store, wrong: dict[str, Any]) -> None:
    at = _add(store, Status.QUEUED)
    as_it_was = columns(found(store, Job, at.job_id))
    with store.write() as session, pytest.raises(StaleMove):
        move(session, replace(at, **wrong), Status.FAILED, NOW, "Too late.")
    assert columns(found(store, Job, at.job_id)) == as_it_was
    assert _events(store, at.job_id) == []


def test_of_20_threads_that_race_for_a_move_one_wins(store: Store) -> None:
    at = _add(store, Status.QUEUED)
    workers = iter(map(str, range(20)))

    def race() -> str:
        worker = next(workers)
        done(store, move, at, Status.RUNNING, NOW, "Taken.", lease_until=NOW, worker=worker)
        return worker

    winners = [won for won in together(20, race, StaleMove) if not isinstance(won, StaleMove)]
    assert [found(store, Job, at.job_id).worker] == winners
    assert len(_events(store, at.job_id)) == 1


def test_a_move_can_go_on_to_another_stage_and_run_and_what_the_mover_sets_counts_most(store: Store) -> None:
    at = _add(store, Status.RUNNING)
    with store.write() as session:
        kept = {"cause": Cause.PAUSED, "admitted": True, "attempts": 3}
        there = move(session, at, Status.WAITING, NOW, "Uploaded.", what="uploaded", stage=Stage.EDIT, run=2, **kept)
    job = found(store, Job, at.job_id)
    assert there == replace(at, stage=Stage.EDIT, run=2, status=Status.WAITING) == Position.of(job)
    assert (job.cause, job.admitted, job.attempts) == (Cause.PAUSED, True, 3)
    (event,) = _events(store, at.job_id)
    assert (event.what, event.stage, event.run) == ("uploaded", Stage.UPLOAD, 2)


def test_a_note_moves_nothing(store: Store) -> None:
    at = _add(store, Status.RUNNING)
    as_it_was = columns(found(store, Job, at.job_id))
    done(store, write_progress, at, NOW, "progress", "The agent is at work.")
    assert columns(found(store, Job, at.job_id)) == as_it_was
    (event,) = _events(store, at.job_id)
    assert (event.what, event.words) == ("progress", "The agent is at work.")
    assert (event.before, event.after) == (Status.RUNNING, Status.RUNNING)
