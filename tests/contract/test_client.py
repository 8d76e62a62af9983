"""The client against the sandbox, over a real socket: each call, refusal and fault, and no token in what is told."""

import logging
import traceback
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from reelq import errors
from reelq.nemo import timeline
from reelq.nemo.client import Remote, request_token
from reelq.nemo.stream import Text
from reelq.nemo.transport import TokenSource, open_http
from reelq.nemo.types import Progress, RenderStatus, Session
from reelq.settings import Settings
from tests.contract.scripted_service import PATIENT
from tests.sandbox_process import ATTRIBUTION, NO_TLS, SandboxProcess, Start, until
from tests.tokens import AskedTokens, FixedToken

OWN = "nmv_usr_planted_in_the_test"
LOGGERS = ("", "reelq", "httpx", "httpcore", "h11", "worker", "api")
REFUSALS = (
    *("server_error", "bad_gateway", "html", "success_false", "unknown_code", "rate_limited"),
    *("token_refused", "connection_dropped", "stream_cut", "stream_refused"),
)


@pytest.fixture
def session(remote: Remote, clip: Path) -> Session:
    """A session that holds a clip."""
    opened = remote.open_session()
    remote.upload(opened.session_id, [clip])
    return opened


def finished(remote: Remote, session: Session, render_id: str) -> Progress:
    remote.render(render_id, session.session_id, remote.state(session.session_id).draft or {})
    until(lambda: remote.progress(render_id).status in {RenderStatus.DONE, RenderStatus.FAILED})
    return remote.progress(render_id)


def _uploaded(sandbox: SandboxProcess, session: Session) -> list[str]:
    return [file["filename"] for file in sandbox.ledger()["sessions"][session.session_id]["uploads"]]


def test_a_row_goes_all_the_way(remote: Remote, sandbox: SandboxProcess, clip: Path, tmp_path: Path) -> None:
    session = remote.open_session("en")
    photo = tmp_path / '海滩 "sunset" – año.jpg'
    photo.write_bytes(b"\xff\xd8\xff\xe0" + bytes(1000))
    seen: list[int] = []
    remote.upload(session.session_id, [clip, photo], seen.append)
    first, second = _uploaded(sandbox, session)
    assert (first, second.startswith("海滩")) == (clip.name, True)
    assert seen[-1] == clip.stat().st_size + photo.stat().st_size
    before = remote.state(session.session_id).draft
    assert before is not None
    # Another session's files are those that the service fetches by itself.
    address = f"{sandbox.url}/cdn/{before['t'][0]['sg'][0]['m']['src']}"
    remote.upload_urls((other := remote.open_session()).session_id, [f"{address}?signature=1"])
    assert _uploaded(sandbox, other) == [clip.name]
    fetched = remote.state(other.session_id).draft
    assert fetched is not None
    assert (fetched["d"], fetched["t"][0]["tt"]) == (before["d"], 0)
    told: list[object] = []
    heard = remote.send(session.session_id, "Add a title that says 'Urban Dreams'", PATIENT, tell=told.append)
    after = remote.state(session.session_id).draft
    assert heard.reply
    assert any(isinstance(event, Text) for event in told)
    assert any("Urban Dreams" in change for change in timeline.changes(before, after))
    look = finished(remote, session, "render_whole")
    assert (look.status, look.percent) == (RenderStatus.DONE, 100)
    part = tmp_path / "out.part"
    receipt = remote.download(look.url, "render_whole", part)
    assert receipt.size == part.stat().st_size
    ledger = sandbox.ledger()
    assert ledger["missing_headers"] == []
    assert ledger["tokens_at_cdn"] == 0


def test_an_upload_hears_its_refusal_however_large_it_is_and_when_it_comes(
    remote: Remote, session: Session, tmp_path: Path, sandbox: SandboxProcess
) -> None:
    for name, kind in (("page.pdf", errors.TypeNotAccepted), ("large.mp4", errors.CreditsExhausted)):
        (tmp_path / name).write_bytes(bytes(20 << 20))
        with pytest.raises(kind):
            remote.upload(session.session_id, [tmp_path / name])
        sandbox.faults(out_of_credits={"count": 1, "on": "upload"})  # this one is told before anything is read


def test_a_session_that_nobody_knows_is_gone_wherever_it_is_named(remote: Remote, clip: Path) -> None:
    for ask in (
        lambda: remote.state("ses_nobody"),
        lambda: remote.state("../../../credits/balance/simple?"),  # an id can not reach another address
        lambda: remote.upload("ses_nobody", [clip]),
        lambda: remote.send("ses_nobody", "Add a title", PATIENT),
    ):
        with pytest.raises(errors.SessionGone):
            ask()


@pytest.mark.parametrize(
    ("fault", "asked", "sent"),
    [
        ("rate_limited", errors.RateLimited, errors.RateLimited),
        ("success_false", errors.Rejected, errors.Rejected),
        ("session_lost_404", errors.SessionGone, errors.SessionGone),
        ("server_error", errors.ServerTrouble, errors.StreamNeverBegan),
        ("html", errors.Unintelligible, errors.StreamNeverBegan),
        ("connection_dropped", errors.ConnectionLost, errors.StreamNeverBegan),
        ("answer_dropped", errors.ConnectionLost, errors.StreamNeverBegan),
    ],
)
def test_each_fault_has_its_own_error_and_is_doubt_after_an_instruction_unless_it_refuses_it(
    fault: str,
    asked: type[errors.RemoteError],
    sent: type[errors.RemoteError],
    remote: Remote,
    session: Session,
    sandbox: SandboxProcess,
) -> None:
    sandbox.faults(**{fault: {"count": 1}})
    with pytest.raises(errors.RemoteError) as caught:
        remote.state(session.session_id)
    assert type(caught.value) is asked
    sandbox.faults(**{fault: {"count": 1}})
    with pytest.raises(errors.RemoteError) as caught:
        remote.send(session.session_id, "Add a title", PATIENT)
    assert type(caught.value) is sent


def test_a_session_has_one_export_at_a_time_and_each_export_an_id_of_its_own(
    remote: Remote, session: Session, sandbox: SandboxProcess
) -> None:
    content = dict(remote.state(session.session_id).draft or {})
    content["note"] = "half a pair: \ud83c, and a separator \u2028"  # whatever a draft holds can be sent back
    with pytest.raises(errors.RenderUnknown):
        remote.progress("render_a")
    sandbox.faults(render_stuck={"count": 1})
    remote.render("render_a", session.session_id, content)
    with pytest.raises(errors.RenderDuplicate):
        remote.render("render_a", session.session_id, content)
    with pytest.raises(errors.SessionBusy):
        remote.render("render_b", session.session_id, content)
    remote.cancel_render("render_a")
    assert remote.progress("render_a").status is RenderStatus.FAILED
    sandbox.faults(render_failed={"count": 1})
    look = finished(remote, session, "render_b")
    assert (look.status, bool(look.reason)) == (RenderStatus.FAILED, True)


def _everything_told(error: BaseException) -> str:
    raw = error.raw if isinstance(error, errors.RemoteError) else ""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error) + raw + repr(vars(error))


def _drive(remote: Remote, tokens: TokenSource, sandbox: SandboxProcess, clip: Path, part: Path) -> list[str]:
    """Everything the client can do and everything that can be refused; what was told of it."""
    session = remote.open_session()
    told: list[object] = [remote, tokens, tokens.current(), session]
    remote.upload(session.session_id, [clip])
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
        tokens: TokenSource = (
            FixedToken(OWN)
            if whose == "own"
            else AskedTokens(lambda: request_token(http, str(uuid.uuid4()), ATTRIBUTION))
        )
        told = _drive(Remote(http, tokens, ATTRIBUTION), tokens, sandbox, clip, tmp_path / "x.part")
    told += [repr(settings), str(settings), *(str(request.url) for request in sent)]
    told += [each for record in caplog.records for each in (record.getMessage(), repr(record.args))]
    told += list(capfd.readouterr())
    used = {OWN} | {head[7:] for request in sent if (head := request.headers.get("authorization", ""))}
    assert len(used) == (1 if whose == "own" else 3)  # the second free one after a refusal
    assert len(caplog.records) > 50  # the loggers really did talk
    assert not [(token, text) for token in used for text in told if token in text]
