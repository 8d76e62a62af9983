"""Redis emptied and restarted, PostgreSQL restarted, in the midst of a run: all rows end, and nobody has to help."""

import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from tests.queue.farm import KINDS, Farm, farm, lines, until
from tests.queue.sizes import PROVING, size
from tests.queue.test_chaos import nothing_is_wrong
from tests.servers import own_postgres

ROWS = size(16, 150)
AWAY_SECONDS = size(2, 15)
OUTAGES = size(2, 3)
SLOTS = 4
pytestmark = pytest.mark.skipif("redis" not in KINDS, reason="needs Redis and PostgreSQL")
# The stand-in encodes two exports at a time, and the row that is last has to wait for all before it.
PATIENT: dict[str, Any] = {"reelq_edit_timeout": 20.0, "reelq_silence_timeout": 15.0, "reelq_poll_limit": 500}


def at_work(made: Farm) -> int:
    """How many workers have a job in hand."""
    return int(made.sql("select count(distinct worker) from jobs where status = 'running'")[0][0])


def let_a_minute_pass(made: Farm) -> None:
    """A lost message goes out again after a minute. The full proof waits for it; the small one moves its moment."""
    if not PROVING:
        with made.store.write() as session:
            session.execute(
                text("update jobs set publish_at = now() where status = 'queued' and due_at <= now() and admitted")
            )


def both_take_work(made: Farm) -> None:
    """Neither worker has fallen silent: more rows than one has slots for are in the hands of two."""
    batch = made.submit(lines(3 * SLOTS, "Scene"))
    until(lambda: at_work(made) == 2, "work in the hands of both workers", 90)
    assert made.ended(batch, 120) == {"succeeded": 3 * SLOTS}


@pytest.mark.timeout(400 if PROVING else 240)
@pytest.mark.parametrize("what", ["Redis", "PostgreSQL"])
def test_a_server_that_ends_again_and_again_in_the_midst_costs_nothing_but_time(what: str, tmp_path: Path) -> None:
    with own_postgres() as postgres:
        settings = {**PATIENT, "reelq_database_url": SecretStr(postgres.url())}
        with farm("redis", tmp_path, faults={"edit_seconds": 1.5}, concurrency=SLOTS, **settings) as made:
            assert made.redis
            batch = made.submit(lines(ROWS))
            workers = [made.start_worker(), made.start_worker()]
            until(lambda: made.ends(batch)["succeeded"] >= ROWS // 4, "a quarter done", 120)
            if what == "Redis":
                made.redis.empty()
                let_a_minute_pass(made)
                until(lambda: made.ends(batch)["succeeded"] >= ROWS // 2, "half done, after the flush", 150)
            server = made.redis if what == "Redis" else postgres
            for _ in range(OUTAGES):
                server.stop()
                time.sleep(AWAY_SECONDS)
                server.start()
                let_a_minute_pass(made)
                until(lambda: made.over(batch) or at_work(made), "work after an outage", 90)
            assert made.ended(batch, 200) == {"succeeded": ROWS}
            assert [worker.poll() for worker in workers] == [None, None]
            both_take_work(made)
            nothing_is_wrong(made)
            assert made.costs() == made.sandbox.ledger()["charged"]
