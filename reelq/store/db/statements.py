"""Cached insert and update statements: building a statement takes longer than running it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from sqlalchemy import CursorResult, Delete, Insert, Table, Update, bindparam, insert, update

from reelq.store.db.engine import Transaction
from reelq.store.db.models import Base


def update_where(session: Transaction, table: type[Base], where: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Set columns of the rows that match `where`; returns the number of rows.

    Objects that the session has already loaded are not refreshed.
    """
    statement = update_statement(table, tuple(where), tuple(values))
    return session.connection().execute(statement, parameters(where, values)).rowcount


def execute_dml(session: Transaction, statement: Update | Delete) -> int:
    """Execute an update or delete; returns the number of rows. Objects already loaded are not refreshed."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def parameters(where: Mapping[str, Any], values: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The parameters of a statement of `update_statement`."""
    return {f"where_{name}": value for name, value in where.items()} | {
        f"set_{name}": value for name, value in values.items()
    }


def add(session: Transaction, table: type[Base], values: Mapping[str, Any]) -> None:
    """Insert one row."""
    session.connection().execute(_insert(table), dict(values))


@cache
def update_statement(table: type[Base], where: tuple[str, ...], values: tuple[str, ...]) -> Update:
    """The update that sets the columns `values` of the rows that match on the columns `where`."""
    columns = _table(table).c
    conditions = (columns[name] == bindparam(f"where_{name}") for name in where)
    return update(_table(table)).where(*conditions).values({name: bindparam(f"set_{name}") for name in values})


@cache
def _insert(table: type[Base]) -> Insert:
    return insert(_table(table))


def _table(table: type[Base]) -> Table:
    return cast("Table", table.__table__)


PIECE_SIZE: Final = 500
"""How many items `chunks` puts into one piece by default."""
T = TypeVar("T")


def chunks(items: Sequence[T], size: int = PIECE_SIZE) -> Iterator[Sequence[T]]:
    """Split items into pieces, as a statement takes only so many parameters."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
