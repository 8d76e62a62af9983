"""Endpoints are told by real workers: of every row's end and of the batch's, signed, again where it did not arrive."""

import threading
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from reelq.store.webhooks import endpoints
from reelq.store.webhooks.outbox import Event
from tests.queue.farm import KINDS, Farm, farm, lines, until
from tests.receiver import Receiver, says

pytestmark = pytest.mark.skipif("redis" not in KINDS, reason="needs Redis and PostgreSQL")
INWARD: dict[str, Any] = {"reelq_allowed_networks": "127.0.0.0/8"}


def endpoint(made: Farm, url: str, events: Sequence[Event] = tuple(Event), owner: str = "me") -> Webhook:
    """What verifies the messages of a new endpoint."""
    secret = endpoints.new_secret()
    with made.store.write() as session:
        endpoints.create(session, made.vault(), owner, url, events, secret, made.store.now(session))
    return Webhook(secret)


def told(receiver: Receiver, verifier: Webhook) -> list[dict[str, Any]]:
    """What came, each with its signature verified."""
    return [verifier.verify(came.body, came.headers) for came in list(receiver.came)]


def states(made: Farm) -> "Counter[str]":
    """How many deliveries are in which state."""
    return Counter(state for (state,) in made.sql("select state from webhook_deliveries"))


def test_each_rows_end_and_the_batchs_are_told_once_and_signed(tmp_path: Path) -> None:
    with farm("redis", tmp_path, **INWARD) as made, Receiver() as receiver, Receiver() as others:
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


def test_a_worker_killed_while_it_tells_leaves_it_to_the_next_under_the_same_id(tmp_path: Path) -> None:
    held = threading.Event()

    def hold(_request: BaseHTTPRequestHandler) -> None:
        held.wait(30)

    with farm("redis", tmp_path, **INWARD) as made, Receiver(hold) as receiver:
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
        with made.store.write() as session:  # an hour goes by
            session.connection().exec_driver_sql("UPDATE webhook_deliveries SET due_at = due_at - interval '1 hour'")
        made.start_worker()
        until(lambda: states(made) == {"delivered": 1}, "delivered by another")
        first, second = receiver.came
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        assert len(told(receiver, verifier)) == 2
        assert made.sql("select attempts, status_code from webhook_deliveries") == [(2, 200)]
