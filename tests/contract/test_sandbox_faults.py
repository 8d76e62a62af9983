"""Each fault of the stand-in, set and met; and how faults are set. Those of files and exports are met in the client's
tests."""

import json
import time
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.sandbox_process import Caller, SandboxProcess, Start, events, until

BALANCE = "/api/credits/balance/simple"
SECOND = 'add a title "Second"'


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("rate_limited", 429, 429),
        ("token_refused", 200, 1001),
        ("token_refused_401", 401, 1001),
        ("token_refused_1010", 200, 1010),
        ("token_refused_1011", 200, 1011),
        ("server_error", 500, 500),
        ("unknown_code", 200, 5999),
        ("out_of_credits", 200, 2001),
        ("plan_required", 402, 402),
        ("stream_refused", 503, 503),
        ("token_refused_bare", 401, b""),
        ("unavailable", 503, b""),
        ("bad_gateway", 502, b"<!doctype html>"),
        ("html", 200, b"<!doctype html>"),
        ("success_false", 200, b'{"success":false,"error":'),
    ],
)
def test_a_message_can_be_refused_with_a_code_or_a_bare_body_instead_of_a_stream(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, status: int, said: int | bytes
) -> None:
    sandbox.faults(**{fault: {"count": 1}})
    refused = caller.send(session, SECOND)
    assert refused.status_code == status
    if isinstance(said, int):
        assert refused.json()["code"] == said
        assert sandbox.ledger()["refusals"] == {str(said): 1}
    else:
        assert refused.content[: len(said) or None] == said
    assert events(caller.send(session, SECOND).text)
    assert [message["outcome"] for message in sandbox.messages(session)] == ["applied"]
    assert sandbox.ledger()["faults_struck"][fault] == 1


@pytest.mark.parametrize(("fault", "bare"), [("session_lost", False), ("session_lost_404", True)])
def test_a_lost_session_stays_lost(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, *, bare: bool
) -> None:
    sandbox.faults(**{fault: {"count": 1}})
    first = caller.state(session)
    assert (first.status_code, first.content == b"") == (404, bare)
    assert caller.state(session).json()["code"] == 1002


def test_an_upload_can_leave_the_draft_empty_and_the_agent_lays_the_clip_later(
    sandbox: SandboxProcess, caller: Caller, clip: Path
) -> None:
    sandbox.faults(upload_not_applied=1)
    session = caller.open_session()
    data = caller.upload(session, ("beach.mp4", clip.read_bytes())).json()["data"]
    assert data["session_state_applied"] is False
    assert caller.draft(session)["t"] == []
    caller.send(session, "make it warmer")
    (segment,) = caller.draft(session)["t"][0]["sg"]
    assert (segment["m"]["name"], segment["m"]["effects"]) == ("beach.mp4", ["make it warmer"])


@pytest.mark.parametrize(("fault", "outcome"), [("stream_cut", "applied"), ("stream_cut_ends", "lost")])
def test_a_stream_is_cut_midway_and_its_work_goes_on_or_ends_with_it(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, outcome: str
) -> None:
    before, left = caller.draft(session), caller.balance()["available"]
    sandbox.faults(**{fault: {"count": 1}}, edit_seconds=0.4)
    with caller.stream(session, SECOND) as answer:
        lines = answer.iter_lines()
        assert "add_text" in next(lines)
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            list(lines)
    until(lambda: sandbox.messages(session)[0]["outcome"] == outcome)
    (cut,), (message,) = sandbox.requests("edit"), sandbox.messages(session)
    went_on = outcome == "applied"
    assert (message["ended_at"] > cut["ended_at"]) is went_on
    assert (caller.draft(session) != before) is went_on
    assert (caller.balance()["available"] < left) is went_on
    assert caller.balance()["frozen"] == 0


def test_a_silent_stream_shows_life_and_tells_nothing(start_sandbox: Start) -> None:
    faults: dict[str, object] = {"silent_stream": {"count": 1, "seconds": 600}}
    sandbox = start_sandbox(no_latency=True, keep_alive=0.05, streams="adk", faults=faults)
    session = (caller := sandbox.guest()).open_session()
    with caller.stream(session, SECOND) as answer:
        heard = answer.iter_text()
        assert events("".join(next(heard) for _ in range(3))) == []
    assert sandbox.messages(session)[0]["outcome"] == "applied"
    sandbox.faults(silent_stream=0.1)
    assert events(caller.send(session, SECOND).text) == []


def test_an_answer_can_be_slow_and_a_stream_with_each_event(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(slow_answer={"seconds": 0.4, "count": 1}, slow_stream=0.1)
    start = time.monotonic()
    count = len(events(caller.send(session, SECOND).text))
    assert time.monotonic() - start >= 0.4 + 0.1 * count > 0.6
    assert sandbox.ledger()["faults_struck"] == {"slow_answer": 1, "slow_stream": 1, "screen_talk": 1}


@pytest.mark.parametrize(
    ("fault", "outcome", "keys"),
    [
        ("agent_declines", "declined", set()),
        ("agent_asks_back", "asked back", set()),
        ("agent_error", "failed", {"error", "error_details"}),
        ("agent_error_code", "failed", {"errorCode"}),
        ("agent_error_message", "failed", {"errorCode", "errorMessage"}),
    ],
)
def test_an_agent_that_does_not_do_it_changes_and_charges_nothing_and_its_error_has_three_forms(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, outcome: str, keys: set[str]
) -> None:
    before, balance = caller.draft(session), caller.balance()
    sandbox.faults(**{fault: 1})
    last = events(caller.send(session, SECOND).text)[-1]
    assert {key for key in last if key.startswith("error")} == keys
    (message,) = sandbox.messages(session)
    assert (message["outcome"], message["charge"]) == (outcome, 0)
    assert (caller.draft(session), caller.balance()) == (before, balance)


def test_an_edit_in_two_steps_changes_the_draft_twice(sandbox: SandboxProcess, caller: Caller, session: str) -> None:
    def drafts_seen(seconds: float) -> int:
        seen: list[object] = [caller.draft(session)["t"]]
        sandbox.faults(two_step_edit=1, edit_seconds=seconds)
        with caller.stream(session, SECOND):
            while sandbox.messages(session)[-1]["outcome"] != "applied":
                seen.append(caller.draft(session)["t"])
        seen.append(caller.draft(session)["t"])
        return 1 + sum(earlier != later for earlier, later in pairwise(seen))

    # The longer ones are for machines so busy that nobody looked halfway.
    assert any(drafts_seen(seconds) == 3 for seconds in (1, 10, 60))


def test_a_garbage_event_and_the_talk_of_a_temporary_issue_do_no_harm(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(garbage_event=1, temporary_issue=1)
    stream = caller.send(session, SECOND).text
    assert "I encountered a temporary issue" in stream
    with pytest.raises(ValueError, match="Unterminated"):
        events(stream)
    assert sandbox.messages(session)[0]["outcome"] == "applied"


def test_a_render_is_refused_forgotten_or_called_a_duplicate_on_demand(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(render_refused={"count": 1}, render_forgotten={"count": 1})
    assert caller.render(session, "render_a").status_code == 422
    assert caller.render(session, "render_a").status_code == 200
    assert [caller.look("render_a").status_code for _ in range(2)] == [404, 404]
    sandbox.faults(render_duplicate={"count": 1})
    refused = caller.render(session, "render_a")
    assert (refused.status_code, "duplicate" in refused.json()["message"]) == (409, True)
    assert caller.look("render_a").status_code == 200


def test_faults_are_merged_kept_to_endpoints_ended_by_time_and_reset(sandbox: SandboxProcess, caller: Caller) -> None:
    def opened() -> int:
        return caller.http.post("/api/tasks/me/with-session/nemo_agent", json={}).status_code

    sandbox.faults(rate_limited={"rate": 1, "on": ["session", "claim"], "for": 600})
    sandbox.faults(unavailable={"rate": 1, "on": "balance"})
    assert (opened(), caller.http.get(BALANCE).status_code) == (429, 503)
    sandbox.faults(rate_limited={"rate": 1, "for": 0.1}, unavailable=None)
    until(lambda: opened() == 200)
    assert caller.http.get(BALANCE).status_code == 200
    sandbox.faults(rate_limited=1, token_quota={"count": 1})  # the token endpoint has a limit of its own
    assert [sandbox.caller().take_token().status_code for _ in range(2)] == [429, 200]
    sandbox.clear_faults()
    assert caller.http.get(BALANCE).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate_limitd": 1}, "no fault is named rate_limitd; available: agent_asks_back, "),
        ({"rate_limited": 2}, "from 0 to 1"),
        ({"rate_limited": {"count": 1.5}}, "whole number"),
        ({"rate_limited": {"on": "token"}}, "takes any of"),
        ({"slow_answer": {"rate": 1}}, "number of seconds"),
        ({"rate_limited": {"often": True}}, 'rate, count, on, for or seconds; not {"often": true}'),
        ({"rate_limited": [None]}, "not [null]"),
        ({"rate_limited": {"on": [["edit"]]}}, 'not [["edit"]]'),
        ({"rate_limited": {"rate": "half"}}, 'rate must be a number from 0 to 1, not "half"'),
        ({"slow_answer": {"seconds": float("nan")}}, "seconds must be a number from 0, not NaN"),
        ({"rate_limited": {"count": float("inf")}}, "count must be a number from 0, not Infinity"),
    ],
)
def test_a_fault_that_is_not_understood_is_refused_and_nothing_of_it_is_set(
    sandbox: SandboxProcess, wrong: dict[str, object], said: str
) -> None:
    answer = sandbox.control.post("/sandbox/faults", content=json.dumps({"server_error": 1, **wrong}))
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert "server_error" not in sandbox.control.get("/sandbox/faults").json()["now"]


@pytest.mark.parametrize("body", ["{'server_error': 1}", '{"server_error": 1', "[1]", '"server_error"', "", "\udc80"])
@pytest.mark.parametrize("path", ["faults", "credits"])
def test_a_body_that_is_no_json_object_is_refused_in_words(sandbox: SandboxProcess, path: str, body: str) -> None:
    answer = sandbox.control.post(f"/sandbox/{path}", content=body.encode(errors="surrogateescape"))
    assert answer.status_code == 400
    assert "JSON object" in answer.json()["error"]
