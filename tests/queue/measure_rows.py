"""Counts what a row takes on PostgreSQL and Redis, for docs/operations.md: `python -m tests.queue.measure_rows ROWS`.

One worker with 64 rows in flight, each an edit of 2 s with its export. What an idle deployment does is measured
afterwards, and taken off for as long as the rows took. Needs redis-server and PostgreSQL installed.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import redis
from sqlalchemy import text

from tests.queue.farm import Farm, farm, lines
from tests.servers import test_run

IN_FLIGHT: Final = 64
IDLE_SECONDS: Final = 20.0
SETTLED: Final = 12.0
"""Seconds after which PostgreSQL's processes have told all that they have counted."""
_COUNTED: Final = ("xact_commit", "tup_inserted", "tup_updated")
_OF_REDIS: Final = ("total_commands_processed", "total_net_input_bytes", "total_net_output_bytes")


def main(rows: int) -> None:
    """One measurement: a line for each figure."""
    waits: dict[str, Any] = {"reelq_poll_interval": 1.0, "reelq_edit_timeout": 60.0, "reelq_silence_timeout": 30.0}
    waits |= {"reelq_max_in_flight": IN_FLIGHT, "reelq_lease_seconds": 20.0}
    faults: dict[str, object] = {"edit_seconds": 2.0, "render_seconds": 1.5}
    with (
        test_run(),
        tempfile.TemporaryDirectory() as folder,
        farm("redis", Path(folder), faults=faults, concurrency=IN_FLIGHT, **waits) as made,
    ):
        batch = made.submit(lines(rows))
        time.sleep(SETTLED)
        before, began = _counts(made), time.monotonic()
        made.start_worker()
        connections = _work(made, batch)
        time.sleep(SETTLED)
        after, busy = _counts(made), time.monotonic() - began
        time.sleep(IDLE_SECONDS)
        idle = _counts(made)
        _tell(before, after, idle, busy, rows)
        _tell_the_rest(made, rows, connections)


def _work(made: Farm, batch: str) -> int:
    """Until all rows have ended; the most connections that were seen, this one among them."""
    most = 0
    while not made.over(batch):
        query = "select count(*) from pg_stat_activity where datname = current_database()"
        most = max(most, int(made.sql(query)[0][0]))
        time.sleep(1)
    return most


def _counts(made: Farm) -> Counter[str]:
    counted = made.sql(f"select {', '.join(_COUNTED)} from pg_stat_database where datname = current_database()")[0]
    told = _info(made)
    return Counter({**counted._mapping, **{name: told[name] for name in _OF_REDIS}})


def _info(made: Farm) -> dict[str, Any]:
    assert made.redis
    with redis.Redis.from_url(made.redis.url) as asked:
        return dict(asked.info())


def _tell(before: Counter[str], after: Counter[str], idle: Counter[str], busy: float, rows: int) -> None:
    for name in (*_COUNTED, *_OF_REDIS):
        a_second = (idle[name] - after[name]) / IDLE_SECONDS
        a_row = (after[name] - before[name] - a_second * busy) / rows
        print(f"{name:26} {a_row:10,.1f} a row, {a_second:8,.1f} a second when idle", flush=True)


def _tell_the_rest(made: Farm, rows: int, connections: int) -> None:
    requests = made.sandbox.ledger()["requests"]
    events = int(made.sql("select count(*) from job_events")[0][0])
    print(f"{'events':26} {events / rows:10,.1f} a row")
    print(f"{'requests to the service':26} {sum(requests.values()) / rows:10,.1f} a row: {requests}")
    print(f"{'room, as it grew':26} {_room(made) / rows:10,.0f} bytes a row")
    with made.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum full"))
    print(f"{'room, packed':26} {_room(made) / rows:10,.0f} bytes a row")
    print(f"{'connections to PostgreSQL':26} {connections:10}")
    print(f"{'memory of Redis, at most':26} {_info(made)['used_memory_peak_human']:>10}")


def _room(made: Farm) -> int:
    return int(made.sql("select sum(pg_total_relation_size(relid)) from pg_stat_user_tables")[0][0])


if __name__ == "__main__":
    main(int(sys.argv[1]))
