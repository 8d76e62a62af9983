"""One part of the product at a time, measured beside the races: `python -m tests.benchmarks.probes`."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import click
import httpx
import psycopg
import redis
from sqlalchemy import make_url

from tests.benchmarks import records
from tests.benchmarks.books import percentile
from tests.benchmarks.compare import named
from tests.benchmarks.contenders import CONTENDERS, celery_worker, reelq
from tests.benchmarks.grounds import ROOMY, SHORT, TOKEN, Ground, Latencies, ground, write_rows
from tests.benchmarks.race import Race, prepared, rest_service, seen_through, until
from tests.benchmarks.stock import median_ms, questions, served
from tests.benchmarks.usage import cpu_seconds, memory_mb
from tests.sandbox_process import ATTRIBUTION
from tests.servers import Postgres, own_postgres

Figures = dict[str, float]

_REELQ: Final = CONTENDERS["reelq-1"]
_WINDOW: Final = 64
_SETTLED: Final = 10.0
"""Seconds after a start until it has calmed down."""
_LOOK_EVERY: Final = 30.0
_BARE_LOOKS: Final = 500


def help_(_postgres: Postgres, times: int) -> Figures:
    """`reelq --help`, again and again; the first run, which may have to read from the disk, does not count."""
    took = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run(reelq("--help"), check=True, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})
        took.append(1000 * (time.perf_counter() - began))
    return {"median_ms": percentile(took[1:], 0.5), "least_ms": min(took[1:]), "most_ms": max(took[1:])}


def handed_in(postgres: Postgres, rows: int) -> Figures:
    """`reelq check`, then `reelq submit` to a worker that has nothing else to do; and when the first row starts."""
    with ground(SHORT, 1, _WINDOW, postgres) as place:
        (place.folder / "row-000001.mp4").unlink()
        write_rows(place.manifest, rows, clips=min(rows, 1000))
        with prepared(_REELQ, place) as race:
            log = place.folder / "timed.log"
            checked = seen_through(reelq("check", str(place.manifest)), race.environment, log)
            submitted = seen_through(_REELQ.hand_in(place), race.environment, log)
            returned = time.monotonic()
            _need(lambda: place.asked("session"), "no row was begun", 120)
            # On the clock that the stand-in shares with us.
            first = min(each["at"] for each in place.requests() if each["endpoint"] == "session")
    return {
        "check_s": checked.seconds,
        "submit_s": submitted.seconds,
        "submit_more_s": submitted.seconds - checked.seconds,
        "peak_mb": max(checked.peak_mb, submitted.peak_mb),
        "first_row_s": max(0.0, first - returned),
    }


def idle(postgres: Postgres, seconds: int) -> Figures:
    """A worker and the REST service with nothing to do."""
    with (
        ground(SHORT, 1, _WINDOW, postgres) as place,
        prepared(_REELQ, place) as race,
        rest_service(race.environment, place.folder, place.spare_port) as api,
    ):

        def used() -> Figures:
            return _shares(race) | {"api": cpu_seconds(api.pid)}

        time.sleep(_SETTLED)
        before, transactions = used(), _transactions(place)
        time.sleep(seconds)
        after, more = used(), _transactions(place)
        held = {"worker_mb": memory_mb(race.workers[0].pid), "api_mb": memory_mb(api.pid)}
    return {**_percent(before, after, seconds), **held, "transactions_a_second": (more - transactions) / seconds}


def open_streams(postgres: Postgres, rows: int) -> Figures:
    """One worker with so many rows in the midst of their edits."""
    times = Latencies("streams", upload=0, edit=60 + 0.2 * rows, render=1, look_every=1, keep_alive=15)
    with ground(times, rows, rows, postgres) as place, prepared(_REELQ, place) as race:
        alone = memory_mb(race.workers[0].pid)
        race.hand_in()
        opened = _when(place, "edit", times.edit)
        held = memory_mb(race.workers[0].pid)
    return {"worker_mb": held, "worker_without_rows_mb": alone, "kb_a_stream": 1024 * (held - alone) / rows, **opened}


def waiting(postgres: Postgres, rows: int) -> Figures:
    """One worker with few slots, and many more rows that wait for their renders."""
    times = Latencies("waiting", upload=0, edit=0.1, render=7200, look_every=_LOOK_EVERY, keep_alive=15)
    few = replace(
        _REELQ,
        workers=lambda _: [celery_worker("worker", "-c", str(_WINDOW))],
        # Renders that last for hours are not stuck here.
        environment=lambda place: _REELQ.environment(place) | {"REELQ_POLL_LIMIT": "100000"},
    )
    with ground(times, rows, rows, postgres) as place, prepared(few, place) as race:
        race.hand_in()
        opened = _when(place, "render", 3600)
        time.sleep(_LOOK_EVERY)  # so that none is still about its edit
        began, before, looks = time.monotonic(), _shares(race), place.sandbox.ledger()["polls"]
        time.sleep(2 * _LOOK_EVERY)
        after, more = _shares(race), place.sandbox.ledger()["polls"]
        seconds = time.monotonic() - began
        late = place.books().late_looks(_LOOK_EVERY)
        bare = _bare_look(place)
    every_second = (more - looks) / seconds
    looked = {"looks_a_second": every_second, "bare_looks_percent": 100 * every_second * bare}
    return {**_percent(before, after, seconds), **looked, "latest_look_s": max(late), **opened}


def sizes(postgres: Postgres, rows: int) -> Figures:
    """What a job leaves in the database, and takes in Redis: from an empty deployment to one that has done them."""
    times = Latencies("quick", upload=0, edit=0.2, render=0.2, look_every=0.5, keep_alive=15)
    with ground(times, rows, _WINDOW, postgres) as place, prepared(_REELQ, place) as race:
        before, empty = _database_bytes(place), _redis_bytes(place, "used_memory")
        race.hand_in()
        _need(race.is_complete, "not all rows were done", 1800, place.look_every)
        after, most = _database_bytes(place), _redis_bytes(place, "used_memory_peak")
    return {
        "database_bytes_a_job": (after - before) / rows,
        "redis_most_bytes": most - empty,
        "redis_bytes_a_job_in_the_window": (most - empty) / min(rows, _WINDOW),
    }


def answers(postgres: Postgres, jobs: int) -> Figures:
    """The median of each question to the REST service, with so many jobs of one owner in ten batches."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, postgres.database() as address:
        url = make_url(address).set(drivername="postgresql+psycopg")
        with served(url, Path(name), {"ann": (10, jobs // 10)}) as service:
            client = service.client("ann")
            took = {f"{what} ms": median_ms(client, path) for what, path in questions(client).items()}
    return {**took, "worst_ms": max(took.values())}


Probe = tuple[Callable[[Postgres, int], Figures], int]

PROBES: Final[Mapping[str, Probe]] = {
    "help": (help_, 20),
    "manifest-1000": (handed_in, 1_000),
    "manifest-10000": (handed_in, 10_000),
    "manifest-100000": (handed_in, 100_000),
    "idle": (idle, 60),
    "open-streams": (open_streams, 1_000),
    "waiting": (waiting, 5_000),
    "sizes": (sizes, 1_000),
    "answers": (answers, 1_000_000),
}
"""Each with the size that the goal names."""


@click.command(context_settings={"show_default": True})
@click.option("--names", default="", callback=partial(named, PROBES), help="With commas; without it, all.")
@click.option("--size", type=int, help="Another one than the goal's, to see that it works; with --results.")
@click.option("--results", default=records.RESULTS, type=click.Path(path_type=Path), help="Where the lines are kept.")
def main(names: dict[str, Probe], size: int | None, results: Path) -> None:
    """Measure what is asked for, keep a line of each and print it beside the last; one that fails says why."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if size and results == records.RESULTS:
        raise click.UsageError("--size needs --results: what it measures does not belong among the real figures")
    with own_postgres(ROOMY) as postgresql:
        for name, (measure, usual) in names.items():
            rows = size or usual
            click.echo(f"\nprobe: {name}, {rows:,}")
            try:
                figures = measure(postgresql, rows)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other probes go on
                click.echo(f"  {type(error).__name__}: {str(error)[-1000:]}")
                continue
            stamp = records.stamp(_REELQ.packages)
            records.tell_and_keep({"kind": "probe", "name": name, "rows": rows, "figures": figures, **stamp}, results)


def _need(met: Callable[[], object], otherwise: str, seconds: float, every: float = 0.1) -> None:
    if not until(met, seconds, every):
        raise RuntimeError(f"{otherwise} within {seconds:g} s")


def _when(place: Ground, endpoint: str, seconds: float) -> Figures:
    """Wait until all rows have come to it."""
    began = time.monotonic()
    _need(lambda: place.asked(endpoint) >= place.rows, f"not all came to the {endpoint}", seconds, place.look_every)
    return {"all_there_after_s": time.monotonic() - began}


def _shares(race: Race) -> Figures:
    return {name: used for name, used in race.cpu().items() if name in ("worker", "broker", "database")}


def _percent(before: Figures, after: Figures, seconds: float) -> Figures:
    return {f"{name}_percent": 100 * (after[name] - before[name]) / seconds for name in after}


def _bare_look(place: Ground) -> float:
    """Seconds of the processor that httpx alone takes to ask for one render: no client that looks takes less."""
    headers = {**ATTRIBUTION, "Authorization": f"Bearer {TOKEN}"}
    render = place.sandbox.ledger()["renders"][0]["id"]
    with httpx.Client(base_url=place.sandbox.url, headers=headers, trust_env=False) as client:
        began = time.thread_time()
        for _ in range(_BARE_LOOKS):
            client.get(f"/api/render/proxy/lambda/{render}").raise_for_status()
        return (time.thread_time() - began) / _BARE_LOOKS


def _transactions(place: Ground) -> int:
    """All that the database has committed, its own statistics lagging by a second at most."""
    time.sleep(1)
    return _number(place, "SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = current_database()")


def _database_bytes(place: Ground) -> int:
    return _number(place, "SELECT pg_database_size(current_database())")


def _number(place: Ground, asked: str) -> int:
    with psycopg.connect(place.database) as connection:
        row = connection.execute(asked.encode()).fetchone()
    return int(row[0]) if row else 0


def _redis_bytes(place: Ground, which: str) -> int:
    with redis.Redis.from_url(place.redis.url) as client:
        return int(client.info("memory")[which])


if __name__ == "__main__":
    main()
