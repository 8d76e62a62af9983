"""The fixtures of the store: a database of the test's own, migrated, as an address and open."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from reelq.store.session import Store
from tests.databases import KINDS, new_database


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """The address of a database without a row that nobody else uses."""
    with new_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def store(database_url: URL) -> Iterator[Store]:
    """A store at the newest version, without a row."""
    opened = Store(database_url)
    yield opened
    opened.close()
