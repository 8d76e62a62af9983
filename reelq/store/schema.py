"""Which version of the schema a database has, and which one this program works with; asked by every command."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from reelq.store.session import Store

SCRIPTS: Final = Path(__file__).resolve().parents[2] / "migrations"
"""Beside `reelq`, in a wheel as in a checkout: an import would take a folder of that name in the current directory."""
_TABLE: Final = "alembic_version"


def revision(store: Store) -> str | None:
    """The version that the database has; None where there is none yet."""
    with store.read() as session:
        return revision_of(session.connection())


def revision_of(connection: Connection) -> str | None:
    """The same, of the database that this connection leads to."""
    if not inspect(connection).has_table(_TABLE):
        return None
    found = connection.scalar(text(f"SELECT version_num FROM {_TABLE}"))  # noqa: S608 - a constant of ours
    return None if found is None else str(found)


def newest() -> str:
    """The version that this program works with."""
    return max(_known())


def is_newer(found: str) -> bool:
    """Whether a database with this version was made by a newer program: this one knows of no such version."""
    return found not in _known()


def is_current(store: Store) -> bool:
    """Whether the database has the version that this program works with."""
    return revision(store) == newest()


def make_current(store: Store) -> None:
    """Bring the database to that version; what does so is loaded where there is something to do, which is seldom."""
    if not is_current(store):
        from reelq.store.migrate import upgrade

        upgrade(store)


def _known() -> set[str]:
    """Every version there is: each has a file, whose name begins with it.

    Alembic would run all of them to find out, and its import alone takes as long as what most commands do.
    """
    return {script.name.partition("_")[0] for script in (SCRIPTS / "versions").glob("[0-9]*_*.py")}
