"""What a deployment costs while it stands: with nothing to do, with streams open, with renders to wait for."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import httpx
import psycopg

from tests.benchmarks.contenders import CONTENDERS, celery_worker
from tests.benchmarks.grounds import SHORT, TOKEN, Ground, Latencies, ground
from tests.benchmarks.race import Race, Run, prepared, rest_service, until
from tests.benchmarks.usage import cpu_seconds, memory_mb
from tests.sandbox_process import ATTRIBUTION
from tests.servers import Postgres

_SETTLED: Final = 10.0
"""Seconds after a start until it has calmed down."""
_LOOK_EVERY: Final = 30.0
_SLOTS: Final = 64
_BARE_LOOKS: Final = 500


def idle(postgres: Postgres, seconds: int) -> dict[str, float]:
    """A worker and the REST service with nothing to do."""
    with (
        ground(SHORT, 1, _SLOTS, postgres) as place,
        prepared(CONTENDERS["reelq-1"], place) as race,
        rest_service(race.environment, place.folder, place.spare_port) as api,
    ):
        time.sleep(_SETTLED)
        before, transactions = _used(race, api), _transactions(place)
        time.sleep(seconds)
        after, more = _used(race, api), _transactions(place)
        held = {"worker_mb": memory_mb([race.workers[0].pid]), "api_mb": memory_mb([api.pid])}
    shares = {f"{name}_percent": 100 * (after[name] - before[name]) / seconds for name in after}
    return {**shares, **held, "transactions_a_second": (more - transactions) / seconds}


def open_streams(postgres: Postgres, rows: int) -> dict[str, float]:
    """One worker with so many rows in the midst of their edits."""
    times = Latencies("streams", upload=0, edit=60 + 0.2 * rows, render=1, look_every=1, keep_alive=15)
    with ground(times, rows, rows, postgres) as place, prepared(CONTENDERS["reelq-1"], place) as race:
        alone = memory_mb([race.workers[0].pid])
        race.hand_in()
        opened = _when(place, "edit", rows, times.edit)
        held = memory_mb([race.workers[0].pid])
    return {"worker_mb": held, "worker_without_rows_mb": alone, "kb_a_stream": 1024 * (held - alone) / rows, **opened}


def waiting(postgres: Postgres, rows: int) -> dict[str, float]:
    """One worker with few slots, and many more rows that wait for their renders."""
    times = Latencies("waiting", upload=0, edit=0.1, render=7200, look_every=_LOOK_EVERY, keep_alive=15)
    few = replace(
        CONTENDERS["reelq-1"],
        workers=lambda _: [celery_worker("worker", "-c", str(_SLOTS))],
        environment=_patient(CONTENDERS["reelq-1"].environment),
    )
    with ground(times, rows, rows, postgres) as place, prepared(few, place) as race:
        race.hand_in()
        opened = _when(place, "render", rows, 3600)
        time.sleep(_LOOK_EVERY)  # so that none is still about its edit
        began, before, looks = time.monotonic(), race.cpu(), place.sandbox.ledger()["polls"]
        time.sleep(2 * _LOOK_EVERY)
        after, more = race.cpu(), place.sandbox.ledger()["polls"]
        seconds = time.monotonic() - began
        late = place.books().late_looks(_LOOK_EVERY)
        bare = _bare_look(place)
    shares = {
        f"{name}_percent": 100 * (after[name] - before[name]) / seconds for name in ("worker", "broker", "database")
    }
    every_second = (more - looks) / seconds
    looked = {"looks_a_second": every_second, "bare_looks_percent": 100 * every_second * bare}
    return {**shares, **looked, "latest_look_s": max(late), **opened}


def _bare_look(place: Ground) -> float:
    """Seconds of the processor that httpx alone takes to ask for one render: no client that looks takes less."""
    headers = {**ATTRIBUTION, "Authorization": f"Bearer {TOKEN}"}
    render = place.sandbox.ledger()["renders"][0]["id"]
    with httpx.Client(base_url=place.sandbox.url, headers=headers, trust_env=False) as client:
        began = time.thread_time()
        for _ in range(_BARE_LOOKS):
            client.get(f"/api/render/proxy/lambda/{render}").raise_for_status()
        return (time.thread_time() - began) / _BARE_LOOKS


def _patient(usual: Callable[[Ground], dict[str, str]]) -> Callable[[Ground], dict[str, str]]:
    """Renders that last for hours are not stuck here."""
    return lambda place: {**usual(place), "REELQ_POLL_LIMIT": "100000"}


def _when(place: Ground, endpoint: str, rows: int, seconds: float) -> dict[str, float]:
    """Wait until so many rows have come to it."""
    began = time.monotonic()
    if not until(lambda: place.asked(endpoint) >= rows, seconds, place.look_every):
        raise RuntimeError(f"{place.asked(endpoint)} of {rows} rows came to the {endpoint} within {seconds:g} s")
    return {"all_there_after_s": time.monotonic() - began}


def _used(race: Race, api: Run) -> dict[str, float]:
    parts = {name: used for name, used in race.cpu().items() if name in ("worker", "broker", "database")}
    return {**parts, "api": cpu_seconds([api.pid])}


def _transactions(place: Ground) -> int:
    """All that the database has committed, its own statistics lagging by a second at most."""
    time.sleep(1)
    with psycopg.connect(place.postgres.url()) as connection:
        asked = "SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = %s"
        row = connection.execute(asked, [place.database.rpartition("/")[2]]).fetchone()
    return int(row[0]) if row else 0
