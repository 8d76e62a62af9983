"""The stand-in's tokens and credits, and its books: what it was asked, by whom, when and with which outcome."""

import httpx
import pytest

from tests.sandbox_process import Caller, SandboxProcess, until


def test_a_client_gets_a_token_with_a_hundred_credits_once_in_seven_days_and_an_address_ten(
    sandbox: SandboxProcess,
) -> None:
    unnamed = sandbox.caller().http.post("/api/auth/anonymous-token")
    assert (unnamed.status_code, unnamed.json()["code"]) == (400, 400)
    callers = [sandbox.caller() for _ in range(11)]
    answers = [each.take_token() for each in callers]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    given = answers[0].json()
    assert (given["code"], given["data"]["credits"]) == (0, 100)
    assert given["data"]["token"].startswith("nmv_usr_")
    assert given["data"]["user_id"].startswith("anon_")
    assert "T" in given["data"]["expires_at"]
    again = callers[0].take_token()
    assert (again.status_code, again.json()["code"]) == (429, 429)
    outcomes = [request["outcome"] for request in sandbox.ledger()["token_requests"][callers[0].client_id]]
    assert outcomes == ["issued", "refused"]


def test_after_its_end_the_same_client_gets_a_new_token_and_its_old_credits(
    sandbox: SandboxProcess, caller: Caller
) -> None:
    session = caller.open_session()
    caller.send(session, 'add a title "Dawn"')
    left = caller.balance()["available"]
    sandbox.faults(tokens_expire=0)
    refused = caller.http.get("/api/credits/balance/simple").json()["code"]
    renewed = caller.take_token()
    sandbox.clear_faults()
    assert refused == 1001
    assert renewed.json()["data"]["credits"] == left < 100
    assert caller.balance()["available"] == left


@pytest.mark.parametrize("authorization", ["", "Bearer nmv_usr_unknown", "Basic abc"])
def test_a_token_that_is_missing_or_unknown_is_code_1001(sandbox: SandboxProcess, authorization: str) -> None:
    answer = sandbox.caller().http.get("/api/credits/balance/simple", headers={"Authorization": authorization})
    assert answer.json()["code"] == 1001
    assert "nmv_usr_unknown" not in answer.text


def test_what_was_charged_adds_up_and_an_edit_is_refused_before_it_starts_when_the_credits_are_out(
    sandbox: SandboxProcess, caller: Caller
) -> None:
    session = caller.open_session()
    for word in ("One", "Two"):
        caller.send(session, f'add a title "{word}"')
    before = caller.draft(session)
    assert caller.send(session, 'add a title "Three"').json()["code"] == 2001
    assert caller.draft(session) == before
    assert sandbox.ledger()["refusals"] == {"2001": 1}
    sandbox.top_up(300)
    for text in ('add a title "Three"', "generate a clip of rain", "what is on the timeline?"):
        assert caller.send(session, text).headers["content-type"].startswith("text/event-stream")
    ledger = sandbox.ledger()
    noted = [(message["outcome"], message["charge"]) for message in ledger["sessions"][session]["messages"]]
    charges = [charge for _, charge in noted]
    assert [outcome for outcome, _ in noted] == ["applied", "applied", "refused", "applied", "applied", "answered"]
    assert all(40 <= charges[edit] <= 50 for edit in (0, 1, 3))
    assert (charges[2], charges[4:]) == (0, [100, 0])
    assert caller.balance() == {"available": 400 - sum(charges), "frozen": 0, "total": 400 - sum(charges)}
    assert ledger["charged"] == sum(charges)


def test_what_an_edit_costs_is_frozen_while_the_agent_works_and_a_reset_forgets_everything(
    sandbox: SandboxProcess, caller: Caller
) -> None:
    sandbox.faults(edit_seconds=600)
    with caller.stream(caller.open_session(), 'add a title "Dawn"') as answer:
        next(answer.iter_lines())
        during = caller.balance()
        sandbox.reset()
    assert during["frozen"] > 0
    assert during == {"available": 100 - during["frozen"], "frozen": during["frozen"], "total": 100}
    assert caller.http.get("/api/credits/balance/simple").json()["code"] == 1001
    ledger = sandbox.ledger()
    assert (ledger["sessions"], ledger["charges"]) == ({}, [])
    assert "edit_seconds" not in sandbox.control.get("/sandbox/faults").json()["now"]
    caller.take_token()
    caller.send(caller.open_session(), 'add a title "Dawn"')  # costs as much: prices are drawn anew after a reset
    assert caller.balance() == {"available": 100 - during["frozen"], "frozen": 0, "total": 100 - during["frozen"]}


def test_the_books_tell_every_request_until_its_answer_ends_and_what_it_lacked_and_no_token(
    sandbox: SandboxProcess, caller: Caller
) -> None:
    sandbox.faults(edit_seconds=0.3, render_seconds=0.2)
    session = caller.open_session()
    caller.send(session, 'add a title "Dawn"')
    caller.render(session, "render_a").raise_for_status()
    caller.http.get(str(caller.end_of("render_a")[1])).raise_for_status()
    assert sandbox.ledger()["missing_headers"] == []
    del caller.http.headers["X-Skill-Version"]
    caller.state(session)
    until(lambda: all(each["ended_at"] for each in sandbox.requests()))
    noted, ledger = sandbox.requests(), sandbox.ledger()
    about = [(each["endpoint"], each["about"]) for each in noted if each["endpoint"] != "poll"]
    (export,) = ledger["renders"]
    expected = [("token", None), ("session", session), ("edit", session), ("state", session), ("render", session)]
    assert about == [*expected, ("cdn", export["file"]), ("state", session)]
    assert {each["about"] for each in sandbox.requests("poll")} == {"render_a"}
    assert all(each["ended_at"] >= each["at"] for each in noted)
    (edit,), (message,) = sandbox.requests("edit"), sandbox.messages(session)
    assert edit["at"] + 0.3 <= message["at"] + 0.3 <= message["ended_at"] <= edit["ended_at"]
    assert export["at"] + 0.2 <= export["ended_at"] <= export["looks"][-1]["at"]
    (lacking,) = ledger["missing_headers"]
    assert (lacking["method"], lacking["missing"]) == ("GET", ["X-Skill-Version"])
    assert lacking["path"] == "/api/state/nemo_agent/me/{session_id}/latest"
    assert caller.http.headers["Authorization"].removeprefix("Bearer ") not in str(ledger) + str(noted)
    assert ledger["tokens_at_cdn"] == 1


def test_one_that_was_refused_or_dropped_has_ended_too_whether_or_not_its_work_was_done(
    sandbox: SandboxProcess, caller: Caller
) -> None:
    sandbox.faults(rate_limited={"count": 1, "on": ["balance"]})
    assert caller.http.get("/api/credits/balance/simple").status_code == 429
    for fault, opened in (("connection_dropped", 0), ("answer_dropped", 1)):
        sandbox.faults(**{fault: {"count": 1, "on": "session"}})
        # A reset instead of a plain close, where a part of the request was not read yet.
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            caller.open_session()
        assert len(sandbox.ledger()["sessions"]) == opened
    assert [each["endpoint"] for each in sandbox.requests()] == ["token", "balance", "session", "session"]
    until(lambda: all(each["ended_at"] for each in sandbox.requests()))
