"""Connections to the truth: one engine a process, short transactions, and the database's own clock."""

import select
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.orm import Session

from reelq.errors import SettingsError
from reelq.settings import Settings
from reelq.store.clock import Clock

BUSY_SECONDS: Final = 30
FILE: Final = "reelq.db"
_URGENT: Final = 4
"""Connections kept for those who may not wait: lease renewal, and what takes back the jobs of the silent."""
_SPELL_SECONDS: Final = 10
AWAY: Final = (OperationalError, InterfaceError)
"""What a database that is away, restarting or locked raises: the same transaction may succeed later."""


def database_url(settings: Settings, name: str = FILE) -> URL:
    """Where the truth is kept: as told, else a SQLite file in the data folder."""
    if settings.reelq_database_url is None:
        return URL.create("sqlite", database=str(settings.reelq_data_dir / name))
    try:
        url = make_url(settings.reelq_database_url.get_secret_value())
    except ArgumentError:
        raise SettingsError("REELQ_DATABASE_URL: it is no database address") from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        return url
    raise SettingsError(f"REELQ_DATABASE_URL: {url.get_backend_name()} is not supported; use PostgreSQL or SQLite")


def is_away(error: BaseException) -> bool:
    """Whether the database rather than the statement is to blame: the same transaction may succeed later."""
    return isinstance(error, AWAY) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def is_broken(error: BaseException) -> bool:
    """Whether it is away, or is no database at all, as SQLite says of a file that is something else."""
    return is_away(error) or type(error) is DatabaseError


Transaction = Session
"""What `write`, `alone` and `read` give: to be handed to the nouns' functions, and to nothing else."""


class _Over(Session):
    """A session over a connection that somebody else got, and whose transaction somebody else begins and ends.

    With a connection and a transaction of the session's own, a short statement takes a fifth longer.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, expire_on_commit=False)
        self._connection = connection

    def connection(self, *_: Any, **_options: Any) -> Connection:
        return self._connection

    def commit(self) -> None:
        super().commit()
        self._connection.commit()

    def rollback(self) -> None:
        super().rollback()
        self._connection.rollback()


class Store:
    """The database as one process uses it. Every `write` is one transaction, committed when its block ends."""

    def __init__(self, url: URL, *, pool: int = 20, engine: Engine | None = None) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.engine = engine or (_sqlite(url, pool) if self.is_sqlite else _postgres(url, pool))
        # SQLite takes one writer at a time; waiting here is fair and quick, waiting in its busy handler is neither.
        self._turn: Any = threading.Lock() if self.is_sqlite else nullcontext()
        # A thousand threads wait before this door, and one that may not wait passes it by: there is room left for it.
        self._door: Any = threading.Semaphore(1 if self.is_sqlite else 2 * pool - _URGENT)
        self._readers: Any = threading.Semaphore(2 * pool - _URGENT) if self.is_sqlite else self._door
        self._reads: dict[str, Any] = {"reelq_reads": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._clock = Clock()
        self._ails = (0.0, 0.0, "")
        """Since when, until when and why transactions failed. One that works is no proof: it may have had no need to
        write."""

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Session]:
        """A transaction that may write; an urgent one does not wait for its turn behind all others of this process."""
        door = nullcontext() if urgent else self._door
        with self._noting(), door, self._turn, self.engine.begin() as connection, _Over(connection) as session:
            yield session
            session.flush()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """What ails the database is remembered."""
        try:
            yield
        except AWAY as error:
            self._note(str(error.orig).strip().partition("\n")[0])
            raise

    def _note(self, words: str) -> None:
        now = time.monotonic()
        since, last, _ = self._ails
        self._ails = since if now - last < _SPELL_SECONDS else now, now, words

    def ails(self, patience: float) -> str:
        """Why transactions have failed for longer than so many seconds; empty where they do not, or no more."""
        since, last, words = self._ails
        goes_on = time.monotonic() - last < _SPELL_SECONDS
        return words if goes_on and last - since > patience else ""

    @contextmanager
    def read(self) -> Iterator[Session]:
        """What only reads: it neither waits for a writer nor holds one up.

        On PostgreSQL each statement sees what is committed when it begins, within a transaction or without one; so
        there is none, which saves two round trips.
        """
        with self._readers, self.engine.connect().execution_options(**self._reads) as connection:
            yield _Over(connection)

    @contextmanager
    def alone(self) -> Iterator[Session]:
        """For one statement that writes, and is a transaction by itself: what follows it in the block can't undo it.

        On PostgreSQL that saves two round trips, as with what only reads. On SQLite it is a `write`.
        """
        if self.is_sqlite:
            with self.write() as session:
                yield session
            return
        with self._noting(), self._door, self.engine.connect().execution_options(**self._reads) as connection:
            yield _Over(connection)

    def now(self, session: Session) -> datetime:
        """The moment, by the clock that all workers share: the database's, where it is not this machine's."""
        if self.is_sqlite:
            return datetime.now(UTC)
        return self._clock.now(session)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _sqlite(url: URL, pool: int) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    told = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, connect_args=told, pool_size=pool, max_overflow=pool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin below, not by the driver's guess
        _keep_a_log_ahead(connection)
        # A decision to send must outlive a power cut, or it would be made a second time.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        reads = connection.get_execution_options().get("reelq_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _keep_a_log_ahead(connection: Any) -> None:
    """WAL: reader and writer do not wait for each other. Of two processes that set it up at once, one is refused."""
    patience = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:  # SQLite waits by itself, but not for this
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                raise
            time.sleep(0.01)
        else:
            return


def _postgres(url: URL, pool: int) -> Engine:
    told = {"connect_timeout": 5, "application_name": "reelq"}
    engine = create_engine(url, pool_size=pool, max_overflow=pool, connect_args=told)

    @event.listens_for(engine, "checkout")
    def look(connection: Any, _record: object, _proxy: object) -> None:
        """A server that went away has said so, or hung up: only where there is something to read is it asked."""
        if not _is_silent(connection):
            try:
                engine.dialect.do_ping(connection)
            except Exception:  # noqa: BLE001 - whatever it is, another connection is needed, and says what is wrong
                raise InvalidatePoolError from None

    return engine


def _is_silent(connection: Any) -> bool:
    if connection.closed or not hasattr(select, "poll"):
        return False
    watch = select.poll()
    watch.register(connection.fileno(), select.POLLIN)
    return not watch.poll(0)
