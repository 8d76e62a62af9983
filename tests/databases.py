"""Databases for tests, SQLite always and PostgreSQL where it is installed, and rows to put into them."""

import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
import pytest
from sqlalchemy import URL, Select, insert, inspect, make_url, select, update
from sqlalchemy.orm import Session

from reelq.job import Route, Stage, Status
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.migrations import upgrade
from reelq.store.db.models import Account, AccountKind, Base, Batch, BatchState, Job, Outcome, Send
from reelq.store.db.types import new_id
from tests.servers import HAS_POSTGRES, once_a_run, own_database, shared_postgres

_TEMPLATE: Final = "reelq_migrated"
T = TypeVar("T")
Row = TypeVar("Row", bound=Base)

KINDS: Final = ("sqlite", "postgresql") if HAS_POSTGRES else ("sqlite",)

on_sqlite: Final = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
"""For tests of which the database makes no difference."""
on_postgres: Final = pytest.mark.parametrize(
    "store",
    [pytest.param("postgresql", marks=pytest.mark.skipif(not HAS_POSTGRES, reason="PostgreSQL is not installed"))],
    indirect=True,
)
"""For what only happens where several transactions write at once, or where there is a server."""


class ReusedDatabase:
    """One database for many tests, emptied after each. That is quicker than a copy for each, above all because the
    engine keeps its connections and the statements it has compiled."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._copy = new_database(kind, folder)
        self._url = self._copy.__enter__()
        store = Store(self._url)
        self._engine = store.engine
        self._tables = sorted(set(inspect(self._engine).get_table_names()) - {"alembic_version"})

    @contextmanager
    def lend(self) -> Iterator[Store]:
        """A store without a row. Nothing but the database outlives the block."""
        store = Store(self._url, engine=self._engine)
        try:
            yield store
        finally:
            self._empty(store.is_sqlite)

    def close(self) -> None:
        """Drop it."""
        self._engine.dispose()
        self._copy.__exit__(None, None, None)

    def _empty(self, is_sqlite: bool) -> None:
        deletions = "".join(f"DELETE FROM {table};" for table in self._tables)
        if is_sqlite:
            with closing(sqlite3.connect(str(self._url.database), timeout=60)) as connection:
                connection.executescript(f"PRAGMA synchronous = OFF; BEGIN IMMEDIATE; {deletions} COMMIT;")
            return
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            driver: Any = connection.connection.driver_connection
            # A transaction that a test left open would hold the rows back, and add its own later.
            driver.execute(_END_TRANSACTIONS)
            driver.execute(f"BEGIN; SET LOCAL session_replication_role = replica; {deletions} COMMIT")


_END_TRANSACTIONS: Final = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[URL]:
    """A database at the newest version, without a row; gone afterwards. Migrated once a run, then copied."""
    if kind == "sqlite":
        migrated = once_a_run("migrated.db", lambda path: _migrate(_file(path)))
        yield _file(Path(shutil.copy(migrated, folder / "reelq.db")))
        return
    server = shared_postgres()
    once_a_run("migrated", lambda note: _make_template(server, note))
    with own_database(server, _TEMPLATE) as address:
        yield _psycopg(address)


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[URL]:
    """A database without a table, gone afterwards."""
    if kind == "sqlite":
        yield _file(folder / "reelq.db")
        return
    with own_database(shared_postgres()) as address:
        yield _psycopg(address)


def _make_template(server: str, note: Path) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0".encode())
    _migrate(_psycopg(server).set(database=_TEMPLATE))
    note.touch()


def _migrate(url: URL) -> None:
    store = Store(url)
    upgrade(store)
    store.close()


def _file(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _psycopg(address: str) -> URL:
    return make_url(address).set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """The address as another process needs it, password included."""
    return url.render_as_string(hide_password=False)


@contextmanager
def moment(store: Store) -> Iterator[tuple[Transaction, datetime]]:
    """A transaction that may write, and the moment at which it begins."""
    with store.write() as session:
        yield session, store.now(session)


def done(store: Store, act: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What it comes to when this is done in a transaction of its own."""
    with store.write() as session:
        return act(session, *args, **kwargs)


def selected(store: Store, query: Select[T]) -> list[T]:
    """The first column of the rows that a question finds."""
    with store.read() as session:
        return list(session.scalars(query))


def change(store: Store, table: type[Base], row_id: object, **values: Any) -> None:
    """Give a row these values, past everything that would do so by rules."""
    with store.write() as session:
        session.execute(update(table).where(table.__table__.c.id == row_id).values(**values))


def found(store: Store, table: type[Row], row_id: object) -> Row:
    """The row as it stands."""
    with store.read() as session:
        return session.get_one(table, row_id)


def add_account(session: Session, now: datetime, **values: Any) -> str:
    """An account on which nothing is held off; its id."""
    row = {
        "id": new_id("acc"),
        "service_url": "https://service.example",
        "credential": "anonymous",
        "kind": AccountKind.ANONYMOUS,
        "window": 4,
        "created_at": now,
    } | values
    session.execute(insert(Account).values(**row))
    return str(row["id"])


def add_batch(session: Session, now: datetime, **values: Any) -> str:
    """An active batch of nobody's; its id."""
    row = {
        "id": new_id("bat"),
        "owner": "local",
        "name": "jobs",
        "source": "",
        "out": "",
        "columns": [],
        "options": {},
        "state": BatchState.ACTIVE,
        "created_at": now,
    } | values
    session.execute(insert(Batch).values(**row))
    return str(row["id"])


def job_row(batch_id: str, account_id: str, now: datetime, **values: Any) -> dict[str, Any]:
    """The columns of a job that has just come in: queued for its upload, under a key of its own."""
    return {
        "id": new_id("job"),
        "batch_id": batch_id,
        "account_id": account_id,
        "owner": "local",
        "row": 1,
        "name": "beach",
        "key": secrets.token_hex(32),
        "file": "beach.mp4",
        "references": [],
        "instruction": "Trim to 5 s",
        "language": "en",
        "skill": "video-models",
        "session": "",
        "priority": 0,
        "output": "1-beach.mp4",
        "extra": {},
        "route": Route.EDIT,
        "stage": Stage.UPLOAD,
        "status": Status.QUEUED,
        "due_at": now,
        "changes": [],
        "created_at": now,
    } | values


def add_job(session: Session, now: datetime, *, batch_id: str = "", account_id: str = "", **values: Any) -> str:
    """A job, in a new batch and with a new account where none is named; its id."""
    account_id = account_id or add_account(session, now, credential=secrets.token_hex(8))
    row = job_row(batch_id or add_batch(session, now), account_id, now, **values)
    session.execute(insert(Job).values(**row))
    return str(row["id"])


def add_send(session: Session, now: datetime, job_id: str, account_id: str, **values: Any) -> int:
    """A decision to send that is still open; its id."""
    row = {
        "job_id": job_id,
        "batch_id": select(Job.batch_id).where(Job.id == job_id).scalar_subquery(),
        "account_id": account_id,
        "number": 1,
        "run": 1,
        "text": "Trim to 5 s",
        "why": "first",
        "fingerprint": "",
        "sent_at": now,
        "outcome": Outcome.OPEN,
    } | values
    return int(session.execute(insert(Send).values(**row).returning(Send.id)).scalar_one())
