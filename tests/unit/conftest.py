"""The guard of the unit tests: they start no process, open no connection, never sleep and find nothing set."""

import sys
import threading
import time
from collections.abc import Iterator
from socket import AF_INET, AF_INET6
from typing import Final

import pytest

from reelq.settings import Settings

_STARTS_A_PROCESS: Final = {
    *("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"),
}
_OPENS_A_SOCKET: Final = {"socket.bind", "socket.connect", "socket.sendto"}


class UsesTheOutside(AssertionError):
    """A unit test did what belongs into tests/integration."""


class _Watch:
    """Refuses and notes what leaves the process, while a unit test runs."""

    noted: list[str] | None = None
    strangers: frozenset[int] = frozenset()

    def begin(self) -> list[str]:
        """Threads that run already belong to an earlier test or to a fixture of the whole run."""
        ours = threading.get_native_id()
        self.strangers = frozenset(thread.native_id or 0 for thread in threading.enumerate()) - {ours}
        self.noted = []
        return self.noted

    def refuse(self, what: str) -> None:
        if self.noted is not None and threading.get_native_id() not in self.strangers:
            self.noted.append(what)
            raise UsesTheOutside(f"a unit test must not do this, tests/integration may: {what}")

    def hear(self, event: str, details: tuple[object, ...]) -> None:
        """An audit hook: the interpreter reports to it whatever a test or a library does."""
        goes_out = event in _OPENS_A_SOCKET and getattr(details[0], "family", None) in {AF_INET, AF_INET6}
        if self.noted is not None and (goes_out or event in _STARTS_A_PROCESS):
            self.refuse(event)


_watch = _Watch()
sys.addaudithook(_watch.hear)


@pytest.fixture(autouse=True)
def _stays_inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails the test also where a library, or a thread of the test's own, swallows the refusal."""
    monkeypatch.setattr(time, "sleep", lambda seconds: _watch.refuse(f"time.sleep({seconds})"))
    noted = _watch.begin()
    yield
    _watch.noted = None
    if noted:
        raise UsesTheOutside(f"a unit test must not do this, tests/integration may: {', '.join(noted)}")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
