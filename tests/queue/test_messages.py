"""Messages as files: what an older version left in the queue is understood, what is no message harms nothing.

`messages/<version>/` holds what that version published, as `record_messages` wrote it down; `messages/strays/` what
should not be there, each with the words that the log has for it (none where it is taken, and nothing comes of it).
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from sqlalchemy import text

from reelq.broker import QUEUE, make_celery
from reelq.job import PIPELINE, Stage
from reelq.store.db.models import Job
from reelq.store.webhooks.outbox import Event
from tests.databases import found
from tests.queue.farm import CLIP, KINDS, Farm, farm, lines, until
from tests.queue.record_messages import MESSAGES, as_it_lies
from tests.queue.test_chaos import nothing_is_wrong
from tests.queue.test_deliveries import INWARD, endpoint, states, told
from tests.queue.test_outages import let_a_minute_pass
from tests.receiver import Receiver
from worker.process import Process

pytestmark = pytest.mark.skipif("redis" not in KINDS, reason="needs Redis and PostgreSQL")

STRAYS: Final = {path.stem: json.loads(path.read_text()) for path in sorted((MESSAGES / "strays").glob("*.json"))}
VERSIONS: Final = sorted(path.name for path in MESSAGES.iterdir() if path.name != "strays")
SENT_ON: Final = "no task here is called 'reframe'"
"""Dropped when a chain comes to it, which is not for the test to say."""
MEGABYTE: Final = "m" * 1_000_000
SOON: Final = """
    update jobs set admitted = true, due_at = now() + interval '2 s', publish_at = now() + interval '2 s'
    where status = 'queued'
"""
"""A message that was quicker comes before its time and is dropped: one is sent when it is due. A row that is not let in
yet would be let in at once, with a message before its time, and wait for the next one for a minute.
"""


@contextmanager
def queue_of(made: Farm) -> Iterator[Any]:
    """The queue of this deployment, as Redis has it."""
    assert made.redis
    with redis.Redis.from_url(made.redis.url) as queue:
        yield queue


def push(queue: Any, told_in: dict[str, Any], **names: str) -> None:
    """Put a message of a file into the queue, last in line."""
    queue.lpush(QUEUE, as_it_lies(told_in, batch="bat_of_another_day", megabyte=MEGABYTE, **names))


def is_empty(queue: Any) -> bool:
    """Whether nothing waits in it."""
    return not queue.exists(QUEUE)


def log_of(made: Farm) -> str:
    return (made.folder / "worker0.log").read_text()


@pytest.mark.timeout(200)
def test_whatever_lies_in_the_queue_every_row_ends_and_the_worker_works_on(tmp_path: Path) -> None:
    with farm("redis", tmp_path, reelq_poll_limit=500) as made, queue_of(made) as queue:
        batch = made.submit(lines(len(STRAYS)))
        pairs = list(zip(STRAYS.values(), made.jobs(batch), strict=True))
        for stray, job in pairs:
            push(queue, stray, job=job.id)
        worker = made.start_worker()
        until(lambda: len(made.sends()) >= len(STRAYS) // 2, "half of the instructions sent")
        for stray, job in pairs:
            push(queue, stray, job=job.id)
        until(lambda: queue.llen(QUEUE) < len(STRAYS), "the strays taken out of the queue")
        let_a_minute_pass(made)
        assert made.ended(batch, 120) == {"succeeded": len(STRAYS)}
        assert {job.run for job in made.jobs(batch)} == {1}
        assert worker.poll() is None
        until(lambda: is_empty(queue), "an empty queue")
        said = Counter((session_id, message["text"]) for session_id, message in made.heard())
        assert len(made.sandbox.ledger()["sessions"]) == len(STRAYS)
        assert set(said.values()) == {1}
        nothing_is_wrong(made)
        _told_in_a_line_each(log_of(made))
        assert made.ended(made.submit([f"{CLIP},Add music"])) == {"succeeded": 1}


def _told_in_a_line_each(log: str) -> None:
    expected = Counter(stray["log"] for stray in STRAYS.values() if stray["log"] not in (None, SENT_ON))
    found = {words: log.count(words) for words in expected}
    assert found == {words: 2 * count for words, count in expected.items()}
    assert SENT_ON in log
    assert [line for line in log.splitlines() if "Traceback" in line or " ERROR " in line or " CRITICAL" in line] == []


@pytest.mark.timeout(120)
def test_a_task_that_was_revoked_through_celery_is_done_all_the_same(tmp_path: Path) -> None:
    with farm("redis", tmp_path) as made:
        made.start_worker()
        assert made.ended(made.submit([f"{CLIP},Add music"])) == {"succeeded": 1}
        app = make_celery(made.settings)
        row = made.submit([f"{CLIP},Add a title"], name="later")
        with made.store.write() as session:  # it is caught before the worker has heard of it
            session.execute(text(SOON))
        (job,) = made.jobs(row)
        app.control.revoke([f"{job.id}.{stage}.1" for stage in PIPELINE])
        assert made.ended(row) == {"succeeded": 1}
        assert "flagged as revoked" in log_of(made)
        assert "Discarding revoked" not in log_of(made)


def walk(process: Process, job_id: str, wanted: Stage) -> None:
    """Bring a job to this stage, without any message."""

    def is_there() -> bool:
        stage = found(process.executor.store, Job, job_id).stage
        if stage is not wanted:
            process.executor.run(stage, job_id, 1, chained=False)
        return stage is wanted

    until(is_there, f"{job_id} at {wanted}")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_older_version_left_in_the_queue_is_understood(version: str, tmp_path: Path) -> None:
    with farm("redis", tmp_path) as made, queue_of(made) as queue:
        batch = made.submit(lines(len(PIPELINE)))
        process = Process(made.settings, home=made.folder)
        jobs = dict(zip(PIPELINE, made.jobs(batch), strict=True))
        for stage, job in jobs.items():
            walk(process, job.id, stage)
        process.executor.close()
        never = "update jobs set admitted = true, due_at = now(), publish_at = now() + interval '1 day'"
        with made.store.write() as session:  # nobody else sends a message
            session.execute(text(never))
        for stage, job in jobs.items():
            recorded = json.loads((MESSAGES / version / f"edit-from-{stage}.json").read_text())
            assert recorded["recorded_by"] == f"reelq {version}"
            push(queue, recorded, job=job.id)
        made.start_worker()
        assert made.ended(batch) == {"succeeded": len(PIPELINE)}
        assert "dropped" not in log_of(made).lower()
        until(lambda: is_empty(queue), "an empty queue")
        nothing_is_wrong(made)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_delivery_that_an_older_version_left_in_the_queue_is_made(version: str, tmp_path: Path) -> None:
    with farm("redis", tmp_path, **INWARD) as made, Receiver() as receiver:
        verifier = endpoint(made, receiver.url, [Event.BATCH_FINISHED])
        made.start_worker()
        until(lambda: "ready." in log_of(made), "a worker")
        made.ended(made.submit([f"{CLIP},Add music"]))
        until(lambda: states(made) == {"delivered": 1}, "the first told")
        again = "update webhook_deliveries set state = 'pending', attempts = 0, due_at = now() + interval '1 year'"
        with made.store.write() as session:  # nobody else sends a message
            session.execute(text(again))
        ((delivery,),) = made.sql("select id from webhook_deliveries")
        with queue_of(made) as queue:
            push(queue, json.loads((MESSAGES / version / "deliver.json").read_text()), delivery=delivery)
        until(lambda: states(made) == {"delivered": 1}, "told by the recorded message", 45)
        assert len(told(receiver, verifier)) == 2
