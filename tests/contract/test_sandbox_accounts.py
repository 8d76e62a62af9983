"""The stand-in's tokens, attribution and credits, asked for in plain httpx."""

from collections.abc import Callable

import pytest

from tests.sandbox_process import Caller, SandboxProcess


def test_a_free_token_comes_in_the_envelope_with_a_hundred_credits(make_caller: Callable[..., Caller]) -> None:
    answer = make_caller().take_token()
    body = answer.json()
    assert answer.status_code == 200
    assert body["code"] == 0
    assert body["data"]["token"].startswith("nmv_usr_")
    assert body["data"]["user_id"].startswith("anon_")
    assert body["data"]["credits"] == 100
    assert "T" in body["data"]["expires_at"]


def test_without_a_client_id_no_token_is_given(make_caller: Callable[..., Caller]) -> None:
    answer = make_caller().http.post("/api/auth/anonymous-token")
    assert (answer.status_code, answer.json()["code"]) == (400, 400)


def test_a_second_token_for_a_client_is_refused_for_seven_days(sandbox: SandboxProcess, caller: Caller) -> None:
    answer = caller.take_token()
    assert (answer.status_code, answer.json()["code"]) == (429, 429)
    outcomes = [request["outcome"] for request in sandbox.ledger()["token_requests"][caller.client_id]]
    assert outcomes == ["issued", "refused"]


def test_new_client_ids_run_into_the_limit_of_their_address(make_caller: Callable[..., Caller]) -> None:
    statuses = [make_caller().take_token().status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]


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
def test_a_token_that_is_missing_or_unknown_is_code_1001(
    make_caller: Callable[..., Caller], authorization: str
) -> None:
    answer = make_caller().http.get("/api/credits/balance/simple", headers={"Authorization": authorization})
    assert answer.json()["code"] == 1001


def test_the_ledger_names_each_request_that_lacks_an_attribution_header(
    sandbox: SandboxProcess, caller: Caller
) -> None:
    session = caller.open_session()
    assert sandbox.ledger()["missing_headers"] == []
    del caller.http.headers["X-Skill-Version"]
    caller.state(session)
    (note,) = sandbox.ledger()["missing_headers"]
    assert note["method"] == "GET"
    assert note["path"] == "/api/state/nemo_agent/me/{session_id}/latest"
    assert note["missing"] == ["X-Skill-Version"]


def test_an_edit_is_refused_before_it_starts_when_the_credits_are_out(sandbox: SandboxProcess, caller: Caller) -> None:
    session = caller.open_session()
    for word in ("One", "Two"):
        caller.send(session, f'add a title "{word}"')
    before = caller.draft(session)
    refused = caller.send(session, 'add a title "Three"')
    assert refused.json()["code"] == 2001
    assert caller.draft(session) == before
    assert sandbox.ledger()["refusals"] == {"2001": 1}
    sandbox.top_up(100)
    assert caller.send(session, 'add a title "Three"').headers["content-type"].startswith("text/event-stream")
    outcomes = [message["outcome"] for message in sandbox.ledger()["sessions"][session]["messages"]]
    assert outcomes == ["applied", "applied", "refused", "applied"]


def test_what_was_charged_adds_up_to_what_the_account_lost(sandbox: SandboxProcess, caller: Caller) -> None:
    sandbox.top_up(300)
    session = caller.open_session()
    for text in ('add a title "One"', "generate a clip of rain", "what is on the timeline?"):
        caller.send(session, text)
    ledger = sandbox.ledger()
    charges = [message["charge"] for message in ledger["sessions"][session]["messages"]]
    assert 40 <= charges[0] <= 50
    assert charges[1:] == [100, 0]
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


def test_neither_the_ledger_nor_a_refusal_repeats_a_token(sandbox: SandboxProcess, caller: Caller) -> None:
    token = caller.http.headers["Authorization"].removeprefix("Bearer ")
    session = caller.open_session()
    caller.send(session, 'add a title "Dawn"')
    caller.http.get("/cdn/results/none.mp4")
    assert token not in str(sandbox.ledger())
    assert sandbox.ledger()["tokens_at_cdn"] == 1
    refused = caller.http.get("/api/credits/balance/simple", headers={"Authorization": "Bearer nmv_usr_other"})
    assert "nmv_usr_other" not in refused.text
