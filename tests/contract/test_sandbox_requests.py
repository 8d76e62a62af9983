"""The stand-in's book of requests: who asked for what, when it came and when it was answered to the end."""

import httpx
import pytest

from tests.contract.standin import end_of, messages, requests, until
from tests.sandbox_process import Caller, SandboxProcess


def test_every_request_stands_in_the_book_with_what_it_was_about_until_its_answer_ends(
    sandbox: SandboxProcess, caller: Caller
) -> None:
    sandbox.faults(edit_seconds=0.3, render_seconds=0.2)
    session = caller.open_session()
    caller.send(session, 'add a title "Dawn"')
    caller.render(session, "render_a").raise_for_status()
    caller.http.get(str(end_of(caller, "render_a")[1])).raise_for_status()
    until(lambda: all(each["ended_at"] for each in requests(sandbox)))
    noted = requests(sandbox)
    about = [(each["endpoint"], each["about"]) for each in noted if each["endpoint"] != "poll"]
    (export,) = sandbox.ledger()["renders"]
    expected = [("token", None), ("session", session), ("edit", session), ("state", session)]
    assert about == [*expected, ("render", session), ("cdn", export["file"])]
    assert {each["about"] for each in requests(sandbox, "poll")} == {"render_a"}
    assert all(each["ended_at"] >= each["at"] for each in noted)
    (edit,), (message,) = requests(sandbox, "edit"), messages(sandbox, session)
    assert edit["at"] + 0.3 <= message["at"] + 0.3 <= message["ended_at"] <= edit["ended_at"]
    assert export["at"] + 0.2 <= export["ended_at"] <= export["looks"][-1]["at"]


def test_one_that_was_refused_or_cut_has_ended_too(sandbox: SandboxProcess, caller: Caller) -> None:
    sandbox.faults(rate_limited={"count": 1, "on": ["balance"]}, answer_dropped={"count": 1, "on": ["session"]})
    assert caller.http.get("/api/credits/balance/simple").status_code == 429
    with pytest.raises(httpx.RemoteProtocolError):
        caller.open_session()
    assert [each["endpoint"] for each in requests(sandbox)] == ["token", "balance", "session"]
    until(lambda: all(each["ended_at"] for each in requests(sandbox)))


def test_a_render_that_goes_on_has_no_end_in_the_book(sandbox: SandboxProcess, caller: Caller, session: str) -> None:
    sandbox.faults(render_seconds=600)
    caller.render(session, "render_a").raise_for_status()
    assert sandbox.ledger()["renders"][0]["ended_at"] is None
