"""Connections to the database: one engine per process, short transactions, and the database's clock."""

import select as select_
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
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

BUSY_SECONDS: Final = 30
DATABASE_FILE: Final = "reelq.db"
_URGENT: Final = 4
"""Connections reserved for work that must not wait: renewing leases and requeueing jobs of dead workers."""
_FAILURE_GAP_SECONDS: Final = 10
"""Failures at most this far apart count as one outage."""
UNAVAILABLE: Final = (OperationalError, InterfaceError)
"""The errors of a database that is unavailable, restarting or locked: the same transaction may succeed later."""


def database_url(settings: Settings, name: str = DATABASE_FILE) -> URL:
    """The address of the database: the configured one, else a SQLite file in the data folder."""
    if settings.reelq_database_url is None:
        return URL.create("sqlite", database=str(settings.reelq_data_dir / name))
    try:
        url = make_url(settings.reelq_database_url.get_secret_value())
    except ArgumentError:
        raise SettingsError("REELQ_DATABASE_URL: this is not a valid database URL") from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        return url
    raise SettingsError(f"REELQ_DATABASE_URL: {url.get_backend_name()} is not supported; use PostgreSQL or SQLite")


def is_unavailable(error: BaseException) -> bool:
    """Whether an error means that the database is unavailable: the same transaction may succeed later."""
    return isinstance(error, UNAVAILABLE) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def is_broken(error: BaseException) -> bool:
    """Whether the database is unavailable, or is no database at all: a file that SQLite does not recognise."""
    return is_unavailable(error) or type(error) is DatabaseError


Transaction = Session
"""The session that `write`, `autocommit` and `read` yield. Pass it only to functions of the store."""


class _SessionOn(Session):
    """A session on a connection whose transaction the caller begins and ends.

    If the session got a connection and a transaction of its own, a short statement would take a fifth longer.
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
    """One process's access to the database. Every `write` is one transaction, committed when its block ends."""

    def __init__(self, url: URL, *, pool: int = 20, engine: Engine | None = None) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.engine = engine or (_sqlite(url, pool) if self.is_sqlite else _postgres(url, pool))
        # SQLite allows one writer at a time. Waiting for this lock is fair and quick; its busy handler is neither.
        self._write_lock: Any = threading.Lock() if self.is_sqlite else nullcontext()
        # A thousand threads may wait for this. Urgent transactions skip it, and find one of the reserved connections.
        self._writers: Any = threading.Semaphore(1 if self.is_sqlite else 2 * pool - _URGENT)
        self._readers: Any = threading.Semaphore(2 * pool - _URGENT) if self.is_sqlite else self._writers
        self._read_options: dict[str, Any] = (
            {"reelq_reads": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        )
        self._clock = Clock()
        self._outage = (0.0, 0.0, "")
        """When transactions began to fail, when one failed last, and why. A successful transaction does not reset this:
        it may not have needed to write."""

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Session]:
        """A transaction that may write. An urgent one does not queue behind the others of this process."""
        slot = nullcontext() if urgent else self._writers
        with (
            self._recording_failures(),
            slot,
            self._write_lock,
            self.engine.begin() as connection,
            _SessionOn(connection) as session,
        ):
            yield session
            session.flush()

    @contextmanager
    def _recording_failures(self) -> Iterator[None]:
        """Remember that the database is unavailable, for `outage`."""
        try:
            yield
        except UNAVAILABLE as error:
            now = time.monotonic()
            since, last, _ = self._outage
            message = str(error.orig).strip().partition("\n")[0]
            self._outage = since if now - last < _FAILURE_GAP_SECONDS else now, now, message
            raise

    def outage(self, patience: float) -> str:
        """Why transactions have been failing for more than `patience` seconds; empty if they are not."""
        since, last, message = self._outage
        is_current = time.monotonic() - last < _FAILURE_GAP_SECONDS
        return message if is_current and last - since > patience else ""

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads. It neither waits for a writer nor blocks one.

        On PostgreSQL it runs in autocommit mode, which saves two round trips. A transaction would make no difference:
        each statement sees what is committed when it starts.
        """
        with self._readers, self.engine.connect().execution_options(**self._read_options) as connection:
            yield _SessionOn(connection)

    @contextmanager
    def autocommit(self) -> Iterator[Session]:
        """A session for one statement that writes and commits by itself: an error later in the block can't undo it.

        On PostgreSQL this uses autocommit mode, which saves two round trips. On SQLite it is the same as `write`.
        """
        if self.is_sqlite:
            with self.write() as session:
                yield session
            return
        with (
            self._recording_failures(),
            self._writers,
            self.engine.connect().execution_options(**self._read_options) as connection,
        ):
            yield _SessionOn(connection)

    def now(self, session: Session) -> datetime:
        """The current time by the clock that all workers share: the database server's, or this machine's for SQLite."""
        return datetime.now(UTC) if self.is_sqlite else self._clock.now(session)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _sqlite(url: URL, pool: int) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    connect_args = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect_args, pool_size=pool, max_overflow=pool)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # `begin` below starts transactions, not the driver
        _enable_wal(connection)
        # A send must survive a power cut, or the instruction would be sent a second time.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        is_read = connection.get_execution_options().get("reelq_reads")
        connection.exec_driver_sql("BEGIN" if is_read else "BEGIN IMMEDIATE")

    return engine


def _enable_wal(connection: Any) -> None:
    """Turn on write-ahead logging, so that readers and the writer do not block each other.

    If two processes turn it on at once, SQLite refuses one of them, which then retries.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:  # the busy timeout does not apply to this
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _postgres(url: URL, pool: int) -> Engine:
    connect_args = {"connect_timeout": 5, "application_name": "reelq"}
    engine = create_engine(url, pool_size=pool, max_overflow=pool, connect_args=connect_args)

    @event.listens_for(engine, "checkout")
    def check(connection: Any, _record: object, _proxy: object) -> None:
        """Ping the server only if its socket has something to read: a message that it shuts down, or a hang-up."""
        if not _is_silent(connection):
            try:
                engine.dialect.do_ping(connection)
            except Exception:  # noqa: BLE001 - whatever it is, a new connection is needed, which will show any lasting fault
                raise InvalidatePoolError from None

    return engine


def _is_silent(connection: Any) -> bool:
    """Whether the connection is open and its socket has nothing to read."""
    if connection.closed or not hasattr(select_, "poll"):
        return False
    poll = select_.poll()
    poll.register(connection.fileno(), select_.POLLIN)
    return not poll.poll(0)


KEPT_SECONDS: Final = 10.0
"""How long a reading of the clock is extrapolated before it is checked: no clock drifts by a millisecond until then."""
QUICK_SECONDS: Final = 0.003
"""A reading that took longer is used once and not extrapolated: its age on arrival is not known well enough."""
SKEW: Final = timedelta(seconds=2 * QUICK_SECONDS)
"""An upper bound on how far the clocks of two processes can be apart."""
_SELECT_NOW: Final = select(func.clock_timestamp())


def ticks() -> float:
    """Seconds of this machine's monotonic clock: of one that goes on during sleep, if the system has one."""
    return time.clock_gettime(_BOOT_CLOCK) if _BOOT_CLOCK is not None else time.monotonic()


_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", None)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The database's time at one tick of this machine's clock, and the tick at which it was last checked."""

    moment: datetime
    tick: float
    checked: float

    def at(self, tick: float) -> datetime:
        return self.moment + timedelta(seconds=tick - self.tick)


class Clock:
    """The database's clock, extrapolated from a reading by this machine's monotonic clock.

    Asking the database for the time in each transaction would take a tenth of a worker's time.
    """

    def __init__(self) -> None:
        self._reading: _Reading | None = None

    def now(self, session: Session) -> datetime:
        """The current time of the database."""
        reading, before = self._reading, ticks()
        if reading and before - reading.checked < KEPT_SECONDS:
            return reading.at(before)
        moment: datetime = session.execute(_SELECT_NOW).scalar_one().astimezone(UTC)
        after = ticks()
        if reading and reading.at(before) <= moment <= reading.at(after):
            # The old reading is still right. Replacing it with one that is no better would make time jump.
            self._reading = replace(reading, checked=after)
            return reading.at(after)
        is_quick = after - before <= QUICK_SECONDS
        self._reading = _Reading(moment, (before + after) / 2, after) if is_quick else None
        return moment
