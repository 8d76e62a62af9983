"""No token is ever written: with every logger at its most talkative, a whole exchange is searched for them."""

import logging
import traceback
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reelq import errors
from reelq.remote.auth import FreeTokens, OwnToken, Tokens
from reelq.remote.client import Remote, ask_for_token, open_http
from reelq.settings import Settings
from tests.contract.standin import PATIENT
from tests.contract.test_client import finished
from tests.sandbox_process import ATTRIBUTION, NO_TLS, SandboxProcess, Start

OWN = "nmv_usr_planted_in_the_test"
LOGGERS = ("", "reelq", "httpx", "httpcore", "h11", "worker", "api")
REFUSALS = (
    *("server_error", "bad_gateway", "html", "success_false", "unknown_code", "rate_limited"),
    *("token_refused", "connection_dropped", "stream_cut", "stream_refused"),
)


def _everything_told(error: BaseException) -> str:
    raw = error.raw if isinstance(error, errors.RemoteError) else ""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error) + raw + repr(vars(error))


def _drive(remote: Remote, tokens: Tokens, sandbox: SandboxProcess, clip: Path, part: Path) -> list[str]:
    """Everything the client can do and everything that can be refused; what was told of it."""
    session = remote.open_session()
    told: list[object] = [remote, tokens, tokens.current(), session, remote.upload(session.session_id, [clip])]
    told += [remote.balance(), remote.send(session.session_id, "Add a title", PATIENT)]
    look = finished(remote, session, "render_secret")
    told += [look, remote.download(look.url, "render_secret", part), remote.state(session.session_id)]
    words = [repr(each) for each in told]
    for fault in REFUSALS:
        sandbox.faults(**{fault: {"count": 2 if fault == "token_refused" else 1}})
        with pytest.raises(errors.RemoteError) as caught:
            remote.send(session.session_id, "Add a title", PATIENT) if "stream" in fault else remote.balance()
        words.append(_everything_told(caught.value))
    return words


@pytest.mark.parametrize("whose", ["own", "free"])
def test_no_token_is_in_any_log_error_repr_or_address(
    whose: str,
    caplog: pytest.LogCaptureFixture,
    start_sandbox: Start,
    clip: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    sandbox = start_sandbox(no_latency=True, token=f"{OWN}=1000", credits=1000)
    settings = Settings(nemo_api_url=sandbox.url, nemo_token=SecretStr(OWN))
    sent: list[Any] = []
    with open_http(settings, tls=NO_TLS) as http:
        http.event_hooks["request"] = http.lasting.event_hooks["request"] = [sent.append]
        tokens: Tokens = (
            OwnToken(SecretStr(OWN))
            if whose == "own"
            else FreeTokens(lambda: ask_for_token(http, str(uuid.uuid4()), ATTRIBUTION))
        )
        told = _drive(Remote(http, tokens, ATTRIBUTION), tokens, sandbox, clip, tmp_path / "x.part")
    told += [repr(settings), str(settings), *(str(request.url) for request in sent)]
    told += [each for record in caplog.records for each in (record.getMessage(), repr(record.args))]
    told += list(capfd.readouterr())
    used = {OWN} | {head[7:] for request in sent if (head := request.headers.get("authorization", ""))}
    assert len(used) == (1 if whose == "own" else 3)  # the second free one after a refusal
    assert len(caplog.records) > 50  # the loggers really did talk
    assert not [(token, text) for token in used for text in told if token in text]
