"""Schema versions: find the version of a database, and upgrade or downgrade it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, func, inspect, select, text

from reelq.errors import SettingsError
from reelq.store.db.engine import Store

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS: Final = Path(__file__).resolve().parents[3] / "migrations"
"""The folder beside `reelq`, in a wheel as in a checkout. It is found by path: an import could find another folder of
that name in the current directory."""
_TABLE: Final = "alembic_version"
_LOCK: Final = int.from_bytes(b"reelq")
"""The number of the advisory lock that every process takes to migrate."""


def upgrade(store: Store) -> None:
    """Upgrade the database to the newest version, unless it has it already. Several processes may call this at once."""
    if is_current(store):
        return
    from alembic import command  # importing it takes as long as most commands do

    with exclusive_transaction(store) as connection:
        _refuse_newer(connection)
        command.upgrade(_config(connection), "head")


def downgrade(store: Store, to: str) -> None:
    """Downgrade the database to an older version, or to `base`, before the first.

    Data that only newer versions hold is lost.
    """
    from alembic import command

    with exclusive_transaction(store) as connection:
        _refuse_newer(connection)
        command.downgrade(_config(connection), to)


@contextmanager
def exclusive_transaction(store: Store) -> Iterator[Connection]:
    """A transaction in which no other process migrates: others wait for it, and then find the work done.

    SQLite changes a table by rebuilding it, and dropping the old table would delete all rows that refer to it. So
    foreign keys are turned off meanwhile, and checked before the commit. They can be turned off only outside of a
    transaction.
    """
    with store.engine.connect() as connection:
        if not store.is_sqlite:
            with connection.begin():
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
                yield connection
            return
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield connection
                if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    message = f"a migration left rows of {broken[0]} that refer to missing rows of {broken[2]}"
                    raise RuntimeError(f"{message}; it was rolled back")
        finally:
            driver.execute("PRAGMA foreign_keys = ON")


def _refuse_newer(connection: Connection) -> None:
    found = revision_of(connection)
    if found is not None and is_newer(found):
        raise SettingsError(
            f"REELQ_DATABASE_URL: the database was created by a newer reelq (schema version {found}); update reelq"
        )


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config


def revision(store: Store) -> str | None:
    """The version of the database; None if it has none yet."""
    with store.read() as session:
        return revision_of(session.connection())


def revision_of(connection: Connection) -> str | None:
    """The version of the database of this connection; None if it has none yet."""
    if not inspect(connection).has_table(_TABLE):
        return None
    found = connection.scalar(text(f"SELECT version_num FROM {_TABLE}"))  # noqa: S608 - a constant, not input
    return None if found is None else str(found)


def newest() -> str:
    """The newest version, which this program works with."""
    return max(_known())


def is_newer(found: str) -> bool:
    """Whether a version is one of a newer program: this one does not know it."""
    return found not in _known()


def is_current(store: Store) -> bool:
    """Whether the database has the newest version."""
    return revision(store) == newest()


def _known() -> set[str]:
    """All versions, by the names of their files: Alembic would run all of the files to find out."""
    return {script.name.partition("_")[0] for script in (SCRIPTS / "versions").glob("[0-9]*_*.py")}
