"""How quickly the REST service answers with 100,000 rows in PostgreSQL; and that it never reads a whole table."""

import re
import statistics
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import Connection, event, text

from api.service import Service
from reelq.settings import Settings
from reelq.store import gauges
from reelq.store.gauges import Ledger
from reelq.store.migrate import upgrade
from reelq.store.session import Store
from tests.api.serving import Served, serving
from tests.databases import add_account, add_batch, new_database, shown
from tests.servers import HAS_POSTGRES

ROWS: Final = 100_000
_EACH: Final = 1_000
_MOST_MS: Final = {"ann": 50, "bob": 30}
"""Whoever has all rows in one batch waits a little longer: two counts read an entry of an index for each of them."""
_BIG: Final = "sends|jobs|job_events"
_SCRAPE_MS: Final = 150
"""Its counts read an entry of an index for every row there is."""

_JOBS: Final = """
INSERT INTO jobs (id, batch_id, account_id, owner, row, name, key, file, "references", instruction, language, skill,
  session, priority, output, extra, route, stage, status, cause, run, admitted, due_at, publishes, lease_until, worker,
  attempts, looks, lapses, cancel_wished, to_send, follow_ups, resend, upload_baseline, remote_session_id,
  remote_task_id, remote_user_id, remote_render_id, renders, result_url, timeline, changes, reply, error_code, error,
  advice, raw, result_path, result_size, result_sha256, created_at, started_at, finished_at)
SELECT 'job_' || lpad(CAST(number AS text), 22, '0'), batch, :account, :owner, row, CAST(row AS text),
  encode(sha256(CAST(number AS text)::bytea), 'hex'), 'clip-' || row || '.mp4', '[]',
  'Trim the clip to its first five seconds', 'en', 'video-models', '', 0, row || '-clip.mp4', '{}', 'edit', stage,
  status, cause, 1, status = 'running', now(), 0, CASE WHEN status = 'running' THEN now() + interval '1 min' END, '',
  0, 0, 0, false, '', 0, false, '', 'sess-' || row, '', '', '', 0, '', repeat('one line of a timeline; ', 10), '[]',
  repeat('what the agent said about it ', 10), code, CASE WHEN code <> '' THEN 'It did not work' ELSE '' END, '', '',
  CASE WHEN done THEN row || '-clip.mp4' ELSE '' END, CASE WHEN done THEN 1000000 END,
  CASE WHEN done THEN encode(sha256(CAST(number AS text)::bytea), 'hex') ELSE '' END, now(), now(),
  CASE WHEN of_hundred < 62 THEN now() END
FROM (
  SELECT *, status = 'succeeded' AS done,
    CASE WHEN of_hundred < 50 THEN 'download' WHEN of_hundred < 55 THEN 'verify' ELSE 'upload' END AS stage,
    CASE WHEN status = 'waiting' THEN 'credits' END AS cause,
    CASE WHEN status <> 'failed' THEN '' WHEN of_hundred < 55 THEN 'no_effect' ELSE 'file_too_large' END AS code
  FROM (
    SELECT :first + n AS number, batches[1 + (n - 1) / :each] AS batch, 1 + (n - 1) % :each AS row,
      n % 100 AS of_hundred,
      CASE WHEN n % 100 < 50 THEN 'succeeded' WHEN n % 100 < 60 THEN 'failed' WHEN n % 100 < 62 THEN 'cancelled'
        WHEN n % 1000 = 999 THEN 'running' WHEN n % 100 < 70 THEN 'waiting' ELSE 'queued' END AS status
    FROM (SELECT CAST(:batches AS text[]) AS batches) AS named, generate_series(1, :rows) AS n
  ) AS numbered
) AS made
"""
"""Half of them done, a tenth failed, some cancelled, some waiting for credits, one in a thousand at work."""
_SENDS: Final = """
INSERT INTO sends (job_id, batch_id, account_id, number, run, text, why, fingerprint, sent_at, ended_well, reply,
  agent_error, outcome, reads, read_fingerprint, bears_costs, cost, shared)
SELECT id, batch_id, account_id, 1, 1, instruction, 'instruction', '', now(), true, '', '', 'applied', 1, '', false,
  10 + row % 7, false
FROM jobs WHERE owner = :owner
"""
_EVENTS: Final = """
INSERT INTO job_events (job_id, batch_id, at, what, run, stage, before, after, words)
SELECT id, batch_id, now(), 'queued', 1, 'upload', 'running', 'queued', 'the clip was uploaded: step ' || step
FROM generate_series(1, 3) AS step, jobs WHERE owner = :owner
"""


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
        _fill(store, "ann", 1, ROWS, first=0)
        _fill(store, "bob", ROWS // _EACH, _EACH, first=ROWS)
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        print(f"\nfilled in {time.perf_counter() - began:.1f} s")
        settings = Settings(reelq_database_url=shown(url), reelq_data_dir=folder, reelq_secret_key="k" * 32)
        with serving(Service(settings, store)) as served:
            yield served
        store.close()


def _fill(store: Store, owner: str, batches: int, each: int, *, first: int) -> None:
    with store.write() as session:
        # Not each reference is looked up again: they are right.
        session.execute(text("SET LOCAL session_replication_role = replica"))
        now = store.now(session)
        account = add_account(session, now, credential=owner)
        ids = [add_batch(session, now, owner=owner, name=f"{number}.csv") for number in range(batches)]
        of_all = {"owner": owner, "account": account}
        session.execute(text(_JOBS), {**of_all, "batches": ids, "each": each, "rows": batches * each, "first": first})
        session.execute(text(_SENDS), {"owner": owner})
        session.execute(text(_EVENTS), {"owner": owner})


@pytest.mark.benchmark
def test_lists_batches_and_jobs_are_answered_in_a_blink(filled: Served, capsys: pytest.CaptureFixture[str]) -> None:
    slow = []
    for owner, client, paths in _asked(filled):
        for path in paths:
            took = min(_median_ms(client, path) for _ in range(3))
            with capsys.disabled():
                print(f"{owner}: {took:6.1f} ms  {path}")
            slow += [(owner, path, took)] if took >= _MOST_MS[owner] else []
    assert not slow


@pytest.mark.benchmark
def test_a_scrape_of_the_whole_deployment_is_cheap(filled: Served, capsys: pytest.CaptureFixture[str]) -> None:
    ledger, took, counts = Ledger(), [], set[int]()
    for _ in range(11):
        began = time.perf_counter()
        with filled.store.read() as session:
            found = gauges.figures(session, filled.store.now(session), ledger)
        took.append((time.perf_counter() - began) * 1000)
        counts.add(sum(place.count for place in found.places))
    assert counts == {2 * ROWS}
    with capsys.disabled():
        print(f"everybody: {min(took):6.1f} ms  /metrics, of {2 * ROWS:,} rows")
    assert min(took) < _SCRAPE_MS


@pytest.mark.benchmark
def test_no_question_of_theirs_reads_a_whole_table(filled: Served) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(filled.store.engine, "before_cursor_execute", note)
    for _, client, paths in _asked(filled):
        for path in paths:
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
        yield owner, client, _paths(batch, job)


def _paths(batch: str, job: str) -> list[str]:
    jobs = f"/v1/batches/{batch}/jobs"
    filters = (
        "status=failed",
        "status=running",
        "status=waiting&cause=credits",
        "status=succeeded&cursor=row_900",
        "error_code=no_effect",
        "error_code=nothing_such",
        "stage=poll",
        "cursor=row_900",
        "limit=200",
    )
    return ["/v1/batches", f"/v1/batches/{batch}", jobs, *(f"{jobs}?{one}" for one in filters), f"/v1/jobs/{job}"]


def _median_ms(client: httpx.Client, path: str) -> float:
    took = []
    for _ in range(11):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
