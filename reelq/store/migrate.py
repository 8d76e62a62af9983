"""Bring a database to the newest version of the schema, or back to an older one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, func, select

from reelq.errors import SettingsError
from reelq.store import schema
from reelq.store.session import Store

_LOCK: Final = int.from_bytes(b"reelq")
"""The advisory lock's number; whoever migrates the same database asks for the same one."""


def upgrade(store: Store) -> None:
    """Bring the database to the newest version; nothing happens where it is there, and several may do so at once."""
    if schema.is_current(store):
        return
    with alone(store) as connection:
        _refuse_newer(connection)
        command.upgrade(_config(connection), "head")


def downgrade(store: Store, to: str) -> None:
    """Take the database back to an older version, or to `base`, before the first; what only newer ones keep is lost."""
    with alone(store) as connection:
        _refuse_newer(connection)
        command.downgrade(_config(connection), to)


@contextmanager
def alone(store: Store) -> Iterator[Connection]:
    """One transaction in which nobody else migrates: others wait at its door, and then find the work done.

    SQLite changes a table by rebuilding it, and dropping the old one would take along all rows that refer to it. So
    foreign keys rest meanwhile, and are checked before the end. They can be switched only outside of a transaction.
    """
    with store.engine.connect() as connection:
        if not store.is_sqlite:
            with connection.begin():
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
                yield connection
            return
        with _foreign_keys_resting(connection), connection.begin():
            yield connection
            _check_foreign_keys(connection)


@contextmanager
def _foreign_keys_resting(connection: Connection) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _check_foreign_keys(connection: Connection) -> None:
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise RuntimeError(f"a migration left rows of {broken[0]} that refer to nothing in {broken[2]}; it is undone")


def _refuse_newer(connection: Connection) -> None:
    found = schema.revision_of(connection)
    if found is not None and schema.is_newer(found):
        raise SettingsError(
            f"REELQ_DATABASE_URL: the database was made by a newer reelq (its version is {found}); update this one"
        )


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(schema.SCRIPTS).replace("%", "%%"))
    return config
