"""How quickly the REST service answers with 100,000 rows in PostgreSQL; and that it never reads a whole table."""

import re
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from sqlalchemy import event

from reelq.store.queries import metrics
from tests.api.serving import Served
from tests.benchmarks.stock import median_ms, questions, served
from tests.databases import new_database
from tests.servers import HAS_POSTGRES

pytestmark = pytest.mark.benchmark
ROWS: Final = 100_000
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
    with (
        new_database("postgresql", folder) as url,
        served(url, folder, {"ann": (1, ROWS), "bob": (ROWS // 1000, 1000)}) as made,
    ):
        yield made


@pytest.mark.parametrize("owner", _MOST_MS)
def test_lists_batches_and_jobs_are_answered_in_a_blink(filled: Served, owner: str) -> None:
    client, took = filled.client(owner), {}
    for path in questions(client).values():
        took[path] = min(median_ms(client, path) for _ in range(3))
        print(f"{owner}: {took[path]:6.1f} ms  {path}")
    assert not {path: ms for path, ms in took.items() if ms >= _MOST_MS[owner]}


def test_a_scrape_of_the_whole_deployment_is_cheap(filled: Served) -> None:
    sums, took, counts = dict[str, metrics.ReadingSums](), [], set[float]()
    for _ in range(11):
        began = time.perf_counter()
        with filled.store.read() as session:
            found = list(metrics.collect(session, filled.store.now(session), sums))
        took.append((time.perf_counter() - began) * 1000)
        counts.add(sum(sample.value for sample in found[0].samples))
    assert counts == {2 * ROWS}
    print(f"everybody: {min(took):6.1f} ms  /metrics, of {2 * ROWS:,} rows")
    assert min(took) < _SCRAPE_MS


@pytest.mark.parametrize("owner", _MOST_MS)
def test_no_question_of_theirs_reads_a_whole_table(filled: Served, owner: str) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    client = filled.client(owner)
    wanted = questions(client).values()
    event.listen(filled.store.engine, "before_cursor_execute", note)
    for path in wanted:
        client.get(path).raise_for_status()
    event.remove(filled.store.engine, "before_cursor_execute", note)
    about = [one for one in asked if re.search(rf"^SELECT.*\b({_BIG})\b", one[0], re.DOTALL)]
    assert len(about) > 25
    with filled.store.engine.connect() as connection:
        for statement, parameters in about:
            plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
            assert not re.search(rf"Seq Scan on ({_BIG})\b", plan), statement
