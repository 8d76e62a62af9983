"""Every answer that the service's contract names is understood, and no other one makes us stumble."""

import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq import errors
from reelq.nemo import safe_text, wire
from reelq.nemo.types import Balance, Progress, RenderStatus, Session
from reelq.nemo.wire import Area

Kinds = dict[Area, dict[int, type[errors.RemoteError]]]
# The contract's table of error codes, whole, by where the code can come from.
CODES: Kinds = {
    Area.ACCOUNT: dict.fromkeys((1001, 1010, 1011), errors.TokenRefused) | {429: errors.RateLimited},
    Area.SESSION: {
        1002: errors.SessionGone, 2001: errors.CreditsExhausted, 4001: errors.TypeNotAccepted,
        4002: errors.FileTooLarge,
    },
    Area.TOKEN: {400: errors.ClientIdMissing, 429: errors.TokenQuota},
    Area.RENDER: {402: errors.PlanRequired},
}  # fmt: skip
BARE_STATUSES: Kinds = {
    Area.ACCOUNT: {
        401: errors.TokenRefused, 404: errors.Rejected, 418: errors.Rejected, 429: errors.RateLimited,
        **dict.fromkeys((500, 502, 503, 504), errors.ServerTrouble),
    },
    Area.SESSION: {404: errors.SessionGone, 413: errors.FileTooLarge, 415: errors.TypeNotAccepted},
    Area.TOKEN: {400: errors.ClientIdMissing, 429: errors.TokenQuota},
    Area.RENDER: {402: errors.PlanRequired, 404: errors.RenderUnknown, 409: errors.SessionBusy},
    Area.FILE: {404: errors.ResultMissing},
}  # fmt: skip
BODIES = [b"", b"<html><body>Bad gateway</body></html>", b"[1, 2]", b"\xff\xfe", b'{"detail": "no"}', b"{", b"null"]


def _each(kinds: Kinds) -> list[tuple[int, Area, type[errors.RemoteError]]]:
    return [(code, where, kind) for where, those in kinds.items() for code, kind in those.items()]


def _raised(status: int, body: bytes, where: Area) -> errors.RemoteError:
    with pytest.raises(errors.RemoteError) as caught:
        wire.unwrap(status, body, where)
    return caught.value


@pytest.mark.parametrize(("code", "where", "kind"), _each(CODES))
def test_a_code_counts_whatever_the_status_says_also_where_it_is_text(
    code: int, where: Area, kind: type[errors.RemoteError]
) -> None:
    for status in (200, 400, 401, 403, 500):
        for written in (code, str(code)):
            error = _raised(status, json.dumps({"code": written, "message": "because", "data": None}).encode(), where)
            assert type(error) is kind
            assert error.remote_code == code
            assert "because" in str(error)
            assert "because" in error.raw


def test_every_code_of_the_table_has_an_error_and_every_error_of_an_answer_is_reached_by_one() -> None:
    named = {code for code, _, _ in _each(CODES)}
    assert set(wire.CODES) == named - {400}  # 400 means a missing client id with the token endpoint alone
    reached = {kind for _, _, kind in _each(CODES) + _each(BARE_STATUSES)} | {errors.TimedOut}
    assert {*wire.CODES.values(), *wire.STATUSES.values()} <= reached


@pytest.mark.parametrize(("status", "where", "kind"), _each(BARE_STATUSES))
def test_a_bare_status_is_understood_with_any_body(status: int, where: Area, kind: type[errors.RemoteError]) -> None:
    for body in BODIES:
        error = _raised(status, body, where)
        assert (type(error), error.remote_code) == (kind, status), body


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html></html>", b"[]", b"3", b'"ok"', b"\xff", b"[" * 100_000),
        *(b'{"a": NaN}', b'{"a": 1e999}', b'{"a": -1e999}', b'{"a": Infinity}'),
    ],
)
def test_success_that_is_no_json_object_or_could_not_be_sent_back_is_unintelligible(body: bytes) -> None:
    assert type(_raised(200, body, Area.ACCOUNT)) is errors.Unintelligible


NO_CODES: list[Any] = ["--5", "5-", "", "abc", "9" * 30, 10**30, 1.5, True, [], {}]


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ({"success": False, "error": "quota for exports reached"}, errors.Rejected, None),
        ({"success": False, "error": "Duplicate render id"}, errors.RenderDuplicate, None),
        ({"code": 409, "message": "duplicate render id"}, errors.RenderDuplicate, 409),
        ({"code": 5000, "message": "this id already exists"}, errors.RenderDuplicate, 5000),
        ({"code": 7777, "message": "the moon is wrong"}, errors.Rejected, 7777),
        ({"code": 0, "success": False, "error": "no"}, errors.Rejected, None),
        ({"code": 0, "data": {"success": False, "error": "duplicate id"}}, errors.RenderDuplicate, None),
        *(({"code": none, "message": "because"}, errors.Rejected, None) for none in NO_CODES),
    ],
)
def test_a_refusal_in_any_form_is_no_success_and_its_words_are_kept(
    answer: dict[str, Any], kind: type[errors.RemoteError], code: int | None
) -> None:
    error = _raised(200, json.dumps(answer).encode(), Area.RENDER)
    assert (type(error), error.remote_code) == (kind, code)
    said = answer.get("message") or (answer.get("data") or answer)["error"]
    assert said in str(error)
    assert said in error.raw


def test_what_is_kept_of_an_answer_is_what_came_but_without_tokens_or_signs_that_no_database_holds() -> None:
    for body in (
        b'{"code": 7777, "message": "a bad token, nmv_usr_abc or my-secret", "echo": "my-secret"}',
        b'{"code": 0, "data": {"a bad token": "nmv_usr_abc", "echo": "my-secret", "bell": "\x00"}}',
    ):
        with pytest.raises(errors.RemoteError) as caught:
            wire.parse_answer(wire.read_session, 200, body, Area.ACCOUNT, secret="my-secret")
        assert "a bad token" in caught.value.raw
        assert not [gone for gone in ("abc", "my-secret", "\x00") if gone in caught.value.raw + str(caught.value)]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "completed", "output": {"url": "https://cdn/x.mp4"}},
        {"success": True, "data": {"id": "r", "status": "completed", "outputUrl": "https://cdn/x.mp4"}},
        {"code": 0, "data": {"status": "completed", "output": {"url": "https://cdn/x.mp4"}}},
        {"code": 0, "data": {"success": True, "data": {"status": "completed", "outputUrl": "https://cdn/x.mp4"}}},
    ],
)
def test_a_render_is_read_in_all_its_forms(answer: dict[str, Any]) -> None:
    inner = wire.unwrap(200, json.dumps(answer).encode(), Area.RENDER)
    assert wire.read_progress(inner) == Progress(RenderStatus.DONE, 100, "https://cdn/x.mp4")


@pytest.mark.parametrize(
    ("progress", "percent"), [(0.5, 50), (50, 50), (1, 1), (0, 0), (250, 100), (-3, 0), ("half", None), (None, None)]
)
def test_progress_is_a_percentage_or_unknown_and_a_failure_has_a_reason(progress: object, percent: int | None) -> None:
    assert wire.read_progress({"status": "processing", "progress": progress}).percent == percent
    failed = wire.read_progress({"status": "failed", "error": "codec trouble", "progress": progress})
    assert (failed.status, failed.reason) == (RenderStatus.FAILED, "codec trouble")


def test_a_number_where_an_id_was_expected_is_an_id() -> None:
    assert wire.read_session({"session_id": 12, "task_id": "t"}) == Session("12", "t")


def test_a_grant_keeps_its_token_out_of_its_repr_and_takes_none_that_fits_no_header() -> None:
    grant = wire.read_grant({"token": "nmv_usr_x", "credits": 100, "expires_at": "2026-01-01T00:00:00Z"})
    assert grant.token == "nmv_usr_x"
    assert "nmv_usr_x" not in repr(grant)
    assert grant.expires_at is not None
    assert grant.expires_at.utcoffset() is not None
    for token in ("", None, 3.5, "two words", "línea", "a\nb"):
        with pytest.raises(errors.Unintelligible):
            wire.read_grant({"token": token})


def test_a_balance_needs_only_what_is_available() -> None:
    assert wire.read_balance({"available": 70}) == Balance(70)
    assert wire.read_balance({"available": "70", "frozen": 5, "total": 100}) == Balance(70, 5, 100)
    assert wire.read_balance({"available": 70, "frozen": None}) == Balance(70)
    with pytest.raises(errors.Unintelligible, match="frozen"):
        wire.read_balance({"available": 70, "frozen": "some"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=5,
)
KEYS = st.sampled_from([
    "code", "message", "error", "success", "data", "status", "output", "url", "outputUrl", "progress", "token",
    "session_id", "task_id", "user_id", "credits", "expires_at", "files", "filename", "cdn_url", "duration", "width",
    "state", "draft", "available", "frozen", "total", "claim_token",
])  # fmt: skip
ANSWERS = st.dictionaries(
    KEYS, st.recursive(JSON, lambda inner: st.dictionaries(KEYS, inner, max_size=4), max_leaves=6), max_size=6
)
READERS = [
    *(wire.read_grant, wire.read_session, wire.check_uploaded, wire.read_state, wire.read_balance),
    wire.read_progress,
]


@given(
    st.binary(max_size=300) | ANSWERS.map(lambda answer: json.dumps(answer).encode()),
    st.just(200) | st.integers(200, 599),
    st.sampled_from(Area),
)
def test_no_answer_raises_anything_but_our_errors(body: bytes, status: int, where: Area) -> None:
    for read in READERS:
        try:
            receipt = wire.parse_answer(read, status, body, where)
        except errors.RemoteError as error:
            error.raw.encode()
        else:
            repr(receipt).encode()


@given(JSON)
def test_whatever_came_can_be_sent_back_also_as_a_read_only_draft(value: object) -> None:
    safe_text.dump(value).encode("ascii")
    assert safe_text.dump({"draft": MappingProxyType({"t": []})}) == '{"draft": {"t": []}}'


def test_a_whole_number_is_one_that_a_database_can_hold() -> None:
    whole: dict[object, int] = {"7": 7, " -7 ": -7, 7.0: 7, -(2**63) + 1: -(2**63) + 1}
    assert {value: safe_text.to_int(value) for value in whole} == whole
    others = [2**63, 1e300, "--7", "1" * 19, True, "7.0", float("inf")]
    assert [value for value in others if safe_text.to_int(value) is not None] == []


@given(st.text("-+0123456789 ._eE٣"))
def test_no_text_that_looks_like_a_number_makes_us_stumble(text: str) -> None:
    number = safe_text.to_int(text)
    assert number is None or number == int(text)


@pytest.mark.parametrize("depth", [10, 300, 900, 1000, 3000, 100_000])
@pytest.mark.parametrize(("opens", "closes"), [(b'{"code":0,"data":', b"}"), (b'{"code":0,"data":[', b"]}")])
def test_envelopes_without_end_are_no_fault(opens: bytes, closes: bytes, depth: int) -> None:
    try:
        inner = wire.unwrap(200, opens * depth + b"{}" + closes * depth, Area.RENDER)
    except errors.Unintelligible:
        return
    with pytest.raises(errors.Unintelligible):
        wire.read_session(inner)
