"""Endpoints are told by real workers: of every row's end and of the batch's, signed, again where it did not arrive."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from reelq.job import Status
from reelq.store import actions, handling, webhooks
from reelq.store.outbox import Event
from tests.queue.farm import KINDS, Farm, farm, until
from tests.queue.test_actions import ask, lines
from tests.receiver import Receiver, receiving, says

pytestmark = pytest.mark.skipif("redis" not in KINDS, reason="needs Redis and PostgreSQL")
EVERYTHING = list(Event)


@contextmanager
def deployment(folder: Path, **how: Any) -> Iterator[Farm]:
    """Workers on Redis and PostgreSQL, that may reach this machine."""
    with farm("redis", folder, reelq_allowed_networks="127.0.0.0/8", **how) as made:
        yield made


def endpoint(made: Farm, url: str, events: list[Event] = EVERYTHING, owner: str = "me") -> Webhook:
    """What verifies the messages of a new endpoint."""
    secret = webhooks.new_secret()
    with made.store.write() as session:
        webhooks.create(session, made.vault(), owner, url, events, secret, made.store.now(session))
    return Webhook(secret)


def told(receiver: Receiver, verifier: Webhook) -> list[dict[str, Any]]:
    """What came, each with its signature verified."""
    return [verifier.verify(came.body, came.headers) for came in list(receiver.came)]


def states(made: Farm) -> "Counter[str]":
    """How many deliveries are in which state."""
    return Counter(state for (state,) in made.sql("select state from webhook_deliveries"))


def time_passes(made: Farm) -> None:
    """As if an hour had gone by, for deliveries alone."""
    with made.store.write() as session:
        session.connection().exec_driver_sql("UPDATE webhook_deliveries SET due_at = due_at - interval '1 hour'")


def test_each_rows_end_and_the_batchs_are_told_once_and_signed(tmp_path: Path) -> None:
    with deployment(tmp_path) as made, receiving() as receiver, receiving() as others:
        verifier = endpoint(made, receiver.url)
        endpoint(made, others.url, owner="somebody else")
        batch = made.submit(lines(6))
        made.start_worker()
        made.start_worker()
        assert made.ended(batch) == {"succeeded": 6}
        until(lambda: states(made) == {"delivered": 7}, "all delivered")
        messages = told(receiver, verifier)
        assert Counter(message["type"] for message in messages) == {"job.succeeded": 6, "batch.finished": 1}
        jobs = {job.id: job for job in made.jobs(batch)}
        for message in messages:
            if message["type"] == "job.succeeded":
                job = jobs.pop(message["data"]["id"])
                assert (message["data"]["row"], message["data"]["batch"]) == (job.row, batch)
                href = f"/v1/jobs/{job.id}/output"
                assert message["data"]["result"] == {"size": job.result_size, "sha256": job.result_sha256, "href": href}
        assert jobs == {}
        last = next(message["data"] for message in messages if message["type"] == "batch.finished")
        assert (last["id"], last["counts"]["succeeded"], sum(last["counts"].values())) == (batch, 6, 6)
        assert last["credits"] == made.costs()
        assert len({came.headers["webhook-id"] for came in receiver.came}) == 7
        assert others.came == []


def test_a_retried_batch_finishes_again_and_its_failure_is_told_with_what_to_do(tmp_path: Path) -> None:
    with deployment(tmp_path, faults={"agent_error": {"count": 1}}) as made, receiving() as receiver:
        verifier = endpoint(made, receiver.url)
        batch = made.submit(lines(1))
        made.start_worker()
        assert made.ended(batch) == {"agent_failed": 1}
        until(lambda: states(made) == {"delivered": 2}, "its end told")
        failed = next(message["data"] for message in told(receiver, verifier) if message["type"] == "job.failed")
        assert (failed["error_code"], failed["status"], failed["result"]) == ("agent_failed", "failed", None)
        assert failed["error"]
        assert failed["advice"]
        (job,) = made.jobs(batch)
        assert ask(made, actions.retry, job.id)
        assert made.sql(f"select finished_at from batches where id = '{batch}'") == [(None,)]
        assert made.ended(batch) == {"succeeded": 1}
        until(lambda: states(made) == {"delivered": 4}, "its second end told")
        kinds = Counter(message["type"] for message in told(receiver, verifier))
        assert kinds == {"job.failed": 1, "job.succeeded": 1, "batch.finished": 2}


def test_a_worker_killed_while_it_tells_leaves_it_to_the_next_under_the_same_id(tmp_path: Path) -> None:
    held = threading.Event()

    def hold(_request: BaseHTTPRequestHandler) -> None:
        held.wait(30)

    with deployment(tmp_path) as made, receiving(hold) as receiver:
        verifier = endpoint(made, receiver.url, [Event.BATCH_FINISHED])
        batch = made.submit(lines(1))
        worker = made.start_worker()
        made.ended(batch)
        until(lambda: receiver.came, "the first try")
        worker.kill()
        worker.wait()
        assert made.sql("select state, attempts, status_code from webhook_deliveries") == [("pending", 1, None)]
        receiver.answer = says(200)
        held.set()
        time_passes(made)
        made.start_worker()
        until(lambda: states(made) == {"delivered": 1}, "delivered by another")
        first, second = receiver.came
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        assert len(told(receiver, verifier)) == 2
        assert made.sql("select attempts, status_code from webhook_deliveries") == [(2, 200)]


def test_what_an_endpoint_missed_while_it_was_down_arrives_when_it_is_up(tmp_path: Path) -> None:
    with deployment(tmp_path) as made:
        with receiving() as gone:
            url, port = gone.url, gone.port
        verifier = endpoint(made, url)
        batch = made.submit(lines(2))
        made.start_worker()
        made.ended(batch)
        until(lambda: len(made.sql("select 1 from webhook_deliveries where error <> ''")) == 3, "three that failed")
        assert states(made) == {"pending": 3}
        with receiving(port=port) as receiver:
            until(lambda: states(made) == {"delivered": 3}, "all arrive by themselves", 30)
            assert Counter(message["type"] for message in told(receiver, verifier)) == {
                "job.succeeded": 2,
                "batch.finished": 1,
            }
            assert {row.attempts for row in made.sql("select attempts from webhook_deliveries")} == {2}


def test_a_slow_endpoint_holds_up_neither_rows_nor_other_endpoints(tmp_path: Path) -> None:
    over = threading.Event()
    at_once, most = 0, 0
    lock = threading.Lock()

    def slow(_request: BaseHTTPRequestHandler) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        over.wait(30)
        with lock:
            at_once -= 1

    with deployment(tmp_path, concurrency=8) as made, receiving(slow) as sleepy, receiving() as quick:
        endpoint(made, sleepy.url)
        verifier = endpoint(made, quick.url)
        batch = made.submit(lines(10))
        made.start_worker()
        assert made.ended(batch) == {"succeeded": 10}
        until(lambda: len(quick.came) == 11, "the quick one has all", 20)
        assert len(told(quick, verifier)) == 11
        assert most == len(sleepy.came) == 4
        over.set()


def test_a_batch_that_is_cancelled_whole_is_told_of_once(tmp_path: Path) -> None:
    with deployment(tmp_path) as made, receiving() as receiver:
        verifier = endpoint(made, receiver.url)
        batch = made.submit(lines(5))
        handling.cancel_batch(made.store, batch)
        made.start_worker()
        until(lambda: states(made) == {"delivered": 1}, "its end told")
        (message,) = told(receiver, verifier)
        assert (message["type"], message["data"]["counts"]["cancelled"]) == ("batch.finished", 5)
        assert {job.status for job in made.jobs(batch)} == {Status.CANCELLED}
        assert json.loads(receiver.came[0].body)["timestamp"].endswith("Z")
