"""The fixtures of the REST service: one of the test's own on either kind of database, and those who ask it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.service import Service
from tests.api.serving import Served, deployed, serving
from tests.databases import KINDS


@pytest.fixture(params=KINDS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A deployment with an empty database and a data folder of its own."""
    with deployed(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def served(service: Service) -> Iterator[Served]:
    """The same, answering on a socket."""
    with serving(service) as running:
        yield running


@pytest.fixture
def ann(served: Served) -> httpx.Client:
    """An owner who may do everything."""
    return served.client("ann")


@pytest.fixture
def bob(served: Served) -> httpx.Client:
    """Another one."""
    return served.client("bob")
