"""The service that the tests of one process share, and a user of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.running import STEADY, User
from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def steady_service() -> Iterator[SandboxProcess]:
    """The one process behind `service`."""
    with SandboxProcess.start(faults=STEADY, no_latency=True, credits=100_000, keep_alive=0.2) as started:
        yield started


@pytest.fixture
def service(steady_service: SandboxProcess) -> SandboxProcess:
    """A sandbox that takes a moment for each step, and knows nothing of earlier tests."""
    steady_service.clear_faults()
    steady_service.reset()
    return steady_service


@pytest.fixture
def user(tmp_path: Path, service: SandboxProcess) -> User:
    """A user with a folder of clips."""
    return User(tmp_path, service)
