"""Very many rows in PostgreSQL, made there, and the questions that the REST service is asked about them."""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import URL, text

from api.deps import Service
from reelq.settings import Settings
from reelq.store.db.engine import Store
from reelq.store.db.migrations import upgrade
from tests.api.serving import Served, serving
from tests.databases import add_account, add_batch, add_job, shown

_JOBS: Final = """
INSERT INTO jobs
SELECT made.* FROM jobs AS pattern, (
  SELECT *, CASE WHEN status = 'waiting' THEN 'credits' END AS cause, status = 'running' AS admitted,
    CASE WHEN status = 'running' THEN now() + interval '1 min' END AS lease_until,
    CASE WHEN of_hundred < 50 THEN 'download' WHEN of_hundred < 55 THEN 'verify' ELSE 'upload' END AS stage,
    CASE WHEN status <> 'failed' THEN '' WHEN of_hundred < 55 THEN 'no_effect' ELSE 'file_too_large' END AS error_code,
    CASE WHEN status = 'failed' THEN 'It did not work' ELSE '' END AS error,
    CASE WHEN status = 'succeeded' THEN output ELSE '' END AS result_path,
    CASE WHEN status = 'succeeded' THEN 1000000 END AS result_size,
    CASE WHEN status = 'succeeded' THEN key ELSE '' END AS result_sha256,
    CASE WHEN of_hundred < 62 THEN now() END AS finished_at
  FROM (
    SELECT 'job_' || lpad(CAST(:first + n AS text), 22, '0') AS id,
      encode(sha256(CAST(:first + n AS text)::bytea), 'hex') AS key, batches[1 + (n - 1) / :each] AS batch_id,
      1 + (n - 1) % :each AS row, CAST(1 + (n - 1) % :each AS text) AS name, n % 100 AS of_hundred,
      'clip-' || 1 + (n - 1) % :each || '.mp4' AS file, 1 + (n - 1) % :each || '-clip.mp4' AS output,
      'sess-' || 1 + (n - 1) % :each AS remote_session_id,
      CASE WHEN n % 100 < 50 THEN 'succeeded' WHEN n % 100 < 60 THEN 'failed' WHEN n % 100 < 62 THEN 'cancelled'
        WHEN n % 1000 = 999 THEN 'running' WHEN n % 100 < 70 THEN 'waiting' ELSE 'queued' END AS status
    FROM (SELECT CAST(:batches AS text[]) AS batches) AS named, generate_series(1, :rows) AS n
  ) AS numbered
) AS changed, LATERAL jsonb_populate_record(pattern, to_jsonb(changed)) AS made
WHERE pattern.id = :pattern
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


def fill(store: Store, owner: str, batches: int, each: int, *, first: int) -> None:
    """So many batches of an owner's, with so many rows each; `first` keeps their ids apart from those of others."""
    with store.write() as session:
        # Not each reference is looked up again: they are right.
        session.execute(text("SET LOCAL session_replication_role = replica"))
        now = store.now(session)
        account = add_account(session, now, credential=owner)
        ids = [add_batch(session, now, owner=owner, name=f"{number}.csv") for number in range(batches)]
        words = {"timeline": "one line of a timeline; " * 10, "reply": "what the agent said about it " * 10}
        pattern = add_job(session, now, batch_id=ids[0], account_id=account, owner=owner, row=0, **words)
        made = {"pattern": pattern, "batches": ids, "each": each, "rows": batches * each, "first": first}
        session.execute(text(_JOBS), made)
        session.execute(text("DELETE FROM jobs WHERE id = :pattern"), {"pattern": pattern})
        session.execute(text(_SENDS), {"owner": owner})
        session.execute(text(_EVENTS), {"owner": owner})


@contextmanager
def served(url: URL, folder: Path, owners: Mapping[str, tuple[int, int]]) -> Iterator[Served]:
    """The REST service over PostgreSQL, where each owner has so many batches with so many rows each."""
    settings = Settings(reelq_database_url=shown(url), reelq_data_dir=folder, reelq_secret_key="k" * 32)
    store = Store(url)
    try:
        upgrade(store)
        first = 0
        for owner, (batches, each) in owners.items():
            fill(store, owner, batches, each, first=first)
            first += batches * each
        # As the database does by itself before long: it has to know what it holds.
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        with serving(Service(settings, store)) as made:
            yield made
    finally:
        store.close()


def questions(client: httpx.Client) -> dict[str, str]:
    """What a page that shows a batch and a job asks for, with every filter that there is: in general, and of these."""
    jobs = "/v1/batches/BATCH/jobs"
    filters = (
        "status=failed", "status=running", "status=waiting&cause=credits", "status=succeeded&cursor=row_900",
        "error_code=no_effect", "error_code=nothing_such", "stage=poll", "cursor=row_900", "limit=200",
    )  # fmt: skip
    general = ["/v1/batches", "/v1/batches/BATCH", jobs, *(f"{jobs}?{one}" for one in filters), "/v1/jobs/JOB"]
    batch = client.get("/v1/batches").json()["items"][0]["id"]
    job = client.get(f"/v1/batches/{batch}/jobs", params={"status": "failed"}).json()["items"][0]["id"]
    return {one: one.replace("BATCH", batch).replace("JOB", job) for one in general}


def median_ms(client: httpx.Client, path: str) -> float:
    """Milliseconds until it is answered."""
    took = []
    for _ in range(11):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
