"""The agent's stream, in either dialect, to one set of events; and the events to what the agent said in the end.

Two dialects arrive: events of Google's Agent Development Kit, and flat ones with a `type`. Keep-alives are a sign of
life and no event. A text that came in pieces and then once more whole is told once.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from httpx_sse import EventSource

from reelq import errors
from reelq.remote import jsontext, phrases
from reelq.remote.receipts import Json
from reelq.remote.redact import redact, without

LARGEST_EVENT: Final = 64 * 1024 * 1024
"""Bytes without an event in between before a stream counts as broken; real events stay far below."""

_RAW_SHOWN: Final = 500
_RAW_READ: Final = 10_000
_KEEP_ALIVES: Final = ("heartbeat", "ping", "keepalive")


@dataclass(frozen=True, slots=True)
class Text:
    """Something the agent said, whole."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The agent uses a tool; internal, never shown as text."""

    name: str
    args: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered; internal, never shown as text."""

    name: str
    result: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateChange:
    """The agent tells of a change in the session's state, such as a new draft."""

    delta: Json


@dataclass(frozen=True, slots=True)
class AgentError:
    """An error of the agent's own; the stream itself is in order."""

    message: str
    raw: str = ""
    remote_code: int | None = None


@dataclass(frozen=True, slots=True)
class Garbled:
    """An event that can't be understood; the rest of the stream is read all the same."""

    raw: str


Event = Text | ToolCall | ToolResult | StateChange | AgentError | Garbled


@dataclass(slots=True)
class Patience:
    """How long a stream may live, and how long it may carry nothing but keep-alives; in seconds."""

    life: float
    silence: float


class _Pulse(httpx.SyncByteStream):
    """The response's bytes as they pass: each chunk is a sign of life and a moment to look at the clock."""

    def __init__(self, stream: httpx.SyncByteStream, patience: Patience, alive: Callable[[], None]) -> None:
        self._stream = stream
        self._patience = patience
        self._alive = alive
        self._began = self._spoke = time.monotonic()
        self._since_event = 0

    def spoke(self) -> None:
        """An event of substance has come."""
        self._spoke = time.monotonic()
        self._since_event = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._since_event += len(chunk)
            self._check()
            self._alive()
            yield chunk
        # A last event that lacks its blank line at a proper end is meant: there is no closing event.
        yield b"\n\n"

    def _check(self) -> None:
        now = time.monotonic()
        if self._since_event > LARGEST_EVENT:
            raise errors.StreamCut("The agent's stream sent an event without end")
        if now - self._spoke > self._patience.silence:
            raise errors.StreamSilent(f"Nothing but keep-alives from the agent for {self._patience.silence:g} s")
        if now - self._began > self._patience.life:
            raise errors.StreamOverran(f"The agent's stream was still open after {self._patience.life:g} s")

    def close(self) -> None:
        self._stream.close()


def listen(
    response: httpx.Response,
    patience: Patience,
    *,
    alive: Callable[[], None] = lambda: None,
    secret: str = "",
) -> Iterator[Event]:
    """The events of an open stream until it ends; `StreamLost` if it does not end as it should.

    `alive` is called for whatever arrives, keep-alives included; what it raises ends the listening.
    """
    if not isinstance(response.stream, httpx.SyncByteStream):
        raise TypeError("a stream of a synchronous client is needed")
    pulse = _Pulse(response.stream, patience, alive)
    response.stream = pulse
    response.encoding = "utf-8-sig"  # the only one that such a stream may have; a byte order mark is no text
    pieces = _Pieces()
    try:
        for incoming in EventSource(response).iter_sse():
            raw = without(incoming.data, secret)
            said = _parsed(raw)
            if incoming.event in _KEEP_ALIVES or not raw.strip() or (said and said.get("type") in _KEEP_ALIVES):
                continue
            pulse.spoke()
            yield from pieces.gather(said, raw)
    except httpx.TimeoutException:
        raise errors.StreamSilent("Not even a keep-alive came from the agent") from None
    except httpx.HTTPError as error:
        raise errors.StreamCut(f"The agent's stream broke off: {redact(str(error), secret)}") from None
    yield from pieces.rest()


def _parsed(raw: str) -> Json | None:
    try:
        said = jsontext.parse(raw)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


class _Pieces:
    """Holds a text's pieces back until the whole comes, so that it is told once."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def gather(self, said: Json | None, raw: str) -> Iterator[Event]:
        if said is None:
            yield Garbled(_shown(raw))
            return
        events = list(_flat(said, raw) if isinstance(said.get("type"), str) else _adk(said, raw))
        texts = [event.text for event in events if isinstance(event, Text)]
        if said.get("partial") is True:
            self._held += texts
            yield from (event for event in events if not isinstance(event, Text))
            return
        if texts:
            yield from self._settled("".join(texts))
        yield from events

    def _settled(self, whole: str) -> Iterator[Event]:
        """Drop the pieces that this text repeats; others were never repeated, and stand for themselves."""
        if _bare("".join(self._held)) in _bare(whole):
            self._held.clear()
        yield from self.rest()

    def rest(self) -> Iterator[Event]:
        """What came in pieces only."""
        text = "".join(self._held)
        self._held.clear()
        if text.strip():
            yield Text(text)


def _bare(text: str) -> str:
    return "".join(text.split())


def _shown(raw: str) -> str:
    """The beginning of an event for people to see, without tokens; cut after them, so that no half of one stays."""
    return redact(jsontext.plain(raw[:_RAW_READ]))[:_RAW_SHOWN]


def _flat(said: Json, raw: str) -> Iterator[Event]:
    """One event of the flat dialect."""
    name = _name(said)
    match said["type"]:
        case "text":
            yield from _text(said.get("content"))
        case "tool_call":
            yield ToolCall(name, _object(said.get("args")))
        case "tool_result":
            yield ToolResult(name, _object(said.get("result")))
        case "error":
            yield _error(said.get("message") or said.get("error") or said.get("content"), said, raw)
        case _:
            yield Garbled(_shown(raw))


def _adk(said: Json, raw: str) -> Iterator[Event]:
    """One event of the Agent Development Kit's dialect: any of content, state change and error, or none of them."""
    # An event's error stands in `errorCode` and `errorMessage`, an exception's in `error`, an envelope's in `code`.
    # Empty, it is still an error: that of an exception without words.
    has_error = said.get("error") not in (None, False)
    if has_error or said.get("errorCode") or said.get("errorMessage") or jsontext.whole(said.get("code")):
        words = said.get("errorMessage") or said.get("error") or said.get("message") or said.get("errorCode")
        yield _error(words, said, raw)
    parts = _object(said.get("content")).get("parts")
    for part in parts if isinstance(parts, list) else ():
        yield from _part(_object(part))
    delta = _object(_object(said.get("actions")).get("stateDelta"))
    if delta:
        yield StateChange(delta)


def _part(part: Json) -> Iterator[Event]:
    if part.get("thought") is True:  # the model thinking aloud is not what it says
        return
    yield from _text(part.get("text"))
    if isinstance(call := part.get("functionCall"), dict):
        yield ToolCall(_name(call), _object(call.get("args")))
    if isinstance(result := part.get("functionResponse"), dict):
        yield ToolResult(_name(result), _object(result.get("response")))


def _text(value: object) -> Iterator[Text]:
    if isinstance(value, str) and value:
        yield Text(jsontext.plain(value))


def _name(said: Json) -> str:
    name = said.get("name")
    return jsontext.plain(name) if isinstance(name, str) else ""


def _object(value: Any) -> Json:
    """`value` where it is an object; anything else says nothing."""
    return value if isinstance(value, dict) else {}


def _error(message: object, said: Json, raw: str) -> AgentError:
    text = message if isinstance(message, str) and message.strip() else "no reason given"
    return AgentError(_shown(text), _shown(raw), jsontext.whole(said.get("code")))


@dataclass(frozen=True, slots=True)
class Heard:
    """All that came of one stream that ended properly."""

    texts: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    error: AgentError | None = None
    garbled: int = 0

    @classmethod
    def of(cls, events: Iterator[Event]) -> "Heard":
        texts: list[str] = []
        tools: list[str] = []
        error, garbled = None, 0
        for event in events:
            match event:
                case Text(text):
                    texts.append(text)
                case ToolCall(name):
                    tools.append(name)
                case AgentError():
                    error = event
                case Garbled():
                    garbled += 1
        return cls(tuple(texts), tuple(tools), error, garbled)

    @property
    def reply(self) -> str:
        """The agent's words, without a last "temporary issue" that follows a proper answer."""
        texts = self.texts[:-1] if len(self.texts) > 1 and phrases.is_noise(self.texts[-1]) else self.texts
        return "\n\n".join(text.strip() for text in texts if text.strip())
