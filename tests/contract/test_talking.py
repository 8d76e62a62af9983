"""One set of assertions about the agent's stream, held against the sandbox and against the real server it imitates."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, Protocol

import pytest
from pydantic import SecretStr

from reelq import errors
from reelq.remote.auth import OwnToken
from reelq.remote.client import Http, Remote, open_http
from reelq.remote.sse import Event, Heard, Patience, StateChange, Text, ToolCall, ToolResult
from reelq.settings import Settings
from tests.contract.adk_process import AdkProcess
from tests.sandbox_process import ATTRIBUTION, NO_TLS, SandboxProcess

PATIENT = Patience(life=100, silence=100)
TOKEN = "nmv_usr_talker"


class Partner(Protocol):
    """Whom we talk to; `scene` makes the next answer one of a kind, and gives the words that ask for it."""

    url: str
    session_id: str
    tells_drafts: bool

    def scene(self, name: str) -> str: ...

    def kill(self) -> None: ...


class _Sandbox:
    """The stand-in: a scene is set by its faults."""

    SCENES: ClassVar[dict[str, dict[str, object]]] = {
        "text": {"agent_asks_back": 1},
        "tools": {},
        "exception": {"agent_error": 1},
        "silence": {"silent_edit": 1},
        "forever": {"edit_seconds": 600},
    }

    def __init__(self, process: SandboxProcess, clip: Path, *, tells_drafts: bool) -> None:
        self._process = process
        self.tells_drafts = tells_drafts
        self.url = process.url
        with open_http(Settings(nemo_api_url=self.url), tls=NO_TLS) as http:
            remote = Remote(http, OwnToken(SecretStr(TOKEN)), ATTRIBUTION)
            self.session_id = remote.open_session().session_id
            remote.upload(self.session_id, [clip])

    def scene(self, name: str) -> str:
        self._process.clear_faults()
        self._process.faults(**self.SCENES.get(name, {}))
        return "Add a title that says 'Urban Dreams'"

    def kill(self) -> None:
        self._process.kill()


class _Adk:
    """The real server: its agent plays the scene whose name it is told."""

    tells_drafts = True

    def __init__(self, process: AdkProcess) -> None:
        self._process = process
        self.url = process.url
        self.session_id = process.open_session()

    def scene(self, name: str) -> str:
        return name

    def kill(self) -> None:
        self._process.kill()


@pytest.fixture(scope="module", params=["sandbox, adk form", "sandbox, flat form", "google-adk"])
def shared_partner(request: pytest.FixtureRequest, clip: Path) -> Iterator[Partner]:
    with ExitStack() as stack:
        yield _start(request.param, stack, clip)


def _start(name: str, stack: ExitStack, clip: Path) -> Partner:
    if name == "google-adk":
        return _Adk(stack.enter_context(AdkProcess()))
    is_flat = "flat" in name
    steady = {"silent_edit": 0, "temporary_issue": 0}
    streams = "flat" if is_flat else "adk"
    process = SandboxProcess.start(faults=steady, no_latency=True, streams=streams, token=f"{TOKEN}=100000")
    return _Sandbox(stack.enter_context(process), clip, tells_drafts=not is_flat)


@pytest.fixture
def http(shared_partner: Partner, http_to: Callable[[str], Http]) -> Http:
    return http_to(shared_partner.url)


def _remote(http: Http) -> Remote:
    return Remote(http, OwnToken(SecretStr(TOKEN)), ATTRIBUTION)


def _hear(http: Http, partner: Partner, scene: str) -> tuple[Heard, list[Event]]:
    told: list[Event] = []
    heard = _remote(http).send(partner.session_id, partner.scene(scene), PATIENT, tell=told.append)
    return heard, told


def test_a_text_is_heard(http: Http, shared_partner: Partner) -> None:
    heard, told = _hear(http, shared_partner, "text")
    assert heard.reply
    assert heard.error is None
    assert [type(event) for event in told] == [Text]


def test_a_text_in_pieces_and_once_more_whole_is_heard_once(http: Http, shared_partner: Partner) -> None:
    heard, told = _hear(http, shared_partner, "pieces")
    texts = [event.text for event in told if isinstance(event, Text)]
    assert len(texts) == len(set(texts)) >= 1
    for text in texts:
        assert heard.reply.count(text.strip()) == 1


def test_tools_are_heard_and_are_no_words(http: Http, shared_partner: Partner) -> None:
    heard, told = _hear(http, shared_partner, "tools")
    call = next(event for event in told if isinstance(event, ToolCall))
    result = next(event for event in told if isinstance(event, ToolResult))
    assert call.name == result.name == heard.tools[0]
    assert call.args
    assert result.result
    assert call.name not in heard.reply


def test_a_new_draft_is_heard_where_the_form_carries_it(http: Http, shared_partner: Partner) -> None:
    _, told = _hear(http, shared_partner, "tools")
    drafts = [event.delta["draft"] for event in told if isinstance(event, StateChange)]
    assert bool(drafts) == shared_partner.tells_drafts
    assert all("Urban Dreams" in str(draft) for draft in drafts)


def test_an_exception_of_the_agent_is_heard_as_its_error(http: Http, shared_partner: Partner) -> None:
    heard, _ = _hear(http, shared_partner, "exception")
    assert heard.error is not None
    assert "Error" in heard.error.message
    assert heard.error.message != "no reason given"


def test_silence_is_an_end_like_any_other(http: Http, shared_partner: Partner) -> None:
    heard, _ = _hear(http, shared_partner, "silence")
    assert heard.reply == ""
    assert heard.error is None


def test_a_session_that_nobody_knows_is_gone(http: Http, shared_partner: Partner) -> None:
    with pytest.raises(errors.SessionGone):
        _remote(http).send("ses_nobody", shared_partner.scene("text"), PATIENT)


def test_a_server_that_dies_midway_leaves_a_cut_stream(http: Http, shared_partner: Partner) -> None:
    """The last of this file, as nobody talks to this partner afterwards."""
    words = shared_partner.scene("forever")
    with pytest.raises(errors.StreamCut):
        _remote(http).send(shared_partner.session_id, words, PATIENT, tell=lambda _: shared_partner.kill())
