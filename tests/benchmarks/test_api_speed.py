"""How quickly the REST service answers with 100,000 rows in PostgreSQL; and that it never reads a whole table."""

import re
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import Connection, event

from api.service import Service
from reelq.settings import Settings
from reelq.store import gauges
from reelq.store.gauges import Ledger
from reelq.store.migrate import upgrade
from reelq.store.session import Store
from tests.api.serving import Served, serving
from tests.benchmarks.stock import fill, median_ms, paths, vacuum
from tests.databases import new_database, shown
from tests.servers import HAS_POSTGRES

pytestmark = pytest.mark.benchmark
ROWS: Final = 100_000
_EACH: Final = 1_000
_MOST_MS: Final = {"ann": 50, "bob": 30}
"""Whoever has all rows in one batch waits a little longer: two counts read an entry of an index for each of them."""
_BIG: Final = "sends|jobs|job_events"
_SCRAPE_MS: Final = 150
"""Its counts read an entry of an index for every row there is."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """100,000 rows of one owner in one batch, and as many of another in a hundred."""
    if not HAS_POSTGRES:
        pytest.skip("this is about PostgreSQL")
    folder = tmp_path_factory.mktemp("speed")
    with new_database("postgresql", folder) as url:
        store = Store(url)
        upgrade(store)
        began = time.perf_counter()
        fill(store, "ann", 1, ROWS, first=0)
        fill(store, "bob", ROWS // _EACH, _EACH, first=ROWS)
        vacuum(store)
        print(f"\nfilled in {time.perf_counter() - began:.1f} s")
        settings = Settings(reelq_database_url=shown(url), reelq_data_dir=folder, reelq_secret_key="k" * 32)
        with serving(Service(settings, store)) as served:
            yield served
        store.close()


def test_lists_batches_and_jobs_are_answered_in_a_blink(filled: Served) -> None:
    slow = []
    for owner, client, wanted in _asked(filled):
        for path in wanted:
            took = min(median_ms(client, path) for _ in range(3))
            print(f"{owner}: {took:6.1f} ms  {path}")
            slow += [(owner, path, took)] if took >= _MOST_MS[owner] else []
    assert not slow


def test_a_scrape_of_the_whole_deployment_is_cheap(filled: Served) -> None:
    ledger, took, counts = Ledger(), [], set[int]()
    for _ in range(11):
        began = time.perf_counter()
        with filled.store.read() as session:
            found = gauges.figures(session, filled.store.now(session), ledger)
        took.append((time.perf_counter() - began) * 1000)
        counts.add(sum(place.count for place in found.places))
    assert counts == {2 * ROWS}
    print(f"everybody: {min(took):6.1f} ms  /metrics, of {2 * ROWS:,} rows")
    assert min(took) < _SCRAPE_MS


def test_no_question_of_theirs_reads_a_whole_table(filled: Served) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(filled.store.engine, "before_cursor_execute", note)
    for _, client, wanted in _asked(filled):
        for path in wanted:
            client.get(path).raise_for_status()
    event.remove(filled.store.engine, "before_cursor_execute", note)
    about = [one for one in asked if re.search(rf"^SELECT.*\b({_BIG})\b", one[0], re.DOTALL)]
    assert len(about) > 50
    with filled.store.engine.connect() as connection:
        whole = [one[0] for one in about if re.search(rf"Seq Scan on ({_BIG})\b", _plan(connection, *one))]
    assert not whole


def _plan(connection: Connection, statement: str, parameters: Any) -> str:
    return "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())


def _asked(filled: Served) -> Iterator[tuple[str, httpx.Client, list[str]]]:
    for owner in ("ann", "bob"):
        client = filled.client(owner)
        batch = client.get("/v1/batches").json()["items"][0]["id"]
        job = client.get(f"/v1/batches/{batch}/jobs", params={"status": "failed"}).json()["items"][0]["id"]
        yield owner, client, paths(batch, job)
