"""A stream in either dialect becomes the same events, and nothing in it can break the reading."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq import errors
from reelq.remote import sse
from reelq.remote.sse import AgentError, Garbled, Heard, Patience, StateChange, Text, ToolCall, ToolResult, listen

FOREVER = Patience(life=60, silence=60)


class _Clock:
    """Goes on where a stream says so, by the seconds between its chunks."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(sse, "time", made)
    return made


class _Chunks(httpx.SyncByteStream):
    def __init__(self, chunks: Iterable[bytes | Exception | float]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, float):
                sse.time.now += chunk  # type: ignore[attr-defined]
            else:
                yield chunk


def _listen(
    *chunks: bytes | Exception | float, patience: Patience = FOREVER, alive: Callable[[], None] = lambda: None
) -> Iterator[sse.Event]:
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Chunks(chunks))
    return listen(response, patience, alive=alive, secret="s3cr3t")


def _data(*events: object) -> bytes:
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events)


def _adk(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"role": "model", "parts": list(parts)}, "author": "nemo_agent", "timestamp": 1.0, **more}


SAME_STORY = [
    (
        "ADK",
        _data(
            _adk({"functionCall": {"name": "trim", "args": {"to": 6}}}),
            _adk({"functionResponse": {"name": "trim", "response": {"ok": True}}}),
            _adk({"text": "Trimmed to 6 s."}),
        ),
    ),
    (
        "ADK in pieces",
        _data(
            _adk({"functionCall": {"name": "trim", "args": {"to": 6}}}),
            _adk({"functionResponse": {"name": "trim", "response": {"ok": True}}}),
            _adk({"text": "Trimmed "}, partial=True),
            _adk({"text": "to 6 s."}, partial=True),
            _adk({"text": "Trimmed to 6 s."}),
        ),
    ),
    (
        "flat",
        _data(
            {"type": "tool_call", "name": "trim", "args": {"to": 6}},
            {"type": "heartbeat"},
            {"type": "tool_result", "name": "trim", "result": {"ok": True}},
            {"type": "text", "content": "Trimmed to 6 s."},
        ),
    ),
]


@pytest.mark.parametrize("stream", [stream for _, stream in SAME_STORY], ids=[name for name, _ in SAME_STORY])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_both_dialects_tell_the_same_story_however_they_are_cut(stream: bytes, ending: bytes, size: int) -> None:
    stream = stream.replace(b"\n", ending)
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert list(_listen(*chunks)) == [
        ToolCall("trim", {"to": 6}),
        ToolResult("trim", {"ok": True}),
        Text("Trimmed to 6 s."),
    ]


@pytest.mark.parametrize(
    "alive", [b": ping\n\n", b"event: heartbeat\ndata: {}\n\n", b"data:\n\n", b"data: \n\n", b"event: heartbeat\n\n"]
)
def test_a_keep_alive_is_a_sign_of_life_and_no_event(alive: bytes) -> None:
    signs: list[None] = []
    events = list(
        _listen(alive, alive, _data({"type": "text", "content": "Done."}), alive, alive=lambda: signs.append(None))
    )
    assert events == [Text("Done.")]
    assert len(signs) == 4


def test_a_text_that_came_in_pieces_only_is_told_at_the_end() -> None:
    stream = _data(_adk({"text": "Half a "}, partial=True), _adk({"text": "sentence"}, partial=True))
    assert list(_listen(stream)) == [Text("Half a sentence")]


def test_pieces_of_another_text_are_not_swallowed_by_a_whole_one() -> None:
    stream = _data(_adk({"text": "First."}, partial=True), _adk({"text": "Second."}))
    assert list(_listen(stream)) == [Text("First."), Text("Second.")]


def test_the_same_words_said_twice_are_told_twice() -> None:
    stream = _data(_adk({"text": "Done."}, partial=True), _adk({"text": "Done."}), _adk({"text": "Done."}))
    assert list(_listen(stream)) == [Text("Done."), Text("Done.")]


def test_a_new_draft_in_a_state_change_is_told() -> None:
    delta: dict[str, Any] = {"draft": {"t": []}}
    event = _adk({"functionResponse": {"name": "cut", "response": {}}}, actions={"stateDelta": delta})
    assert list(_listen(_data(event))) == [ToolResult("cut"), StateChange(delta)]


def test_a_model_thinking_aloud_says_nothing() -> None:
    assert list(_listen(_data(_adk({"text": "hmm", "thought": True}, {"text": "Done."})))) == [Text("Done.")]


@pytest.mark.parametrize(
    ("event", "words", "code"),
    [
        ({"error": "RuntimeError: no GPU", "error_details": {"x": 1}}, "RuntimeError: no GPU", None),
        ({"errorCode": "500", "errorMessage": "model overloaded"}, "model overloaded", None),
        ({"type": "error", "message": "broken"}, "broken", None),
        ({"code": 2001, "message": "out of credits"}, "out of credits", 2001),
        ({"error": {"nested": 1}}, "no reason given", None),
    ],
)
def test_an_agents_error_is_told_and_the_stream_is_read_on(event: dict[str, Any], words: str, code: int | None) -> None:
    error, text = _listen(_data(event, {"type": "text", "content": "Sorry."}))
    assert isinstance(error, AgentError)
    assert (error.message, error.remote_code, text) == (words, code, Text("Sorry."))


def test_no_secret_is_kept_of_an_error_or_of_garbage() -> None:
    error, garbage = _listen(_data({"error": "no: s3cr3t"}), b"data: {s3cr3t nmv_usr_abcdef\n\n")
    assert "s3cr3t" not in repr(error) + repr(garbage)
    assert "abcdef" not in repr(garbage)


@pytest.mark.parametrize(
    "garbage", [b"{not json", b"[1]", b"42", b'"text"', b"\xff\xfe\xfd", b'{"a": NaN}', b"[" * 9999]
)
def test_garbage_in_one_event_is_reported_and_the_rest_still_read(garbage: bytes) -> None:
    first, second = _listen(b"data: " + garbage + b"\n\n", _data({"type": "text", "content": "Done."}))
    assert isinstance(first, Garbled)
    assert second == Text("Done.")


def test_an_unknown_flat_event_is_reported() -> None:
    assert isinstance(next(_listen(_data({"type": "hologram"}))), Garbled)


def test_a_character_split_between_chunks_arrives_whole() -> None:
    stream = 'data: {"type": "text", "content": "已完成 🎬"}\n\n'.encode()
    assert list(_listen(*(bytes([byte]) for byte in stream))) == [Text("已完成 🎬")]


def test_a_byte_order_mark_before_the_stream_is_no_text() -> None:
    assert list(_listen(b"\xef\xbb\xbf", _data({"type": "text", "content": "Done."}))) == [Text("Done.")]


def test_line_separators_within_a_text_do_not_end_a_line() -> None:
    stream = 'data: {"type": "text", "content": "one\u2028two\x0bthree\x85"}\n\n'.encode()
    assert list(_listen(stream.replace(b"\x0b", b"\\u000b"))) == [Text("one\u2028two\x0bthree\x85")]


def test_an_event_over_several_data_lines_is_one_event() -> None:
    assert list(_listen(b'data: {"type": "text",\ndata: "content": "Done."}\n\n')) == [Text("Done.")]


def test_a_last_event_without_its_blank_line_counts_when_the_stream_ends_properly() -> None:
    assert list(_listen(_data({"type": "text", "content": "Done."}).rstrip())) == [Text("Done.")]


def test_an_event_without_end_is_a_broken_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LARGEST_EVENT", 100_000)
    with pytest.raises(errors.StreamCut):
        list(_listen(*([b"x" * 10_000] * 20)))


def test_a_stream_that_breaks_off_is_cut_after_what_was_said() -> None:
    events = _listen(_data({"type": "text", "content": "Working"}), httpx.ReadError("reset by peer"))
    assert next(events) == Text("Working")
    with pytest.raises(errors.StreamCut, match="reset by peer"):
        next(events)


def test_a_stream_that_is_not_even_kept_alive_is_silent() -> None:
    with pytest.raises(errors.StreamSilent):
        list(_listen(httpx.ReadTimeout("timed out")))


def test_a_stream_of_keep_alives_alone_is_silent_after_its_patience() -> None:
    beats: list[bytes | Exception | float] = [b": ping\n\n", 0.05] * 40
    with pytest.raises(errors.StreamSilent):
        list(_listen(*beats, patience=Patience(life=60, silence=0.2)))


def test_something_said_starts_the_silence_anew() -> None:
    beats: list[bytes | Exception | float] = [0.06, _data({"type": "tool_call", "name": "cut"})] * 6
    assert len(list(_listen(*beats, patience=Patience(life=60, silence=0.2)))) == 6


def test_a_stream_that_outlives_every_stream_overran() -> None:
    beats: list[bytes | Exception | float] = [0.06, _data({"type": "tool_call", "name": "cut"})] * 20
    with pytest.raises(errors.StreamOverran):
        list(_listen(*beats, patience=Patience(life=0.3, silence=60)))


def test_what_a_sign_of_life_raises_ends_the_listening() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(_listen(b": ping\n\n", alive=stop))


def test_the_reply_is_all_that_was_said() -> None:
    heard = Heard.of(iter([ToolCall("cut"), Text("Cut. "), Text(" And titled."), Garbled("?")]))
    assert heard.reply == "Cut.\n\nAnd titled."
    assert (heard.tools, heard.garbled, heard.error) == (("cut",), 1, None)


def test_a_temporary_issue_after_an_answer_is_noise_and_alone_is_an_answer() -> None:
    noise = Text("I encountered a temporary issue. Please try again.")
    assert Heard.of(iter([Text("Title added."), noise])).reply == "Title added."
    assert Heard.of(iter([noise])).reply == noise.text


def test_a_silent_edit_is_no_error() -> None:
    assert Heard.of(_listen(b"")) == Heard()


FIELDS = st.sampled_from([
    "type", "content", "parts", "text", "partial", "functionCall", "functionResponse", "actions", "stateDelta",
    "error", "errorCode", "errorMessage", "name", "args", "result", "response", "code", "thought", "message",
])  # fmt: skip
WORDS = st.sampled_from(["text", "tool_call", "tool_result", "heartbeat", "error", ""]) | st.text(max_size=5)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | WORDS
OBJECTS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5), max_leaves=8
)


@given(st.lists(st.dictionaries(FIELDS, OBJECTS, max_size=6), max_size=5), st.integers(1, 50))
def test_no_json_breaks_the_reading(events: list[dict[str, Any]], size: int) -> None:
    stream = _data(*events)
    for event in _listen(*(stream[at : at + size] for at in range(0, len(stream), size))):
        repr(event).encode()


@given(
    st.lists(
        st.binary(max_size=80) | st.sampled_from([b"data: ", b"\n\n", b"\r", b"id: 1\n", b"event: x\n", b"{", b"}"])
    )
)
def test_no_bytes_break_the_reading(chunks: list[bytes]) -> None:
    for event in _listen(*chunks):
        repr(event).encode()


@pytest.mark.parametrize("whole", [["Half a ", "sentence."], ["Half a sentence."], ["Half a\nsentence. ", "And more."]])
def test_a_whole_text_in_several_parts_is_not_counted_beside_its_pieces(whole: list[str]) -> None:
    pieces = [_adk({"text": piece}, partial=True) for piece in ("Half", " a sent", "ence.")]
    events = list(_listen(_data(*pieces, _adk(*({"text": text} for text in whole)))))
    assert events == [Text(text) for text in whole]


def test_a_tool_call_between_the_pieces_of_a_text_is_told_and_the_text_once() -> None:
    call = {"functionCall": {"name": "cut", "args": {}}}
    stream = _data(_adk({"text": "Do"}, call, partial=True), _adk({"text": "ne"}, partial=True), _adk({"text": "Done"}))
    assert list(_listen(stream)) == [ToolCall("cut"), Text("Done")]


@pytest.mark.parametrize(
    "event",
    [_adk({"text": "a"}, partial=True), _adk({"text": "hmm", "thought": True}), {"type": "text", "content": ""}],
)
def test_pieces_and_thoughts_are_no_silence(event: dict[str, Any]) -> None:
    beats: list[bytes | Exception | float] = [0.06, _data(event)] * 6
    list(_listen(*beats, patience=Patience(life=60, silence=0.2)))


def test_a_flat_keep_alive_does_not_break_the_silence() -> None:
    beats: list[bytes | Exception | float] = [_data({"type": "heartbeat"}), 0.05] * 40
    with pytest.raises(errors.StreamSilent):
        list(_listen(*beats, patience=Patience(life=60, silence=0.2)))


@pytest.mark.parametrize("nothing", [None, False])
def test_an_error_that_is_nothing_is_none(nothing: object) -> None:
    event = _adk({"text": "Done."}, error=nothing, errorCode=None, errorMessage=None, code=None)
    assert list(_listen(_data(event))) == [Text("Done.")]


def test_an_exception_without_words_is_an_error_all_the_same() -> None:
    (error,) = _listen(_data({"error": ""}))
    assert isinstance(error, AgentError)


def test_no_half_of_a_secret_is_left_where_text_is_cut_short() -> None:
    for at in range(480, 505):
        (garbage,) = _listen(b"data: " + b"a" * at + b"s3cr3t" + b"\n\n")
        (error,) = _listen(_data({"error": "b" * at + "s3cr3t"}))
        assert "s3" not in repr(garbage) + repr(error)


def test_what_is_kept_of_an_event_fits_any_database() -> None:
    (garbage,) = _listen(b"data: \x00" + b"g" * 5000 + b"\n\n")
    assert isinstance(garbage, Garbled)
    assert "\x00" not in garbage.raw
    assert len(garbage.raw) == 500


def test_of_several_errors_the_last_is_what_the_stream_ended_with() -> None:
    heard = Heard.of(_listen(_data({"error": "first"}, {"error": "last"})))
    assert heard.error is not None
    assert heard.error.message == "last"
