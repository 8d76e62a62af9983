"""One set of assertions about the agent's stream, held against the sandbox and against the real server it imitates."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from reelq import errors
from reelq.nemo.client import Remote
from reelq.nemo.stream import AgentReply, Event, Text, ToolCall
from reelq.nemo.transport import Http
from tests.contract.scripted_service import PATIENT, To
from tests.sandbox_process import ATTRIBUTION, SandboxProcess
from tests.servers import free_port, wait_for_start
from tests.tokens import FixedToken

TOKEN: Final = "nmv_usr_talker"
SCENES: Final[dict[str, dict[str, object]]] = {
    "text": {"agent_asks_back": 1},
    "exception": {"agent_error": 1},
    "silence": {"silent_edit": 1},
    "forever": {"edit_seconds": 600},
}
"""The sandbox's faults that play them. Of the real server an agent of our own plays what it is told by name."""


@dataclass(frozen=True, slots=True)
class Partner:
    """Whom we talk to."""

    process: "subprocess.Popen[Any]"
    remote: Remote
    session_id: str
    scene: Callable[[str], str]
    """Makes the next answer one of a kind, and gives the words that ask for it."""

    def hear(self, scene: str) -> tuple[AgentReply, list[Event]]:
        told: list[Event] = []
        return self.remote.send(self.session_id, self.scene(scene), PATIENT, tell=told.append), told


def _remote(http: Http) -> Remote:
    return Remote(http, FixedToken(TOKEN), ATTRIBUTION)


@contextmanager
def _sandbox(streams: str, http_to: To, clip: Path) -> Iterator[Partner]:
    steady = {"silent_edit": 0, "temporary_issue": 0}
    with SandboxProcess.start(faults=steady, no_latency=True, streams=streams, token=f"{TOKEN}=100000") as sandbox:

        def scene(name: str) -> str:
            sandbox.clear_faults()
            sandbox.faults(**SCENES.get(name, {}))
            return "Add a title that says 'Urban Dreams'"

        remote = _remote(http_to(sandbox.url))
        session = remote.open_session().session_id
        remote.upload(session, [clip])
        yield Partner(sandbox.process, remote, session, scene)


@contextmanager
def _google_adk(http_to: To, folder: Path) -> Iterator[Partner]:
    # The server keeps files beside its agents, so it gets a copy of them.
    agents = shutil.copytree(Path(__file__).parent / "adk", folder, ignore=shutil.ignore_patterns("__pycache__"))
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(Path(sys.executable).with_name("adk")), "api_server", "--port", str(port), "--no-reload"]
    kept = ["--session_service_uri", "memory://", "--artifact_service_uri", "memory://"]
    environment = os.environ | {"OTEL_SDK_DISABLED": "true"}
    with (
        httpx.Client(base_url=url, trust_env=False, timeout=20) as http,
        subprocess.Popen([*command, *kept, str(agents)], env=environment) as process,
    ):

        def answers() -> bool:
            try:
                return http.get("/list-apps").is_success
            except httpx.HTTPError:
                return False

        try:
            wait_for_start(process, answers)
            session = http.post("/apps/nemo_agent/users/me/sessions", json={}).raise_for_status().json()["id"]
            yield Partner(process, _remote(http_to(url)), session, lambda name: name)
        finally:
            process.kill()


@pytest.fixture(scope="module", params=["sandbox, adk form", "sandbox, flat form", "google-adk"])
def shared_partner(
    request: pytest.FixtureRequest,
    http_to: To,
    clip: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Partner]:
    is_real, form = request.param == "google-adk", "flat" if "flat" in request.param else "adk"
    partner = (
        _google_adk(http_to, tmp_path_factory.mktemp("adk") / "agents") if is_real else _sandbox(form, http_to, clip)
    )
    with partner as met:
        yield met


def test_a_text_is_heard(shared_partner: Partner) -> None:
    heard, told = shared_partner.hear("text")
    assert heard.reply
    assert heard.error is None
    assert [type(event) for event in told] == [Text]


def test_a_text_in_pieces_and_once_more_whole_is_heard_once(shared_partner: Partner) -> None:
    heard, told = shared_partner.hear("pieces")
    texts = [event.text for event in told if isinstance(event, Text)]
    assert len(texts) == len(set(texts)) >= 1
    for text in texts:
        assert heard.reply.count(text.strip()) == 1


def test_tools_are_heard_and_neither_their_calls_nor_their_results_are_words(shared_partner: Partner) -> None:
    heard, told = shared_partner.hear("tools")
    call = next(event for event in told if isinstance(event, ToolCall))
    assert call.name
    assert call.name not in heard.reply
    assert {type(event) for event in told} <= {Text, ToolCall}


def test_an_exception_of_the_agent_is_heard_as_its_error(shared_partner: Partner) -> None:
    heard, _ = shared_partner.hear("exception")
    assert heard.error is not None
    assert "Error" in heard.error.message
    assert heard.error.message != "no reason given"


def test_silence_is_an_end_like_any_other(shared_partner: Partner) -> None:
    heard, _ = shared_partner.hear("silence")
    assert heard.reply == ""
    assert heard.error is None


def test_a_session_that_nobody_knows_is_gone(shared_partner: Partner) -> None:
    with pytest.raises(errors.SessionGone):
        shared_partner.remote.send("ses_nobody", shared_partner.scene("text"), PATIENT)


def test_a_server_that_dies_midway_leaves_a_cut_stream(shared_partner: Partner) -> None:
    """The last of this file, as nobody talks to this partner afterwards."""
    words = shared_partner.scene("forever")
    with pytest.raises(errors.StreamCut):
        shared_partner.remote.send(
            shared_partner.session_id, words, PATIENT, tell=lambda _: shared_partner.process.kill()
        )
