"""Column types that behave the same on SQLite and PostgreSQL, partial indexes, and ids that sort by time."""

import json
import secrets
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal

from sqlalchemy import DateTime, Dialect, Enum, Index, String, Text, TypeDecorator, text

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u, which are easily misread
_DIGITS: Final = 22
Kind = Literal["bat", "job", "acc", "key", "hook", "msg"]
Id = String(40)


def new_id(kind: Kind) -> str:
    """A new id such as `job_01k9z3…`, of the current millisecond and 60 random bits."""
    number = (time.time_ns() // 1_000_000) << 60 | secrets.randbits(60)
    return f"{kind}_{''.join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_DIGITS)))}"


class Utc(TypeDecorator[datetime]):
    """A timezone-aware time in UTC. SQLite stores no time zone, so it is added when a value is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """JSON stored as text, so that any string survives unchanged. No query searches inside it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=True, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:
        return None if value is None else json.loads(value)


def enum_type(kind: type[StrEnum], name: str) -> Enum:
    """A column type for the values of an enum; a check constraint refuses any other value."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        validate_strings=True,
        length=16,
        values_callable=lambda members: [str(member.value) for member in members],
    )


def partial_index(*columns: str, where: str, name: str | None = None, unique: bool = False) -> Index:
    """An index of those rows alone that match the condition `where`."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
