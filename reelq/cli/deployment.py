"""What a command works on: the settings of this process, and the database that knows where every row is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from reelq.cli.interrupts import held_back
from reelq.errors import SettingsError
from reelq.settings import Settings
from reelq.store import schema
from reelq.store.secrets import Vault, open_vault
from reelq.store.session import Store, database_url

OWNER: Final = "local"
"""Whose the batches of the command line are; those that come over HTTP belong to the owners of API keys."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Settings and store of one command."""

    settings: Settings
    store: Store
    is_play: bool = False
    """Whether it is that of `--sandbox`: play and real work never mix."""

    @property
    def vault(self) -> Vault:
        """The key to the tokens; made on first use where the database is a file of this machine."""
        return open_vault(self.settings, local=self.store.is_sqlite)

    @property
    def in_process(self) -> bool:
        """Whether this machine does the work by itself, for want of a broker to hand it to."""
        return self.settings.reelq_broker_url is None


@contextmanager
def deployment(settings: Settings | None = None, *, is_play: bool = False) -> Iterator[Deployment]:
    """The deployment that the environment describes, its database ready for use.

    A file of the user's own is brought to the newest version unasked; a database that others use is not.
    """
    told = settings or Settings.read()
    store = Store(database_url(told))
    try:
        if store.is_sqlite:
            with held_back():
                schema.make_current(store)
        elif not schema.is_current(store):
            raise SettingsError("REELQ_DATABASE_URL: the database has another version; `reelq db upgrade` migrates it")
        yield Deployment(told, store, is_play)
    finally:
        store.close()
