"""What every request works with: the settings, the store, and what is made of them when it is first needed."""

import threading
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from reelq import skills
from reelq.settings import Settings
from reelq.skills import Skills
from reelq.store import schema
from reelq.store.secrets import Vault, open_vault
from reelq.store.session import Store, database_url


class Service:
    """The deployment as one HTTP process sees it."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.stopping = threading.Event()
        """Set when the process is told to end: whoever streams comes to an end."""

    @classmethod
    def open(cls, settings: Settings) -> "Service":
        """The one that the settings describe. A file of this machine's own is brought to the newest version."""
        store = Store(database_url(settings))
        if store.is_sqlite:
            schema.make_current(store)
        return cls(settings, store)

    @cached_property
    def vault(self) -> Vault:
        """The key to the tokens; SettingsError where none is named and the database is shared."""
        return open_vault(self.settings, local=self.store.is_sqlite)

    @property
    def skills(self) -> Skills:
        """The profiles as they are now: the user's own may change while the process lives."""
        return skills.load([self.settings.reelq_data_dir / "skills"])

    def close(self) -> None:
        """Give all connections back."""
        self.store.close()


async def _of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Here = Annotated[Service, Depends(_of)]
"""A handler's parameter: the service that it works for."""
