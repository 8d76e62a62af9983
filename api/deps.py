"""Dependencies of handlers: the service with its store and settings, the caller's key, and pagination."""

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from api.errors import Problem
from reelq import skills
from reelq.settings import Settings
from reelq.skills import Skills
from reelq.store.api_keys import Holder, holder_of
from reelq.store.db import migrations
from reelq.store.db.client_models import Scope
from reelq.store.db.engine import Store, database_url
from reelq.store.db.vault import Vault, open_vault


class Service:
    """The settings and the database of one HTTP process."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.stopping = threading.Event()
        """Set when the process is stopping, so that event streams end."""

    @classmethod
    def open(cls, settings: Settings) -> "Service":
        """Open the service that the settings describe. A SQLite file is migrated to the current version."""
        store = Store(database_url(settings))
        if store.is_sqlite:
            migrations.upgrade(store)
        return cls(settings, store)

    @cached_property
    def vault(self) -> Vault:
        """The vault for tokens. Raise `SettingsError` if the database is shared and no key is configured."""
        return open_vault(self.settings, local=self.store.is_sqlite)

    @property
    def skills(self) -> Skills:
        """The current skills. They are read each time, as the user's own skills can change while the process runs."""
        return skills.load([self.settings.reelq_data_dir / "skills"])


async def _service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Here = Annotated[Service, Depends(_service_of)]
"""Handler parameter: the service."""

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}


def admit(store: Store, authorization: str | None, scope: Scope) -> Holder:
    """Return the holder of the key. Raise a problem if there is no valid key, or if its scope is not sufficient."""
    scheme, _, secret = (authorization or "").partition(" ")
    holder = holder_of(store, secret.strip()) if scheme.lower() == "bearer" else None
    if holder is None:
        detail = "The key is not valid" if authorization else "A key is needed: Authorization: Bearer <key>"
        raise Problem(
            401, "unauthorized", detail, advice="Create one with `reelq keys create --owner NAME`.", headers=_CHALLENGE
        )
    if not holder.may(scope):
        detail = f"This key has scope {holder.scope}, but this request needs scope {scope}"
        raise Problem(
            403, "forbidden", detail, advice=f"Create one with `reelq keys create --owner NAME --scope {scope}`."
        )
    return holder


async def _presented_key(request: Request) -> Holder:
    found: Holder = request.state.holder
    return found


Caller = Annotated[Holder, Depends(_presented_key)]
"""Handler parameter: the holder of the request's key. The route has checked the key before reading the body."""

T = TypeVar("T")
S = TypeVar("S")
Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items.")]
_CURSOR: Final = "The `next` value of the previous page. Omit it for the first page."
After = Annotated[str | None, Query(pattern=r"^[a-z]{3,4}_[0-9a-z]{22}$", description=_CURSOR)]
"""Cursor of a list by id: the last id of the page before."""
AfterRow = Annotated[str | None, Query(pattern=r"^row_[0-9]{1,9}$", description=_CURSOR)]
"""Cursor of a list by row number: the last row of the page before."""


class Page(BaseModel, Generic[T]):
    """A page of a list."""

    items: list[T]
    next: str | None
    """The `cursor` for the next page, or None on the last page."""


def page(found: Sequence[S], limit: int, show: Callable[[S], T], cursor_of: Callable[[S], str]) -> Page[T]:
    """Return a page of at most `limit` items. `found` must have one more if there is a next page."""
    items = found[:limit]
    return Page(items=[show(item) for item in items], next=cursor_of(items[-1]) if len(found) > limit else None)
