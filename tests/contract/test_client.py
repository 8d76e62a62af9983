"""The client against the sandbox, over a real socket: every call, every refusal, every fault on the way."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from reelq import errors
from reelq.remote import draft
from reelq.remote.auth import FreeTokens, OwnToken
from reelq.remote.client import Http, Remote, ask_for_token
from reelq.remote.receipts import Balance, Grant, Progress, RenderStatus, Session
from reelq.remote.sse import Patience, StateChange, Text
from tests.sandbox_process import ATTRIBUTION, SandboxProcess

PATIENT = Patience(life=100, silence=100)


@pytest.fixture
def session(remote: Remote, clip: Path) -> Session:
    """A session that holds a clip."""
    opened = remote.open_session()
    remote.upload(opened.session_id, [clip])
    return opened


def finished(remote: Remote, session: Session, render_id: str) -> Progress:
    remote.render(render_id, session.session_id, remote.state(session.session_id).draft or {})
    deadline = time.monotonic() + 60
    while (look := remote.progress(render_id)).status in {RenderStatus.PENDING, RenderStatus.RUNNING}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return look


def test_a_row_goes_all_the_way(remote: Remote, sandbox: SandboxProcess, clip: Path, tmp_path: Path) -> None:
    session = remote.open_session("en")
    seen: list[int] = []
    uploaded = remote.upload(session.session_id, [clip], seen.append)
    assert uploaded.files[0].filename == clip.name
    assert uploaded.files[0].duration == pytest.approx(2, abs=0.2)
    assert seen[-1] == clip.stat().st_size
    before = remote.state(session.session_id).draft
    told: list[object] = []
    heard = remote.send(session.session_id, "Add a title that says 'Urban Dreams'", PATIENT, tell=told.append)
    after = remote.state(session.session_id).draft
    assert heard.reply
    assert any(isinstance(event, StateChange) for event in told)
    assert any("Urban Dreams" in change for change in draft.changes(before, after))
    look = finished(remote, session, "render_whole")
    assert (look.status, look.percent) == (RenderStatus.DONE, 100)
    part = tmp_path / "out.part"
    receipt = remote.download(look.url, "render_whole", part)
    assert receipt.size == part.stat().st_size
    ledger = sandbox.ledger()
    assert ledger["missing_headers"] == []
    assert ledger["tokens_at_cdn"] == 0


def test_several_files_go_in_one_upload(remote: Remote, clip: Path, tmp_path: Path) -> None:
    photo = tmp_path / "face.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0" + bytes(1000))
    session = remote.open_session()
    uploaded = remote.upload(session.session_id, [clip, photo])
    assert [media.filename for media in uploaded.files] == [clip.name, photo.name]


def test_a_file_name_in_any_script_arrives(remote: Remote, clip: Path, tmp_path: Path) -> None:
    named = tmp_path / '海滩 "sunset" – año.mp4'
    named.write_bytes(clip.read_bytes())
    assert len(remote.upload(remote.open_session().session_id, [named]).files) == 1


def test_the_service_fetches_urls_itself(remote: Remote, clip: Path, sandbox: SandboxProcess) -> None:
    first, second = remote.open_session(), remote.open_session()
    url = remote.upload(first.session_id, [clip]).files[0].url
    fetched = remote.upload_urls(second.session_id, [url])
    assert len(fetched.files) == 1
    sizes = [entry["uploads"][0]["size"] for entry in sandbox.ledger()["sessions"].values()]
    assert sizes == [clip.stat().st_size] * 2


def test_a_file_that_is_gone_is_told_before_anything_is_sent(remote: Remote, session: Session, tmp_path: Path) -> None:
    with pytest.raises(errors.FileUnreadable, match=r"gone\.mp4"):
        remote.upload(session.session_id, [tmp_path / "gone.mp4"])


def test_a_type_that_is_not_accepted_is_refused(remote: Remote, session: Session, tmp_path: Path) -> None:
    page = tmp_path / "page.pdf"
    page.write_bytes(b"%PDF-")
    with pytest.raises(errors.TypeNotAccepted):
        remote.upload(session.session_id, [page])


def test_an_unknown_session_is_gone_wherever_it_is_named(remote: Remote, clip: Path) -> None:
    for ask in (
        lambda: remote.state("ses_nobody"),
        lambda: remote.upload("ses_nobody", [clip]),
        lambda: remote.send("ses_nobody", "Add a title", PATIENT),
    ):
        with pytest.raises(errors.SessionGone):
            ask()


def test_a_session_id_can_not_reach_another_address(remote: Remote) -> None:
    with pytest.raises(errors.SessionGone):
        remote.state("../../../credits/balance/simple?")


def test_the_balance_falls_by_what_an_edit_costs(remote: Remote, session: Session, sandbox: SandboxProcess) -> None:
    sandbox.top_up(500)
    before = remote.balance()
    remote.send(session.session_id, "Add a title that says 'One'", PATIENT)
    after = remote.balance()
    assert isinstance(after, Balance)
    charged = sum(message["charge"] for message in sandbox.ledger()["sessions"][session.session_id]["messages"])
    assert before.available - after.available == charged > 0


def renewable(http: Http, sandbox: SandboxProcess, client_id: str) -> FreeTokens:
    """A client's tokens. A new one lasts, even where the sandbox was told to treat all tokens as expired."""

    def ask() -> Grant:
        grant = ask_for_token(http, client_id, ATTRIBUTION)
        sandbox.faults(tokens_expire=None)
        return grant

    return FreeTokens(ask)


@pytest.mark.parametrize(
    "fault", ["token_refused", "token_refused_401", "token_refused_bare", "token_refused_1010", "token_refused_1011"]
)
@pytest.mark.parametrize("what", ["balance", "upload", "send"])
def test_a_refused_token_is_renewed_and_the_request_sent_once_more(
    fault: str, what: str, http: Http, sandbox: SandboxProcess, clip: Path
) -> None:
    tokens = renewable(http, sandbox, "renewed")
    remote = Remote(http, tokens, ATTRIBUTION)
    session = remote.open_session()
    sandbox.faults(tokens_expire=0, **{fault: {"count": 1}})
    match what:
        case "balance":
            remote.balance()
        case "upload":
            remote.upload(session.session_id, [clip])
        case "send":
            remote.send(session.session_id, "Add a title", PATIENT)
    assert tokens.current().version == 2
    assert [asked["outcome"] for asked in sandbox.ledger()["token_requests"]["renewed"]] == ["issued", "issued"]
    if what == "send":
        assert len(sandbox.ledger()["sessions"][session.session_id]["messages"]) == 1


def test_an_expired_token_costs_one_token_request_for_all_who_meet_it(http: Http, sandbox: SandboxProcess) -> None:
    remote = Remote(http, renewable(http, sandbox, "expiring"), ATTRIBUTION)
    remote.balance()
    sandbox.faults(tokens_expire=0)
    with ThreadPoolExecutor(20) as pool:
        balances = [future.result() for future in [pool.submit(remote.balance) for _ in range(20)]]
    assert {balance.available for balance in balances} == {100}
    assert len(sandbox.ledger()["token_requests"]["expiring"]) == 2


def test_a_token_of_the_users_own_that_is_refused_is_told(http: Http) -> None:
    remote = Remote(http, OwnToken(SecretStr("nmv_usr_unknown")), ATTRIBUTION)
    with pytest.raises(errors.TokenRefused, match="NEMO_TOKEN"):
        remote.balance()


def test_a_second_free_token_for_a_client_is_a_quota_and_no_mere_rate_limit(http: Http) -> None:
    ask_for_token(http, "twice", ATTRIBUTION)
    with pytest.raises(errors.TokenQuota):
        ask_for_token(http, "twice", ATTRIBUTION)


FAULTS = [
    ("rate_limited", errors.RateLimited),
    ("out_of_credits", errors.CreditsExhausted),
    ("plan_required", errors.PlanRequired),
    ("server_error", errors.ServerTrouble),
    ("bad_gateway", errors.ServerTrouble),
    ("unavailable", errors.ServerTrouble),
    ("html", errors.Unintelligible),
    ("success_false", errors.Rejected),
    ("unknown_code", errors.Rejected),
    ("connection_dropped", errors.ConnectionLost),
    ("answer_dropped", errors.ConnectionLost),
    ("session_lost", errors.SessionGone),
    ("session_lost_404", errors.SessionGone),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
def test_each_fault_has_its_own_error(
    fault: str, kind: type[errors.RemoteError], remote: Remote, session: Session, sandbox: SandboxProcess
) -> None:
    def ask() -> None:
        if fault == "out_of_credits":
            remote.send(session.session_id, "Add a title", PATIENT)
        elif fault == "plan_required":
            remote.render("render_x", session.session_id, {"t": []})
        else:
            remote.state(session.session_id)

    sandbox.faults(**{fault: {"count": 1}})
    with pytest.raises(errors.RemoteError) as caught:
        ask()
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "fault", ["rate_limited", "out_of_credits", "plan_required", "success_false", "unknown_code", "session_lost_404"]
)
def test_an_instruction_that_is_refused_is_no_doubt(
    fault: str, remote: Remote, session: Session, sandbox: SandboxProcess
) -> None:
    sandbox.faults(**{fault: {"count": 1}})
    with pytest.raises(errors.RemoteError) as caught:
        remote.send(session.session_id, "Add a title", PATIENT)
    assert not isinstance(caught.value, errors.StreamLost | errors.PassingFault)
    ledger = sandbox.ledger()["sessions"][session.session_id]["messages"]
    assert sum(message["charge"] for message in ledger) == 0


@pytest.mark.parametrize(
    "fault",
    ["server_error", "bad_gateway", "unavailable", "html", "stream_refused", "connection_dropped", "answer_dropped"],
)
def test_an_instruction_without_a_stream_or_a_refusal_is_doubt(
    fault: str, remote: Remote, session: Session, sandbox: SandboxProcess
) -> None:
    sandbox.faults(**{fault: {"count": 1, "on": ["edit"]}})
    with pytest.raises(errors.StreamNeverBegan):
        remote.send(session.session_id, "Add a title", PATIENT)


@pytest.mark.parametrize("fault", ["stream_cut", "stream_cut_ends"])
def test_a_cut_stream_is_doubt(fault: str, remote: Remote, session: Session, sandbox: SandboxProcess) -> None:
    sandbox.faults(**{fault: {"count": 1}, "edit_seconds": 0.3})
    with pytest.raises(errors.StreamCut):
        remote.send(session.session_id, "Add a title", PATIENT)


def test_a_service_that_is_not_there_proves_that_nothing_was_sent(remote: Remote, sandbox: SandboxProcess) -> None:
    session = remote.open_session()
    sandbox.kill()
    for ask in (lambda: remote.send(session.session_id, "Add a title", PATIENT), remote.balance):
        with pytest.raises(errors.NotSent):
            ask()


def test_a_silent_edit_ends_well_and_says_nothing(remote: Remote, session: Session, sandbox: SandboxProcess) -> None:
    sandbox.faults(silent_edit=1)
    before = remote.state(session.session_id).draft
    assert remote.send(session.session_id, "Add a title", PATIENT).reply == ""
    assert draft.changes(before, remote.state(session.session_id).draft)


def test_what_is_raised_in_between_ends_the_stream_at_once(
    remote: Remote, session: Session, sandbox: SandboxProcess
) -> None:
    sandbox.faults(edit_seconds=600)

    class Enough(Exception):
        pass

    def enough() -> None:
        raise Enough

    with pytest.raises(Enough):
        remote.send(session.session_id, "Add a title", PATIENT, alive=enough)
    assert remote.balance().available > 0  # the connection pool is in order


def test_an_error_of_the_agents_own_is_heard(remote: Remote, session: Session, sandbox: SandboxProcess) -> None:
    for fault in ("agent_error", "agent_error_code", "agent_error_message"):
        sandbox.faults(**{fault: {"count": 1}})
        assert remote.send(session.session_id, "Add a title", PATIENT).error is not None


def test_one_event_of_garbage_does_not_hide_the_rest(remote: Remote, session: Session, sandbox: SandboxProcess) -> None:
    sandbox.faults(garbage_event={"count": 1})
    told: list[object] = []
    heard = remote.send(session.session_id, "Add a title that says 'Hi'", PATIENT, tell=told.append)
    assert heard.garbled == 1
    assert any(isinstance(event, Text) for event in told)


def test_a_render_id_that_is_taken_is_a_duplicate(remote: Remote, session: Session) -> None:
    content = remote.state(session.session_id).draft or {}
    remote.render("render_same", session.session_id, content)
    with pytest.raises(errors.RenderDuplicate):
        remote.render("render_same", session.session_id, content)


def test_a_second_export_in_one_session_has_to_wait_and_is_no_duplicate(
    remote: Remote, session: Session, sandbox: SandboxProcess
) -> None:
    sandbox.faults(render_seconds=600)
    content = remote.state(session.session_id).draft or {}
    remote.render("render_first", session.session_id, content)
    with pytest.raises(errors.SessionBusy):
        remote.render("render_second", session.session_id, content)


def test_a_render_that_nobody_knows_is_unknown(remote: Remote) -> None:
    with pytest.raises(errors.RenderUnknown):
        remote.progress("render_nobody")


def test_a_failed_render_is_looked_at_and_not_raised(remote: Remote, session: Session, sandbox: SandboxProcess) -> None:
    sandbox.faults(render_failed={"count": 1})
    look = finished(remote, session, "render_bad")
    assert look.status is RenderStatus.FAILED
    assert look.reason


def test_a_render_can_be_given_up(remote: Remote, session: Session, sandbox: SandboxProcess) -> None:
    sandbox.faults(render_stuck={"count": 1})
    remote.render("render_stuck", session.session_id, remote.state(session.session_id).draft or {})
    remote.cancel_render("render_stuck")
    assert remote.progress("render_stuck").status is RenderStatus.FAILED


def test_an_export_without_attribution_is_a_matter_of_the_plan(http: Http, remote: Remote, clip: Path) -> None:
    tokens = FreeTokens(lambda: ask_for_token(http, "bare", ATTRIBUTION))
    named, bare = Remote(http, tokens, ATTRIBUTION), Remote(http, tokens, {})
    session = named.open_session()
    named.upload(session.session_id, [clip])
    with pytest.raises(errors.PlanRequired):
        bare.render("render_bare", session.session_id, named.state(session.session_id).draft or {})


def test_a_claim_link_opens_the_project(remote: Remote, sandbox: SandboxProcess) -> None:
    session = remote.open_session()
    assert remote.claim_link(session, "https://nemovideo.com").startswith(
        "https://nemovideo.com/workspace/claim?ct=clm_"
    )
    sandbox.faults(claim_missing=1)
    assert remote.claim_link(session, "https://nemovideo.com") == ""


def test_a_draft_with_any_text_can_be_sent_back(remote: Remote, session: Session) -> None:
    content = dict(remote.state(session.session_id).draft or {})
    content["note"] = "half a pair: \ud83c, and a separator \u2028"
    remote.render("render_odd", session.session_id, content)
