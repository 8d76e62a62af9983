"""Live events over a real connection: from the first on, across reconnects, until nothing goes on by itself."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent

from api import event_stream
from reelq.job import Status
from reelq.store import api_keys
from reelq.store.db.client_models import Scope
from reelq.store.db.engine import Store
from reelq.store.db.models import Job
from reelq.store.jobs.transitions import Position, move, write_progress
from tests.acceptance.running import until
from tests.api.serving import Served, Server, on_each_database, running
from tests.api.stock import Stock, fill


@contextmanager
def listening(client: httpx.Client, path: str, **headers: str) -> Iterator[Iterator[ServerSentEvent]]:
    """The events of a stream as they come."""
    with client.stream("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}) as told:
        assert told.status_code == 200
        yield EventSource(told).iter_sse()


def everything(client: httpx.Client, path: str, **headers: str) -> list[ServerSentEvent]:
    """The events of a stream that comes to an end."""
    with listening(client, path, **headers) as events:
        return list(events)


def words(events: list[ServerSentEvent]) -> list[str]:
    return [json.loads(one.data)["words"] for one in events if one.event == "job"]


def say(store: Store, job_id: str, *told: str) -> None:
    with store.write() as session:
        at = Position.of(session.get_one(Job, job_id))
        for one in told:
            write_progress(session, at, store.now(session), "progress", one)


def end(store: Store, *job_ids: str) -> None:
    """They fail, or are cancelled: whatever they were, they go on no more."""
    with store.write() as session:
        for job_id in job_ids:
            job = session.get_one(Job, job_id)
            move(session, Position.of(job), Status.FAILED, store.now(session), f"row {job.row} ended")


@pytest.fixture
def stock(served: Served) -> Stock:
    return fill(served.store, "ann")


def test_a_batch_at_its_end_is_told_from_the_beginning_and_ends_with_its_counts(
    served: Served, ann: httpx.Client, stock: Stock
) -> None:
    say(served.store, stock.ended_job, "one more")
    events = everything(ann, f"/v1/batches/{stock.ended_batch}/events")
    assert [one.event for one in events] == ["begin", "job", "job", "end"]
    assert words(events) == ["ann's row 1 was touched", "one more"]
    first = json.loads(events[1].data)
    assert (first["job"], first["row"], first["stage"], first["what"]) == (stock.ended_job, 1, "verify", "progress")
    last = json.loads(events[-1].data)
    assert (last["batch"], last["total"], last["counts"]["failed"]) == (stock.ended_batch, 1, 1)


@on_each_database
def test_whoever_comes_back_after_any_event_misses_nothing_and_hears_nothing_twice(
    served: Served, ann: httpx.Client, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MOST_AT_ONCE", 3)  # so that it comes in pieces
    for number in range(4):
        say(served.store, stock.ended_job, f"{number} a", f"{number} b")
    path = f"/v1/batches/{stock.ended_batch}/events"
    events = everything(ann, path)
    told = words(events)
    assert len(told) == 9
    for number, one in enumerate(events[1:-1], 1):
        assert words(everything(ann, path, Last_Event_ID=one.id)) == told[number:]
    for mark, rest in ((events[0].id, told), (events[-1].id, []), ("yesterday", told)):
        assert words(everything(ann, path, Last_Event_ID=mark)) == rest


@on_each_database
def test_a_row_has_a_stream_of_its_own(served: Served, ann: httpx.Client, stock: Stock) -> None:
    say(served.store, stock.jobs["failed"], "of the failed one")
    say(served.store, stock.jobs["succeeded"], "of another")
    events = everything(ann, f"/v1/jobs/{stock.jobs['failed']}/events")
    assert words(events) == ["ann's row 5 was touched", "of the failed one"]
    assert json.loads(events[-1].data)["job"] == stock.jobs["failed"]


@on_each_database
def test_what_happens_is_told_as_it_happens_until_all_has_ended(
    served: Served, ann: httpx.Client, stock: Stock
) -> None:
    path = f"/v1/batches/{stock.batch}/events?after=latest"
    with listening(ann, path) as events:
        assert next(events).event == "begin"
        say(served.store, stock.jobs["running"], "halfway")
        assert words([next(events)]) == ["halfway"]
        end(served.store, stock.jobs["running"], stock.jobs["queued"])
        rest = list(events)
    assert [one.event for one in rest] == ["job", "job", "end"]
    counts = json.loads(rest[-1].data)["counts"]
    assert (counts["failed"], counts["waiting"], counts["queued"]) == (3, 1, 0)


def test_a_silent_stream_says_that_it_lives(ann: httpx.Client, stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE", 0.1)
    with ann.stream("GET", f"/v1/batches/{stock.batch}/events") as told:
        lines = told.iter_lines()
        assert any(line.startswith(":") for line in lines)


def test_nobody_works_for_a_client_that_is_gone(server: Server, ann: httpx.Client, stock: Stock) -> None:
    with listening(ann, f"/v1/batches/{stock.batch}/events") as events:
        next(events)
        assert server.is_at_work
    until(lambda: not server.is_at_work, "nothing is under way")


def test_a_stream_ends_when_its_key_is_revoked(served: Served, stock: Stock) -> None:
    made, secret = api_keys.create(served.store, "ann", Scope.READ)
    client = served.client()
    with listening(client, f"/v1/batches/{stock.batch}/events", Authorization=f"Bearer {secret}") as events:
        next(events)
        api_keys.revoke(served.store, made.id)
        assert "end" not in {one.event for one in events}


def test_a_server_that_is_told_to_stop_does_not_wait_for_its_streams(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        stock = fill(service.store, "ann")
        with listening(service.client, f"/v1/batches/{stock.batch}/events") as events:
            next(events)
            service.api.process.send_signal(signal.SIGTERM)
            list(events)
        assert service.api.process.wait(60) in {0, -signal.SIGTERM}
