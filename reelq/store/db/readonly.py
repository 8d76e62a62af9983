"""Opens a database read-only: it is not created, migrated or written to."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

from sqlalchemy import URL, Engine, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from reelq.settings import Settings
from reelq.store.db.engine import DATABASE_FILE, Store, database_url

_CONNECT_SECONDS: Final = 3


class _ReadOnlyStore(Store):
    """A store that refuses to write. With SQLite, its connections are read-only as well."""

    def __init__(self, url: URL) -> None:
        super().__init__(url, engine=_sqlite(url) if url.get_backend_name() == "sqlite" else _postgres(url))

    def write(self, *, urgent: bool = False) -> NoReturn:
        raise TypeError("this database is open read-only")


@contextmanager
def open_read_only(settings: Settings, name: str = DATABASE_FILE) -> Iterator[Store | None]:
    """The database that the settings name, opened read-only; None if its file does not exist yet."""
    url = database_url(settings, name)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        yield None
        return
    store = _ReadOnlyStore(url)
    try:
        yield store
    finally:
        store.close()


def safe_address(url: URL) -> str:
    """The address of a database, safe to show: without the password and the query."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def _sqlite(url: URL) -> Engine:
    path = Path(url.database or "").absolute()
    # Without a writer there is no write-ahead log, and opening the file would create one. `immutable` prevents that.
    # It is safe: without a log, the file holds everything.
    immutable = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    address = f"file:{quote(str(path))}?mode=ro{immutable}"
    return create_engine(
        url, creator=lambda: sqlite3.connect(address, uri=True, timeout=_CONNECT_SECONDS), poolclass=NullPool
    )


def _postgres(url: URL) -> Engine:
    # Not by `options`: connection poolers refuse those.
    connect_args = {"connect_timeout": _CONNECT_SECONDS, "application_name": "reelq"}
    return create_engine(url, connect_args=connect_args, poolclass=NullPool)


def database_message(error: BaseException) -> str:
    """The database's message about an error, in one line; empty if the error is not from the database."""
    if not isinstance(error, SQLAlchemyError):
        return ""
    message = str(getattr(error, "orig", None) or error).strip()
    return next(iter(message.splitlines()), "") or type(error).__name__
