"""Statements that are made once for their shape and run many times: making one costs several times its running."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from sqlalchemy import CursorResult, Insert, Table, Update, bindparam, insert, update

from reelq.store.models import Base
from reelq.store.session import Transaction


def change(session: Transaction, table: type[Base], where: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Set columns of the rows in which others have these values; how many rows those were.

    Objects that the session has loaded do not hear of it.
    """
    statement = update_of(table, tuple(where), tuple(values))
    done = session.connection().execute(statement, parameters(where, values))
    return cast("CursorResult[Any]", done).rowcount


def parameters(where: Mapping[str, Any], values: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """What `update_of` is executed with."""
    return {f"where_{name}": value for name, value in where.items()} | {
        f"set_{name}": value for name, value in values.items()
    }


def add(session: Transaction, table: type[Base], values: Mapping[str, Any]) -> None:
    """Insert one row."""
    session.connection().execute(_insert(table), dict(values))


@cache
def update_of(table: type[Base], where: tuple[str, ...], values: tuple[str, ...]) -> Update:
    """The update that sets these columns where others have certain values."""
    columns = _table(table).c
    met = (columns[name] == bindparam(f"where_{name}") for name in where)
    return update(_table(table)).where(*met).values({name: bindparam(f"set_{name}") for name in values})


@cache
def _insert(table: type[Base]) -> Insert:
    return insert(_table(table))


def _table(table: type[Base]) -> Table:
    return cast("Table", table.__table__)
