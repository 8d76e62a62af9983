"""The stand-in's book of requests: who asked for what, when it came and when it was answered to the end."""

import time
from typing import Any

import httpx
import pytest

from tests.sandbox_process import NO_TLS, Caller, SandboxProcess


def _requests(sandbox: SandboxProcess, endpoint: str = "") -> list[dict[str, Any]]:
    noted: list[dict[str, Any]] = httpx.get(f"{sandbox.url}/sandbox/requests", trust_env=False, verify=NO_TLS).json()[
        "requests"
    ]
    return [each for each in noted if endpoint in ("", each["endpoint"])]


@pytest.fixture
def finished(sandbox: SandboxProcess, caller: Caller) -> tuple[str, str]:
    """A session and the render that was made of it, and downloaded."""
    sandbox.faults(edit_seconds=0.3, render_seconds=0.2)
    sandbox.top_up(1000)
    session = caller.open_session()
    caller.send(session, "generate a clip of rain")
    caller.send(session, 'add a title "Dawn"')
    caller.render(session, "render_a").raise_for_status()
    while (answer := caller.look("render_a").json()).get("status") != "completed":
        time.sleep(0.05)
    caller.http.get(answer["output"]["url"]).raise_for_status()
    return session, "render_a"


def test_every_request_stands_in_the_book_with_what_it_was_about(
    sandbox: SandboxProcess, finished: tuple[str, str]
) -> None:
    session, render = finished
    noted = _requests(sandbox)
    about = [(each["endpoint"], each["about"]) for each in noted if each["endpoint"] != "poll"]
    (export,) = sandbox.ledger()["renders"]
    expected = [("token", None), ("session", session), ("edit", session), ("edit", session), ("state", session)]
    assert about == [*expected, ("render", session), ("cdn", export["file"])]
    assert {each["about"] for each in _requests(sandbox, "poll")} == {render}


def test_a_request_ends_when_its_answer_does_be_it_a_stream(sandbox: SandboxProcess, finished: tuple[str, str]) -> None:
    edit = _requests(sandbox, "edit")[1]
    message = sandbox.ledger()["sessions"][finished[0]]["messages"][1]
    assert edit["at"] <= message["at"] <= message["ended_at"] <= edit["ended_at"]
    assert edit["ended_at"] - edit["at"] >= 0.3
    for each in _requests(sandbox):
        assert each["ended_at"] >= each["at"]


def test_one_that_was_refused_or_cut_has_ended_too(sandbox: SandboxProcess, caller: Caller) -> None:
    sandbox.faults(rate_limited={"count": 1, "on": ["balance"]}, answer_dropped={"count": 1, "on": ["session"]})
    assert caller.http.get("/api/credits/balance/simple").status_code == 429
    with pytest.raises(httpx.RemoteProtocolError):
        caller.open_session()
    assert [each["endpoint"] for each in _requests(sandbox)] == ["token", "balance", "session"]
    assert all(each["ended_at"] for each in _requests(sandbox))


def test_a_render_tells_when_it_was_done_and_has_a_file_of_its_own(
    sandbox: SandboxProcess, caller: Caller, finished: tuple[str, str]
) -> None:
    (first,) = sandbox.ledger()["renders"]
    assert first["at"] + 0.2 <= first["ended_at"] <= first["looks"][-1]["at"]
    sandbox.faults(render_seconds=2)
    caller.render(finished[0], "render_b").raise_for_status()
    assert sandbox.ledger()["renders"][1]["ended_at"] is None
    while (second := sandbox.ledger()["renders"][1])["status"] != "completed":
        time.sleep(0.05)
    # The same picture, and yet another address: whose download it was can be told.
    assert second["file"] != first["file"]
