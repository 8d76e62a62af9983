"""The agent's stream, in either dialect, to one set of events; and the events to what the agent said in the end.

Two dialects arrive: events of Google's Agent Development Kit, and flat ones with a `type`. Keep-alives are a sign of
life and no event. A text that came in pieces and then once more whole is told once.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from httpx_sse import EventSource, ServerSentEvent

from reelq import errors
from reelq.remote import phrases, wire
from reelq.remote.receipts import Json
from reelq.remote.redact import redact

LARGEST_EVENT: Final = 64 * 1024 * 1024
"""Bytes without an event in between before a stream counts as broken; real events stay far below."""

_RAW_SHOWN: Final = 500


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
            for event in pieces.gather(incoming, secret):
                pulse.spoke()
                yield event
    except httpx.TimeoutException:
        raise errors.StreamSilent("Not even a keep-alive came from the agent") from None
    except httpx.HTTPError as error:
        raise errors.StreamCut(f"The agent's stream broke off: {redact(str(error), secret)}") from None
    yield from pieces.rest()


class _Pieces:
    """Holds a text's pieces back until the whole comes, so that it is told once."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def gather(self, incoming: ServerSentEvent, secret: str) -> Iterator[Event]:
        if incoming.event in {"heartbeat", "ping", "keepalive"} or not incoming.data.strip():
            return
        try:
            said = wire.parse(incoming.data)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            yield Garbled(redact(incoming.data[:_RAW_SHOWN], secret))
            return
        yield from self._translate(said, secret)

    def _translate(self, said: Json, secret: str) -> Iterator[Event]:
        is_piece = said.get("partial") is True
        for event in _flat(said, secret) if isinstance(said.get("type"), str) else _adk(said, secret):
            if not isinstance(event, Text):
                yield event
            elif is_piece:
                self._held.append(event.text)
            else:
                yield from self._whole(event)

    def _whole(self, whole: Text) -> Iterator[Event]:
        # Pieces that are not part of this text were never repeated: they stand for themselves.
        if "".join(self._held).strip() in whole.text:
            self._held.clear()
        yield from self.rest()
        yield whole

    def rest(self) -> Iterator[Event]:
        """What came in pieces only."""
        text = "".join(self._held)
        self._held.clear()
        if text.strip():
            yield Text(text)


def _flat(said: Json, secret: str) -> Iterator[Event]:
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
            yield _error(said.get("message") or said.get("error") or said.get("content"), said, secret)
        case "heartbeat" | "ping":
            return
        case _:
            yield Garbled(redact(wire.dump(said)[:_RAW_SHOWN], secret))


def _adk(said: Json, secret: str) -> Iterator[Event]:
    """One event of the Agent Development Kit's dialect: any of content, state change and error, or none of them."""
    # An event's error stands in `errorCode` and `errorMessage`, an exception's in `error`, an envelope's in `code`.
    if "error" in said or said.get("errorCode") or said.get("errorMessage") or wire.whole(said.get("code")):
        words = said.get("errorMessage") or said.get("error") or said.get("message") or said.get("errorCode")
        yield _error(words, said, secret)
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
        yield Text(wire.plain(value))


def _name(said: Json) -> str:
    name = said.get("name")
    return wire.plain(name) if isinstance(name, str) else ""


def _object(value: Any) -> Json:
    """`value` where it is an object; anything else says nothing."""
    return value if isinstance(value, dict) else {}


def _error(message: object, said: Json, secret: str) -> AgentError:
    text = message if isinstance(message, str) and message.strip() else "no reason given"
    raw = redact(wire.dump(said), secret)
    return AgentError(redact(wire.plain(text), secret)[:_RAW_SHOWN], raw[:_RAW_SHOWN], wire.whole(said.get("code")))


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
