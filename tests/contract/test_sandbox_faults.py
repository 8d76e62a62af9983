"""Each fault of the stand-in, set and met; and how faults are set."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from sandbox.faults import UnknownFault, read_words
from tests.sandbox_process import NO_TLS, Caller, SandboxProcess, events

BALANCE = "/api/credits/balance/simple"


def _finished(caller: Caller, session: str, render_id: str = "render_a") -> str:
    """The address of an export's result."""
    caller.render(session, render_id).raise_for_status()
    for _ in range(1200):
        body = caller.look(render_id).json()
        inner = body.get("data", body)
        if inner["status"] == "completed":
            return str(inner.get("outputUrl") or inner["output"]["url"])
        time.sleep(0.05)
    raise AssertionError(f"{render_id} never ended")


def _until(so: Callable[[], bool]) -> None:
    over = time.monotonic() + 60
    while not so():
        assert time.monotonic() < over
        time.sleep(0.05)


def _until_broken(answer: httpx.Response) -> bytes:
    """What came before the connection closed too early."""
    got = bytearray()
    try:
        for piece in answer.iter_bytes():
            got += piece
    except httpx.RemoteProtocolError:
        return bytes(got)
    raise AssertionError("the download was not cut")


def _outcomes(sandbox: SandboxProcess, session: str) -> list[tuple[str, int]]:
    messages = sandbox.ledger()["sessions"][session]["messages"]
    return [(message["outcome"], message["charge"]) for message in messages]


@pytest.fixture
def session(caller: Caller) -> str:
    """A session with a title on its draft already, by an upload-free edit that cost something."""
    opened = caller.open_session()
    caller.send(opened, 'add a title "First"').read()
    return opened


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("rate_limited", 429, 429),
        ("token_refused", 200, 1001),
        ("token_refused_401", 401, 1001),
        ("token_refused_1010", 200, 1010),
        ("token_refused_1011", 200, 1011),
        ("server_error", 500, 500),
        ("unknown_code", 200, 5999),
    ],
)
def test_a_refusal_on_demand_has_its_status_and_its_code(
    sandbox: SandboxProcess, caller: Caller, fault: str, status: int, code: int
) -> None:
    sandbox.faults(**{fault: {"count": 1}})
    refused, fine = caller.http.get(BALANCE), caller.http.get(BALANCE)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert (fine.status_code, fine.json()["code"]) == (200, 0)
    assert sandbox.ledger()["refusals"] == {str(code): 1}
    assert sandbox.ledger()["faults_struck"] == {fault: 1}


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("token_refused_bare", 401, b""),
        ("unavailable", 503, b""),
        ("bad_gateway", 502, b"<!doctype html>"),
        ("html", 200, b"<!doctype html>"),
        ("success_false", 200, b'{"success":false,"error":'),
    ],
)
def test_an_answer_without_the_envelope_on_demand(
    sandbox: SandboxProcess, caller: Caller, fault: str, status: int, body: bytes
) -> None:
    sandbox.faults(**{fault: 1})
    answer = caller.http.get(BALANCE)
    assert answer.status_code == status
    assert answer.content[: len(body) or None] == body


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("out_of_credits", 200, 2001), ("plan_required", 402, 402), ("stream_refused", 503, 503)],
)
def test_a_message_can_be_refused_instead_of_answered_with_a_stream(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, status: int, code: int
) -> None:
    sandbox.faults(**{fault: {"count": 1, "on": "edit"}})
    answer = caller.send(session, 'add a title "Second"')
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert len(_outcomes(sandbox, session)) == 1


def test_the_token_endpoint_has_a_rate_limit_of_its_own(
    sandbox: SandboxProcess, make_caller: Callable[..., Caller]
) -> None:
    sandbox.faults(token_quota={"count": 1}, rate_limited=1)
    assert [make_caller().take_token().status_code for _ in range(2)] == [429, 200]


@pytest.mark.parametrize(("fault", "bare"), [("session_lost", False), ("session_lost_404", True)])
def test_a_lost_session_stays_lost(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, *, bare: bool
) -> None:
    sandbox.faults(**{fault: {"count": 1}})
    first = caller.state(session)
    assert first.status_code == 404
    assert (first.content == b"") is bare
    assert caller.state(session).json()["code"] == 1002


@pytest.mark.parametrize(("fault", "opened"), [("connection_dropped", 0), ("answer_dropped", 1)])
def test_a_dropped_connection_gives_no_answer_whether_or_not_the_work_was_done(
    sandbox: SandboxProcess, caller: Caller, fault: str, opened: int
) -> None:
    sandbox.faults(**{fault: {"count": 1, "on": "session"}})
    # A reset instead of a plain close, where a part of the request was not read yet.
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.open_session()
    assert len(sandbox.ledger()["sessions"]) == opened


def test_an_answer_can_be_slow(sandbox: SandboxProcess, caller: Caller) -> None:
    sandbox.faults(slow_answer={"seconds": 0.4, "count": 1})
    start = time.monotonic()
    caller.balance()
    assert time.monotonic() - start >= 0.4
    caller.balance()
    assert sandbox.ledger()["faults_struck"] == {"slow_answer": 1}


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
    assert segment["m"]["name"] == "beach.mp4"
    assert segment["m"]["effects"] == ["make it warmer"]


def test_a_refused_upload_hears_its_refusal_however_large_it_is(sandbox: SandboxProcess, caller: Caller) -> None:
    session = caller.open_session()
    sandbox.faults(token_refused_401={"count": 1, "on": "upload"})
    assert caller.upload(session, ("long.mp4", bytes(20 << 20))).json()["code"] == 1001


def test_the_claim_endpoint_can_be_missing(sandbox: SandboxProcess, caller: Caller, session: str) -> None:
    sandbox.faults(claim_missing=1)
    assert caller.http.post("/api/auth/claim-token", json={"session_id": session}).status_code == 404


@pytest.mark.parametrize(("fault", "outcome"), [("stream_cut", "applied"), ("stream_cut_ends", "lost")])
def test_a_stream_is_cut_midway_and_its_work_goes_on_or_ends_with_it(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, outcome: str
) -> None:
    before, left = caller.draft(session), caller.balance()["available"]
    sandbox.faults(**{fault: {"count": 1}}, edit_seconds=0.4)
    with caller.stream(session, 'add a title "Second"') as answer:
        lines = answer.iter_lines()
        assert "add_text" in next(lines)
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            list(lines)
    _until(lambda: _outcomes(sandbox, session)[1][0] == outcome)
    noted = httpx.get(f"{sandbox.url}/sandbox/requests", trust_env=False, verify=NO_TLS).json()["requests"]
    cut_at = [each["ended_at"] for each in noted if each["endpoint"] == "edit"][1]
    ended_at = sandbox.ledger()["sessions"][session]["messages"][1]["ended_at"]
    assert (ended_at > cut_at) is (outcome == "applied")
    assert (caller.draft(session) != before) is (outcome == "applied")
    assert (caller.balance()["available"] < left) is (outcome == "applied")
    assert caller.balance()["frozen"] == 0


def test_a_stream_is_cut_before_its_first_byte_and_the_work_goes_on(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(answer_dropped={"count": 1, "on": "edit"})
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        caller.send(session, 'add a title "Second"')
    assert [outcome for outcome, _ in _outcomes(sandbox, session)] == ["applied", "applied"]


def test_a_silent_stream_shows_life_and_tells_nothing(
    start_sandbox: Callable[..., SandboxProcess], make_caller: Callable[..., Caller]
) -> None:
    sandbox = start_sandbox(no_latency=True, keep_alive=0.05, streams="adk", faults={"silent_stream": 1.5})
    caller = make_caller(sandbox.url)
    caller.take_token()
    session = caller.open_session()
    stream = caller.send(session, 'add a title "Second"').text
    assert events(stream) == []
    assert stream.count(": ping") >= 2
    assert _outcomes(sandbox, session)[0][0] == "applied"


def test_a_slow_stream_takes_its_time_for_each_event(sandbox: SandboxProcess, caller: Caller, session: str) -> None:
    sandbox.faults(slow_stream=0.1)
    start = time.monotonic()
    count = len(events(caller.send(session, 'add a title "Second"').text))
    assert time.monotonic() - start >= 0.1 * count > 0.2


@pytest.mark.parametrize(
    ("fault", "outcome"), [("agent_declines", "declined"), ("agent_asks_back", "asked back"), ("agent_error", "failed")]
)
def test_an_agent_that_does_not_do_it_changes_and_charges_nothing(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, outcome: str
) -> None:
    before, balance = caller.draft(session), caller.balance()
    sandbox.faults(**{fault: 1})
    told = events(caller.send(session, 'add a title "Second"').text)
    assert told
    assert _outcomes(sandbox, session)[1] == (outcome, 0)
    assert (caller.draft(session), caller.balance()) == (before, balance)


@pytest.mark.parametrize(
    ("fault", "keys"),
    [
        ("agent_error", {"error", "error_details"}),
        ("agent_error_code", {"errorCode"}),
        ("agent_error_message", {"errorCode", "errorMessage"}),
    ],
)
def test_the_agents_error_has_three_forms(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, keys: set[str]
) -> None:
    sandbox.faults(**{fault: 1})
    last = events(caller.send(session, 'add a title "Second"').text)[-1]
    assert {key for key in last if key.startswith("error")} == keys


def test_an_edit_in_two_steps_changes_the_draft_twice(
    sandbox: SandboxProcess, caller: Caller, session: str, clip: Path
) -> None:
    caller.upload(session, ("beach.mp4", clip.read_bytes())).raise_for_status()
    before = caller.draft(session)
    sandbox.faults(two_step_edit=1, edit_seconds=3)
    with caller.stream(session, 'add a title "Second"') as answer:
        _until(lambda: caller.draft(session)["t"] != before["t"])
        between = caller.draft(session)
        answer.read()
    after = caller.draft(session)
    assert before["t"] != between["t"] != after["t"]
    titles = [
        [segment for track in draft["t"] if track["tt"] == 7 for segment in track["sg"]] for draft in (between, after)
    ]
    assert [len(found) for found in titles] == [1, 2]


def test_a_garbage_event_and_the_talk_of_a_temporary_issue_do_no_harm(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(garbage_event=1, temporary_issue=1)
    stream = caller.send(session, 'add a title "Second"').text
    assert "I encountered a temporary issue" in stream
    with pytest.raises(ValueError, match="Unterminated"):
        events(stream)
    assert _outcomes(sandbox, session)[1][0] == "applied"


def test_a_fresh_render_id_can_be_refused_as_a_duplicate_although_it_was_taken(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(render_duplicate={"count": 1})
    answer = caller.render(session, "render_a")
    assert answer.status_code == 409
    assert "duplicate" in answer.json()["message"]
    assert caller.look("render_a").status_code == 200


@pytest.mark.parametrize(("fault", "status"), [("render_failed", "failed"), ("render_stuck", "processing")])
def test_a_render_fails_or_sticks_on_demand(
    sandbox: SandboxProcess, caller: Caller, session: str, fault: str, status: str
) -> None:
    sandbox.faults(**{fault: {"count": 1}})
    caller.render(session, "render_a").raise_for_status()
    _until(lambda: f'"status":"{status}"' in caller.look("render_a").text)


def test_a_render_is_refused_or_forgotten_on_demand(sandbox: SandboxProcess, caller: Caller, session: str) -> None:
    sandbox.faults(render_refused={"count": 1}, render_forgotten={"count": 1})
    assert caller.render(session, "render_a").status_code == 422
    assert caller.render(session, "render_a").status_code == 200
    assert [caller.look("render_a").status_code for _ in range(2)] == [404, 404]
    assert caller.render(session, "render_a").status_code == 200


def test_downloads_break_in_each_way_and_can_be_gone_on_with(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    url = _finished(caller, session)
    good = caller.http.get(url)
    sandbox.faults(result_missing={"count": 1})
    assert caller.http.get(url).status_code == 404
    sandbox.faults(download_cut={"count": 1})
    with caller.http.stream("GET", url) as answer:
        got = _until_broken(answer)
    assert answer.headers["content-length"] == good.headers["content-length"]
    assert 0 < len(got) < len(good.content)
    rest = caller.http.get(url, headers={"Range": f"bytes={len(got)}-", "If-Range": good.headers["etag"]})
    assert got + rest.content == good.content
    sandbox.faults(download_short={"count": 1})
    assert len(caller.http.get(url).content) < len(good.content)
    sandbox.faults(download_no_ranges={"count": 1})
    whole = caller.http.get(url, headers={"Range": "bytes=10-"})
    assert (whole.status_code, whole.content) == (200, good.content)
    sandbox.faults(download_corrupted={"count": 1})
    bad = caller.http.get(url).content
    assert (len(bad), bad[4:8] == b"ftyp") == (len(good.content), False)


def test_faults_are_merged_kept_to_endpoints_ended_by_time_and_reset(sandbox: SandboxProcess, caller: Caller) -> None:
    sandbox.faults(rate_limited={"rate": 1, "on": ["session", "claim"], "for": 2})
    sandbox.faults(unavailable={"rate": 1, "on": "balance"})
    tried = caller.http.post("/api/tasks/me/with-session/nemo_agent", json={})
    assert (tried.status_code, caller.http.get(BALANCE).status_code) == (429, 503)
    _until(lambda: caller.http.post("/api/tasks/me/with-session/nemo_agent", json={}).status_code == 200)
    sandbox.faults(unavailable=None)
    assert caller.http.get(BALANCE).status_code == 200
    sandbox.faults(rate_limited=1)
    sandbox.clear_faults()
    assert caller.http.get(BALANCE).status_code == 200


def test_a_rate_strikes_about_as_often_as_it_says(sandbox: SandboxProcess, caller: Caller) -> None:
    sandbox.faults(rate_limited=0.2)
    struck = sum(caller.http.get(BALANCE).status_code == 429 for _ in range(300))
    assert 30 <= struck <= 95


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate_limitd": 1}, "no fault is called rate_limitd; there are: agent_asks_back, "),
        ({"rate_limited": 2}, "from 0 to 1"),
        ({"rate_limited": {"count": 1.5}}, "whole number"),
        ({"rate_limited": {"often": 1}}, "rate, count, on, for or seconds"),
        ({"rate_limited": {"on": "token"}}, "takes any of"),
        ({"slow_answer": {"rate": 1}}, "how many seconds"),
        ({"rate_limited": {"often": True}}, 'not {"often": true}'),
        ({"rate_limited": [None]}, "not [null]"),
        ({"rate_limited": {"on": [["edit"]]}}, 'not [["edit"]]'),
        ({"rate_limited": {"rate": "half"}}, 'rate must be a number from 0 to 1, not "half"'),
    ],
)
def test_a_fault_that_is_not_understood_is_refused_and_nothing_of_it_is_set(
    sandbox: SandboxProcess, wrong: dict[str, object], said: str
) -> None:
    answer = httpx.post(
        f"{sandbox.url}/sandbox/faults", json={"server_error": 1, **wrong}, trust_env=False, verify=NO_TLS
    )
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert (
        "server_error" not in httpx.get(f"{sandbox.url}/sandbox/faults", trust_env=False, verify=NO_TLS).json()["now"]
    )


@pytest.mark.parametrize("body", ["{'server_error': 1}", '{"server_error": 1', "[1]", '"server_error"', "", "\udc80"])
@pytest.mark.parametrize("path", ["faults", "credits"])
def test_a_body_that_is_no_json_object_is_refused_in_words(sandbox: SandboxProcess, path: str, body: str) -> None:
    sent = body.encode(errors="surrogateescape")
    answer = httpx.post(f"{sandbox.url}/sandbox/{path}", content=sent, trust_env=False, verify=NO_TLS)
    assert answer.status_code == 400
    assert "JSON object" in answer.json()["error"]
    assert (
        "server_error" not in httpx.get(f"{sandbox.url}/sandbox/faults", trust_env=False, verify=NO_TLS).json()["now"]
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
@pytest.mark.parametrize("field", ["rate", "count", "for", "seconds"])
def test_a_number_without_an_end_is_refused(sandbox: SandboxProcess, field: str, number: str) -> None:
    body = f'{{"slow_answer": {{"seconds": 1, "{field}": {number}}}}}'
    answer = httpx.post(f"{sandbox.url}/sandbox/faults", content=body, trust_env=False, verify=NO_TLS)
    assert answer.status_code == 422
    assert f"slow_answer: {field} must be a number" in answer.json()["error"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("rate_limited=often", "rate_limited: 'often' is not a number"),
        ("rate_limited=count:2,render", "rate_limited: each part is key:value, and render is not"),
        ("rate_limited=count:", "rate_limited: count has no value"),
    ],
)
def test_a_word_of_the_command_line_that_is_not_understood_is_told_in_words(word: str, said: str) -> None:
    with pytest.raises(UnknownFault) as refused:
        read_words(word)
    assert said in str(refused.value)
