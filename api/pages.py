"""Lists by cursor: how many at once, and where the next page goes on."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

T = TypeVar("T")
S = TypeVar("S")

MOST = 200
Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
After = Annotated[
    str | None,
    Query(
        pattern=r"^[a-z]{3,4}_[0-9a-z]{22}$",
        description="`next` of the page before; none for the first page.",
    ),
]
"""The cursor of a list by id: the last one that was shown."""
AfterRow = Annotated[
    str | None,
    Query(pattern=r"^row_[0-9]{1,9}$", description="`next` of the page before; none for the first page."),
]
"""The cursor of a list by row."""


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: str | None
    """What to ask for the rest with, as `cursor`; none where this is the end."""


def row_after(cursor: str | None) -> int:
    """The row that a cursor stands at; 0 before the first."""
    return int(cursor.removeprefix("row_")) if cursor else 0


def page(found: Sequence[S], limit: int, shown: Callable[[S], T], mark: Callable[[S], str]) -> Page[T]:
    """A page of at most `limit`, from one more than that where there are more."""
    some = found[:limit]
    return Page(items=[shown(one) for one in some], next=mark(some[-1]) if len(found) > limit else None)
