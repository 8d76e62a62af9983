"""Exports that take their time: rows that wait for one cost neither a worker's slot nor a message in the broker."""

import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.queue.farm import CLIP, KINDS, ON_REDIS, Farm, farm, until
from tests.queue.sizes import PROVING, size
from tests.queue.test_metrics import asked_at, samples
from tests.servers import free_port

ROWS = size(40, 1_000)
INTERVAL = size(6, 30)
SLOTS = 8
UPLOADS = size(5, 10)
LATE = 2
"""Seconds that a look may be late."""
UNDERWAY_WITHIN = 1


def messages_in(made: Farm) -> int:
    """How many messages wait in the broker."""
    if made.redis is None:
        return 0
    with redis.Redis.from_url(made.redis.url) as broker:
        return int(broker.llen("reelq"))


def messages_for_looks(port: int) -> int:
    """How many messages for a look the worker has been given so far."""
    told = samples(asked_at(port)).items()
    return int(sum(value for (name, at), value in told if name == "reelq_messages_total" and "poll" in at))


def start_of_an_upload(made: Farm, number: int) -> float:
    """Seconds from handing a row in to the moment when a worker has begun with it."""
    batch = made.submit([f"{CLIP},Add a title that says Take {number}"])
    until(lambda: made.jobs(batch)[0].started_at, "a worker for the upload")
    job = made.jobs(batch)[0]
    assert job.started_at
    return (job.started_at - job.created_at).total_seconds()


@pytest.mark.timeout(400 if PROVING else 180)
@pytest.mark.parametrize("kind", ON_REDIS)
def test_waiting_exports_cost_no_slot_and_no_message_and_are_looked_at_in_time(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"reelq_poll_interval": float(INTERVAL), "reelq_poll_limit": 1_000}
    settings |= {"reelq_max_in_flight": ROWS + 100, "reelq_metrics_address": str(port := free_port())}
    with farm(kind, tmp_path, faults={"render_stuck": 1}, concurrency=SLOTS, **settings) as made:
        batch = made.submit([f"{CLIP},export"] * ROWS)
        made.start_worker()
        until(lambda: made.where(batch).get(("poll", "queued"), 0) >= ROWS - SLOTS, "all rows at their exports", 240)
        starts, held = [], []
        until_then = time.monotonic() + 2.5 * INTERVAL
        for number in range(UPLOADS):
            starts.append(start_of_an_upload(made, number))
            held.append(messages_in(made))
            time.sleep(max((until_then - time.monotonic()) / (UPLOADS - number), 0))
        until(
            lambda: all(len(render["spacing"]) >= 2 for render in made.sandbox.ledger()["renders"]),
            "two looks at every export",
        )
        received = messages_for_looks(port) if made.redis else 0
        gaps = [gap for render in made.sandbox.ledger()["renders"] for gap in render["spacing"]]
        with capsys.disabled():
            print(
                f"\n{kind}: {ROWS} rows wait; an upload begins within {max(starts):.2f} s "
                f"(median {statistics.median(starts):.2f} s); {len(gaps)} looks, {min(gaps) - INTERVAL:.3f} to "
                f"{max(gaps) - INTERVAL:.2f} s after their moment; at most {max(held)} messages in the broker"
            )
        assert min(gaps) >= INTERVAL - 0.01
        if PROVING:  # on a machine with nothing else to do
            assert max(gaps) <= INTERVAL + LATE
            assert max(starts) < UNDERWAY_WITHIN
        assert max(held) <= ROWS // 4
        # A look that finds an export unfinished is no task of anybody's.
        assert received == 0


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_a_stopping_worker_has_not_looked_at_is_looked_at_by_the_next_one_at_once(
    kind: str, tmp_path: Path
) -> None:
    rows = 40  # more than are looked at at once
    with farm(kind, tmp_path, faults={"render_stuck": 1}, reelq_poll_limit=500, reelq_poll_interval=4.0) as made:
        batch = made.submit([f"{CLIP},export"] * rows)
        first = made.start_worker()
        until(lambda: made.where(batch) == {("poll", "queued"): rows}, "all exports")
        until(lambda: made.sandbox.ledger()["polls"] >= rows, "a look at each")
        made.sandbox.faults(slow_answer={"seconds": 3, "on": "poll"})
        before = made.sandbox.ledger()["polls"]
        until(lambda: made.sandbox.ledger()["polls"] > before, "looks that take long")
        first.terminate()
        first.wait(60)
        made.sandbox.faults(slow_answer=None)
        before = made.sandbox.ledger()["polls"]
        made.start_worker()
        # Sooner than what is lost, which is looked at again after a minute.
        until(lambda: made.sandbox.ledger()["polls"] >= before + rows, "a look at each by the next worker", 45)
