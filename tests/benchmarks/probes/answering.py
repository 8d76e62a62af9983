"""How quickly the REST service answers over very many jobs."""

import tempfile
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from api.service import Service
from reelq.settings import Settings
from reelq.store.migrate import upgrade
from reelq.store.session import Store
from tests.api.serving import serving
from tests.benchmarks import stock
from tests.databases import shown
from tests.servers import Postgres

_BATCHES: Final = 10


def answers(postgres: Postgres, jobs: int) -> dict[str, float]:
    """The median of each question, in milliseconds, with so many jobs of one owner in ten batches."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, postgres.database() as address:
        url = make_url(address).set(drivername="postgresql+psycopg")
        settings = Settings(reelq_database_url=shown(url), reelq_data_dir=Path(name), reelq_secret_key="k" * 32)
        store = Store(url)
        try:
            return _asked(store, settings, jobs)
        finally:
            store.close()


def _asked(store: Store, settings: Settings, jobs: int) -> dict[str, float]:
    upgrade(store)
    stock.fill(store, "ann", _BATCHES, jobs // _BATCHES, first=0)
    stock.vacuum(store)
    took: dict[str, float] = {}
    with serving(Service(settings, store)) as served:
        client = served.client("ann")
        batch = client.get("/v1/batches").json()["items"][0]["id"]
        job = client.get(f"/v1/batches/{batch}/jobs").json()["items"][0]["id"]
        for path in stock.paths(batch, job):
            what = path.replace(batch, "BATCH").replace(job, "JOB")
            took[f"{what} ms"] = stock.median_ms(client, path)
    return {**took, "worst_ms": max(took.values())}
