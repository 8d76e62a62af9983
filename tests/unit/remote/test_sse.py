"""A stream in either dialect becomes the same events, and nothing in it can break the reading."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq import errors
from reelq.nemo import stream
from reelq.nemo.stream import AgentError, AgentReply, Patience, Text, ToolCall, read_events

FOREVER = Patience(life=60, silence=60)


class _Clock:
    """Goes on where a stream says so, by the seconds between its chunks."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "time", _Clock())


def _sent(chunks: Iterable[bytes | Exception | float]) -> Iterator[bytes]:
    for chunk in chunks:
        if isinstance(chunk, Exception):
            raise chunk
        if isinstance(chunk, float):
            stream.time.now += chunk  # type: ignore[attr-defined]
        else:
            yield chunk


def _listen(
    *chunks: Any, patience: Patience = FOREVER, alive: Callable[[], None] = lambda: None
) -> Iterator[stream.Event]:
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=_sent(chunks))
    return read_events(response, patience, alive=alive, secret="s3cr3t")


def _data(*events: object) -> bytes:
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events)


def _cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def _adk(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": list(parts)}, "author": "nemo_agent", "timestamp": 1.0, **more}


def _whole(*texts: str, **more: Any) -> dict[str, Any]:
    return _adk(*({"text": text} for text in texts), **more)


def _pieces(*texts: str) -> list[dict[str, Any]]:
    return [_whole(text, partial=True) for text in texts]


DONE = _data({"type": "text", "content": "Done."})
TRIMMED = [
    _adk({"functionCall": {"name": "trim", "args": {"to": 6}}}),
    _adk({"functionResponse": {"name": "trim", "response": {"ok": True}}}),
]
WHOLE = _whole("Trimmed to 6 s.")
FLAT = [
    {"type": "tool_call", "name": "trim", "args": {"to": 6}},
    {"type": "heartbeat"},
    {"type": "tool_result", "name": "trim", "result": {"ok": True}},
    {"type": "text", "content": "Trimmed to 6 s."},
]


@pytest.mark.parametrize(
    "told",
    [[*TRIMMED, WHOLE], [*TRIMMED, *_pieces("Trimmed ", "to 6 s."), WHOLE], FLAT],
    ids=["ADK", "ADK in pieces", "flat"],
)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_both_dialects_tell_the_same_story_however_they_are_cut(told: list[Any], ending: bytes, size: int) -> None:
    stream = _data(*told).replace(b"\n", ending)
    assert list(_listen(*_cut(stream, size))) == [ToolCall("trim"), Text("Trimmed to 6 s.")]


@pytest.mark.parametrize(
    "alive", [b": ping\n\n", b"event: heartbeat\ndata: {}\n\n", b"data:\n\n", b"data: \n\n", b"event: heartbeat\n\n"]
)
def test_a_keep_alive_is_a_sign_of_life_and_no_event(alive: bytes) -> None:
    signs: list[None] = []
    events = list(_listen(alive, alive, DONE, alive, alive=lambda: signs.append(None)))
    assert events == [Text("Done.")]
    assert len(signs) == 4


CUT = {"functionCall": {"name": "cut", "args": {}}}
DRAFT: dict[str, Any] = {"draft": {"t": []}}
CHANGED = _adk({"functionResponse": {"name": "cut", "response": {}}}, actions={"stateDelta": DRAFT})
THOUGHT = {"text": "hmm", "thought": True}
IN_THREE = _pieces("Half", " a sent", "ence.")
NOTHING = {"errorCode": None, "errorMessage": None, "code": None}


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (_pieces("Half a ", "sentence"), ["Half a sentence"]),
        ([*_pieces("First."), _whole("Second.")], ["First.", "Second."]),
        ([*_pieces("Done."), _whole("Done."), _whole("Done.")], ["Done.", "Done."]),
        ([*IN_THREE, _whole("Half a ", "sentence.")], ["Half a ", "sentence."]),
        ([*IN_THREE, _whole("Half a sentence.")], ["Half a sentence."]),
        ([*IN_THREE, _whole("Half a\nsentence. ", "And more.")], ["Half a\nsentence. ", "And more."]),
        ([_adk({"text": "Do"}, CUT, partial=True), *_pieces("ne"), _whole("Done")], [ToolCall("cut"), "Done"]),
        ([CHANGED], []),
        ([_adk(THOUGHT, {"text": "Done."})], ["Done."]),
        ([_whole("Done.", error=None, **NOTHING)], ["Done."]),
        ([_whole("Done.", error=False, **NOTHING)], ["Done."]),
    ],
)
def test_what_was_said_and_called_is_told_once_and_neither_thoughts_nor_results_nor_errors_that_are_none(
    events: list[Any], told: list[Any]
) -> None:
    assert [each.text if isinstance(each, Text) else each for each in _listen(_data(*events))] == told


def test_a_text_arrives_whole_however_it_is_written() -> None:
    for chunks, text in (
        (_cut(DONE.replace(b"Done.", "已完成 🎬".encode()), 1), "已完成 🎬"),
        ([b"\xef\xbb\xbf", DONE], "Done."),
        ([DONE.replace(b"Done.", "one\u2028two\\u000bthree\x85".encode())], "one\u2028two\x0bthree\x85"),
        ([b'data: {"type": "text",\ndata: "content": "Done."}\n\n'], "Done."),
        ([DONE.rstrip()], "Done."),  # the last one, without its blank line
    ):
        assert list(_listen(*chunks)) == [Text(text)]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"error": "RuntimeError: no GPU", "error_details": {"x": 1}}, "RuntimeError: no GPU"),
        ({"errorCode": "500", "errorMessage": "model overloaded"}, "model overloaded"),
        ({"type": "error", "message": "broken"}, "broken"),
        ({"code": 2001, "message": "out of credits"}, "out of credits"),
        ({"error": {"nested": 1}}, "no reason given"),
        ({"error": ""}, "no reason given"),
    ],
)
def test_an_agents_error_is_told_and_the_stream_is_read_on(event: dict[str, Any], words: str) -> None:
    assert list(_listen(_data(event), DONE)) == [AgentError(words), Text("Done.")]


@pytest.mark.parametrize(
    "garbage",
    [b"{not json", b"[1]", b"42", b'"text"', b"\xff\xfe\xfd", b'{"a": NaN}', b"[" * 9999, b'{"type": "hologram"}'],
)
def test_garbage_in_one_event_is_passed_over_and_the_rest_still_read(garbage: bytes) -> None:
    assert list(_listen(b"data: " + garbage + b"\n\n", DONE)) == [Text("Done.")]


def test_no_secret_and_no_half_of_one_is_kept_of_an_error() -> None:
    assert "abcdef" not in repr(list(_listen(_data({"error": "nmv_usr_abcdef"}))))
    for at in (0, *range(480, 505)):
        (error,) = _listen(_data({"error": "b" * at + "s3cr3t"}))
        assert "s3" not in repr(error)


def test_what_is_kept_of_an_error_fits_any_database() -> None:
    (error,) = _listen(_data({"error": "\0" + "g" * 5000}))
    assert error == AgentError("g" * 500)


CALL = {"type": "tool_call", "name": "cut"}
SHORT = Patience(life=60, silence=0.2)


@pytest.mark.parametrize(
    ("chunks", "patience", "end"),
    [
        ([httpx.ReadError("reset by peer")], FOREVER, errors.StreamCut),
        ([b"x" * 10_000] * 20, FOREVER, errors.StreamCut),  # an event without end
        ([httpx.ReadTimeout("timed out")], FOREVER, errors.StreamSilent),
        ([b": ping\n\n", 0.05] * 40, SHORT, errors.StreamSilent),
        ([_data({"type": "heartbeat"}), 0.05] * 40, SHORT, errors.StreamSilent),
        ([0.06, _data(CALL)] * 20, Patience(life=0.3, silence=60), errors.StreamOverran),
    ],
)
def test_a_stream_that_breaks_off_falls_silent_or_outlives_its_patience_is_lost_after_what_was_said(
    chunks: list[Any], patience: Patience, end: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LARGEST_EVENT", 100_000)
    events = _listen(DONE, *chunks, patience=patience)
    assert next(events) == Text("Done.")
    with pytest.raises(end):
        list(events)


@pytest.mark.parametrize(
    "said", [CALL, _whole("a", partial=True), _adk(THOUGHT), {"type": "text", "content": ""}, CHANGED]
)
def test_something_said_done_a_piece_or_a_thought_starts_the_silence_anew(said: dict[str, Any]) -> None:
    list(_listen(*[0.06, _data(said)] * 6, patience=SHORT))


def test_the_reply_is_all_that_was_said_and_of_several_errors_the_last_counts() -> None:
    heard = AgentReply.of(iter([ToolCall("cut"), Text("Cut. "), Text(" And titled.")]))
    assert (heard.reply, heard.error) == ("Cut.\n\nAnd titled.", None)
    assert AgentReply.of(_listen(b"")) == AgentReply()
    failed = AgentReply.of(_listen(_data({"error": "first"}, {"error": "last"})))
    assert failed.error is not None
    assert failed.error.message == "last"


def test_a_temporary_issue_after_an_answer_is_noise_and_alone_is_an_answer() -> None:
    noise = Text("I encountered a temporary issue. Please try again.")
    assert AgentReply.of(iter([Text("Title added."), noise])).reply == "Title added."
    assert AgentReply.of(iter([noise])).reply == noise.text


FIELDS = st.sampled_from([
    "type", "content", "parts", "text", "partial", "functionCall", "functionResponse", "actions", "stateDelta",
    "error", "errorCode", "errorMessage", "name", "args", "result", "response", "code", "thought", "message",
])  # fmt: skip
WORDS = st.sampled_from(["text", "tool_call", "tool_result", "heartbeat", "error", ""]) | st.text(max_size=5)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | WORDS
OBJECTS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5), max_leaves=8
)


BYTES = st.binary(max_size=80) | st.sampled_from([b"data: ", b"\n\n", b"\r", b"id: 1\n", b"event: x\n", b"{", b"}"])
EVENTS = st.lists(st.dictionaries(FIELDS, OBJECTS, max_size=6), max_size=5).map(lambda events: _data(*events))


@given(st.builds(_cut, EVENTS, st.integers(1, 50)) | st.lists(BYTES))
def test_no_json_and_no_bytes_break_the_reading(chunks: list[bytes]) -> None:
    for event in _listen(*chunks):
        repr(event).encode()
