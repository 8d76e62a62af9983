"""The store of a test: a database without a row, of each kind in turn; and somebody who hands in work to it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reelq.store.db.engine import Store
from tests.databases import KINDS, ReusedDatabase, add_account, new_database
from tests.integration.desks import SERVICE, Desk


@pytest.fixture(scope="session")
def reused_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ReusedDatabase]]:
    """The database of a kind that all tests of this process use in turn."""
    made: dict[str, ReusedDatabase] = {}

    def reused(kind: str) -> ReusedDatabase:
        if kind not in made:
            made[kind] = ReusedDatabase(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    yield reused
    for each in made.values():
        each.close()


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, reused_database: Callable[[str], ReusedDatabase]) -> Iterator[Store]:
    """A store at the newest version, without a row, that the next test uses again."""
    with reused_database(request.param).lend() as lent:
        yield lent


@pytest.fixture(params=KINDS)
def own_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The same, but gone after the test: for what changes the schema, or looks at all that the file holds."""
    with ExitStack() as stack:
        opened = Store(stack.enter_context(new_database(request.param, tmp_path)))
        stack.callback(opened.close)
        yield opened


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Desk:
    """Two clips of their own contents, and an account."""
    for name in ("beach", "forest"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode() * 100)
    with store.write() as session:
        return Desk(store, tmp_path, add_account(session, store.now(session), service_url=SERVICE))
