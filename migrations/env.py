"""What Alembic runs for every command: on the connection it is handed, else on the database that is configured."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.util import CommandError
from sqlalchemy import Connection, TypeDecorator

from reelq.settings import Settings
from reelq.store.db.engine import Store, database_url
from reelq.store.db.migrations import exclusive_transaction
from reelq.store.db.models import Base


def _plain_type(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """A version is a record: it names the database's types, not ours, which may come to mean something else."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_item=_plain_type,
        render_as_batch=True,  # SQLite changes a table only by rebuilding it
    )
    context.run_migrations()


def _migrate_configured() -> None:
    store = Store(database_url(Settings.read()))
    try:
        with exclusive_transaction(store) as connection:
            _migrate(connection)
    finally:
        store.close()


if context.is_offline_mode():
    raise CommandError("versions are applied to a database, not written out as a script")
if handed := context.config.attributes.get("connection"):
    _migrate(handed)
else:
    _migrate_configured()
