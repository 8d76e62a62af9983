"""The fixtures of the REST service: a deployment of the test's own, and those who ask it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.deps import Service
from tests.api.serving import Served, Server, deployed


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A deployment with an empty database, on SQLite unless the test says otherwise, and a data folder of its own."""
    with deployed(getattr(request, "param", "sqlite"), tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that works for one test after the other."""
    with deployed("sqlite", tmp_path_factory.mktemp("idle")) as idle:
        running = Server(idle)
        yield running
        running.stop()


@pytest.fixture
def served(service: Service, server: Server) -> Iterator[Served]:
    """The test's own deployment, answering on a socket."""
    with server.working_for(service) as running:
        yield running


@pytest.fixture
def ann(served: Served) -> httpx.Client:
    """An owner who may do everything."""
    return served.client("ann")


@pytest.fixture
def bob(served: Served) -> httpx.Client:
    """Another one."""
    return served.client("bob")
