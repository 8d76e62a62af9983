"""Clients of the sandbox and of services that are told what to answer; they share what is slow to make."""

import functools
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reelq.nemo.client import Remote, request_token
from reelq.nemo.transport import TokenSource, open_http
from reelq.settings import Settings
from tests.contract.scripted_service import Answer, Meet, ScriptedService, To
from tests.sandbox_process import ATTRIBUTION, NO_TLS, Caller, SandboxProcess
from tests.tokens import AskedTokens, FixedToken


@pytest.fixture(scope="session")
def http_to() -> Iterator[To]:
    """The HTTP client of all tests that talk to this address."""
    with ExitStack() as stack:
        yield functools.cache(lambda url: stack.enter_context(open_http(Settings(nemo_api_url=url), tls=NO_TLS)))


@pytest.fixture
def remote(sandbox: SandboxProcess, http_to: To) -> Remote:
    http = http_to(sandbox.url)
    return Remote(http, AskedTokens(lambda: request_token(http, str(uuid.uuid4()), ATTRIBUTION)), ATTRIBUTION)


@pytest.fixture
def meet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meet]:
    """Starts a service that gives these answers, and a client of it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ExitStack() as stack:

        def start(
            *answers: Answer, tokens: TokenSource | None = None, **options: Any
        ) -> tuple[Remote, ScriptedService]:
            service = stack.enter_context(ScriptedService(*answers))
            settings = Settings(nemo_api_url=service.url, reelq_max_in_flight=1)
            http = stack.enter_context(open_http(settings, tls=NO_TLS, **options))
            return Remote(http, tokens or FixedToken("own-token/x"), ATTRIBUTION), service

        yield start


@pytest.fixture
def session(sandbox: SandboxProcess, caller: Caller, clip: Path) -> str:
    """A session with the clip in it, and credits enough."""
    sandbox.top_up(2000)
    opened = caller.open_session()
    caller.upload(opened, ("beach.mp4", clip.read_bytes())).raise_for_status()
    return opened
