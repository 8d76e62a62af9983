"""A database as it is: opened for reading alone, and neither made, migrated nor written to."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

from sqlalchemy import URL, Engine, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from reelq.settings import Settings
from reelq.store.session import FILE, Store, database_url

_CONNECT_SECONDS: Final = 3


class _AsItIs(Store):
    """A store that can't write, on a connection that could not either where the database is a file."""

    def __init__(self, url: URL) -> None:
        super().__init__(url, engine=_file(url) if url.get_backend_name() == "sqlite" else _server(url))

    def write(self, *, urgent: bool = False) -> NoReturn:
        raise TypeError("this database was opened to be looked at")


@contextmanager
def looking(settings: Settings, name: str = FILE) -> Iterator[Store | None]:
    """The database that the settings name, where there is one yet."""
    url = database_url(settings, name)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        yield None
        return
    store = _AsItIs(url)
    try:
        yield store
    finally:
        store.close()


def shown(url: URL) -> str:
    """Where a database is, as it may be shown: without the password, and what a query may hold."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def _file(url: URL) -> Engine:
    path = Path(url.database or "").absolute()
    # Where nobody writes there is no log beside it, and opening one would make it: the file is then all there is.
    alone = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    address = f"file:{quote(str(path))}?mode=ro{alone}"
    return create_engine(
        url, creator=lambda: sqlite3.connect(address, uri=True, timeout=_CONNECT_SECONDS), poolclass=NullPool
    )


def _server(url: URL) -> Engine:
    # Not through `options`: poolers between us and the server refuse those.
    connect_args = {"connect_timeout": _CONNECT_SECONDS, "application_name": "reelq"}
    return create_engine(url, connect_args=connect_args, poolclass=NullPool)


def trouble(error: BaseException) -> str:
    """What the database says is wrong, in a line; empty where the error is none of its own."""
    if not isinstance(error, SQLAlchemyError):
        return ""
    told = str(getattr(error, "orig", None) or error).strip()
    return next(iter(told.splitlines()), "") or type(error).__name__
