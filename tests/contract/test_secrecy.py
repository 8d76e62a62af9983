"""No token is ever written: with every logger at its most talkative, a whole exchange is searched for them."""

import logging
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from reelq import errors
from reelq.remote.auth import FreeTokens, OwnToken, Tokens
from reelq.remote.client import Http, Remote, ask_for_token, open_http
from reelq.settings import Settings
from tests.contract.standin import PATIENT
from tests.contract.test_client import finished
from tests.sandbox_process import ATTRIBUTION, NO_TLS, SandboxProcess

OWN = "nmv_usr_planted_in_the_test"
LOGGERS = ["reelq", "httpx", "httpcore", "h11", "worker", "api"]


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


class _Witness:
    """Collects the URLs that were asked for, and which tokens were in use."""

    def __init__(self, http: Http) -> None:
        self.urls: list[str] = []
        self.tokens: set[str] = {OWN}
        http.event_hooks["request"] = [self._see]

    def _see(self, request: httpx.Request) -> None:
        self.urls.append(str(request.url))
        self.tokens.add(request.headers.get("authorization", "Bearer ").removeprefix("Bearer "))


def _everything_told(error: BaseException) -> str:
    raw = error.raw if isinstance(error, errors.RemoteError) else ""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error) + raw + repr(vars(error))


def _drive(remote: Remote, tokens: Tokens, sandbox: SandboxProcess, clip: Path, part: Path) -> list[str]:
    """Everything the client can do and everything that can be refused; what was told of it."""
    told = [repr(remote), repr(tokens), repr(tokens.current())]
    session = remote.open_session()
    told += [repr(session), repr(remote.upload(session.session_id, [clip])), repr(remote.balance())]
    told.append(repr(remote.send(session.session_id, "Add a title", PATIENT)))
    look = finished(remote, session, f"render_{uuid.uuid4().hex}")
    told += [repr(look), repr(remote.download(look.url, "render_x", part)), repr(remote.state(session.session_id))]
    refused: list[tuple[str, Callable[[], object]]] = [
        (fault, remote.balance)
        for fault in ("server_error", "bad_gateway", "html", "success_false", "unknown_code", "rate_limited")
    ]
    refused += [
        ("stream_cut", lambda: remote.send(session.session_id, "Add a title", PATIENT)),
        ("stream_refused", lambda: remote.send(session.session_id, "Add a title", PATIENT)),
        ("connection_dropped", remote.balance),
    ]
    for fault, ask in refused:
        sandbox.faults(**{fault: {"count": 1}})
        with pytest.raises(errors.RemoteError) as caught:
            ask()
        told.append(_everything_told(caught.value))
    return told


@pytest.mark.parametrize("whose", ["own", "free"])
def test_no_token_is_in_any_log_error_repr_or_address(
    whose: str,
    loud: pytest.LogCaptureFixture,
    start_sandbox: Callable[..., SandboxProcess],
    clip: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    sandbox = start_sandbox(no_latency=True, token=f"{OWN}=1000", credits=1000)
    settings = Settings(nemo_api_url=sandbox.url, nemo_token=SecretStr(OWN))
    with open_http(settings, tls=NO_TLS) as http:
        witness = _Witness(http)
        tokens: Tokens = (
            OwnToken(SecretStr(OWN))
            if whose == "own"
            else FreeTokens(lambda: ask_for_token(http, str(uuid.uuid4()), ATTRIBUTION))
        )
        told = _drive(Remote(http, tokens, ATTRIBUTION), tokens, sandbox, clip, tmp_path / "x.part")
    told += [repr(settings), str(settings), *witness.urls, *(record.getMessage() for record in loud.records)]
    told += [repr(record.args) for record in loud.records]
    told += list(capfd.readouterr())
    used = {token for token in witness.tokens if token}
    assert len(used) == (1 if whose == "own" else 2)
    assert len(loud.records) > 50  # the loggers really did talk
    for token in used:
        assert not [text for text in told if token in text]


def test_a_refused_token_of_the_users_own_is_not_told(loud: pytest.LogCaptureFixture, sandbox: SandboxProcess) -> None:
    with open_http(Settings(nemo_api_url=sandbox.url), tls=NO_TLS) as http:
        remote = Remote(http, OwnToken(SecretStr(OWN)), ATTRIBUTION)
        with pytest.raises(errors.TokenRefused, match="NEMO_TOKEN") as caught:
            remote.balance()
    assert OWN not in _everything_told(caught.value)
    assert OWN not in loud.text
