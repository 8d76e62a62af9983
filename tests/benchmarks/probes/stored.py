"""What a job leaves in the database, and what it takes in Redis while it is under way."""

from typing import Final

import psycopg
import redis

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.grounds import Ground, Latencies, ground
from tests.benchmarks.race import prepared, until
from tests.servers import Postgres

_WINDOW: Final = 64
_LONGEST: Final = 1800.0


def sizes(postgres: Postgres, rows: int) -> dict[str, float]:
    """From an empty deployment to one that has done so many rows."""
    times = Latencies("quick", upload=0, edit=0.2, render=0.2, look_every=0.5, keep_alive=15)
    with ground(times, rows, _WINDOW, postgres) as place, prepared(CONTENDERS["reelq-1"], place) as race:
        before, empty = _database_bytes(place), _redis_bytes(place, "used_memory")
        race.hand_in()
        if not until(race.is_complete, _LONGEST, place.look_every):
            raise RuntimeError(f"{len(place.done())} of {rows} rows were done within {_LONGEST:g} s")
        after, most = _database_bytes(place), _redis_bytes(place, "used_memory_peak")
    return {
        "database_bytes_a_job": (after - before) / rows,
        "redis_most_bytes": most - empty,
        "redis_bytes_a_job_in_the_window": (most - empty) / min(rows, _WINDOW),
    }


def _database_bytes(place: Ground) -> int:
    with psycopg.connect(place.database) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


def _redis_bytes(place: Ground, which: str) -> int:
    with redis.Redis.from_url(place.redis.url) as client:
        return int(client.info("memory")[which])
